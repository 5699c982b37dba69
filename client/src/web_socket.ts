/**
 * Makes WebSockets: with which subprotocols, and how a token goes along.
 */

import { withQuery } from "./address.js";
import { SUBPROTOCOL } from "./heartbeat.js";
import type { SocketClass, SocketLike } from "./socket.js";

/** Behind it, as a second subprotocol, a token: pages cannot set headers. */
const TOKEN_SUBPROTOCOL = "snorky.jwt.";

/** `token` may be "". With one, the subprotocol is asked for anyway. */
export function webSocket(
  SocketClass: SocketClass,
  address: string,
  asksSubprotocol: boolean,
  token: string,
): SocketLike {
  const takes = takesSubprotocols(SocketClass);
  if (token && takes) return new SocketClass(address, [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token]);
  if (token) return socketWithQuery(SocketClass, address, token);
  return takes && asksSubprotocol
    ? new SocketClass(address, SUBPROTOCOL)
    : new SocketClass(address);
}

/**
 * Whether the second argument is a WebSocket's: the browser's own class, one derived from it or
 * put around it, Node's `ws`. SockJS connections, which have none, have no such accessor either.
 */
function takesSubprotocols(SocketClass: SocketClass): boolean {
  return (
    SocketClass === (globalThis.WebSocket as unknown) ||
    "protocol" in (SocketClass.prototype ?? SocketClass)
  );
}

function socketWithQuery(SocketClass: SocketClass, address: string, token: string): SocketLike {
  try {
    return new SocketClass(withQuery(address, "token", token));
  } catch (error) {
    // It may quote the address.
    throw new TypeError(`${error}`.split(token).join("..."));
  }
}
