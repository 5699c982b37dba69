/**
 * Makes sockets: of which class, for which address, and how a token goes along.
 */

import { CometSocket } from "./comet.js";
import { SUBPROTOCOL } from "./heartbeat.js";

/** What we use of a WebSocket, a SockJS connection or anything else with their interface. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
  readonly protocol?: string;
  readonly bufferedAmount?: number;
}

export type SocketClass = new (address: string, protocols?: any) => SocketLike;
/** Behind it, as a second subprotocol, a token: pages cannot set headers. */
const TOKEN_SUBPROTOCOL = "snorky.jwt.";

/** `token` may be "". With one, the subprotocol is asked for anyway. */
export function webSocket(
  SocketClass: SocketClass,
  address: string,
  asksSubprotocol: boolean,
  token: string,
): SocketLike {
  // Only the browser's own class is known to take subprotocols as its second argument.
  const isNative = SocketClass === (globalThis.WebSocket as unknown);
  if (token && isNative) return new SocketClass(address, [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token]);
  if (token) return socketWithQuery(SocketClass, address, token);
  return isNative && asksSubprotocol
    ? new SocketClass(address, SUBPROTOCOL)
    : new SocketClass(address);
}

function socketWithQuery(SocketClass: SocketClass, address: string, token: string): SocketLike {
  try {
    return new SocketClass(`${address}${address.includes("?") ? "&" : "?"}token=${token}`);
  } catch (error) {
    // It may quote the address.
    throw new TypeError(`${error}`.split(token).join("..."));
  }
}

/** Where no `cometAddress` is given it is beside the address of the WebSocket. */
export function cometSocket(
  cometAddress: string,
  address: string,
  streaming: boolean,
  token: string,
): CometSocket {
  return new CometSocket(cometAddress || cometBeside(address), streaming, token);
}

function cometBeside(address: string): string {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
  return url.href;
}
