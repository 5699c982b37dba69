/**
 * Which of several transports is tried: the first that works. After a drop a WebSocket is tried
 * first if one has ever worked, else what worked.
 */

import { CometSocket } from "./comet_socket.js";
import type { Transport } from "./options.js";
import type { SocketLike } from "./socket.js";
import { Transports } from "./transports.js";

export class Fallbacks extends Transports {
  /** Of the attempt under way, or of the next, in `_candidates`. */
  private _index = 0;
  /** What opened last: it gets more time than the others. */
  private _worked: Transport | undefined;
  private _webSocketWorks = false;
  /** Those that the server has refused for good, until the page connects again. */
  private readonly _refused = new Set<Transport>();

  protected override _check(): void {}

  /** Those that can be tried. */
  private get _candidates(): Transport[] {
    const { options, socketClass } = this._page;
    return options.transports.filter(
      (name) => !this._refused.has(name) && (name !== "websocket" || socketClass),
    );
  }

  override get _current(): Transport | undefined {
    return this._candidates[this._index];
  }

  override get _isLast(): boolean {
    return this._index + 1 >= this._candidates.length;
  }

  override get _timeLimit(): number {
    const { connectTimeout, fallbackTimeout } = this._page.options;
    if (this._isLast || this._worked === this._current || !fallbackTimeout) return connectTimeout;
    return Math.min(connectTimeout || Infinity, fallbackTimeout);
  }

  override _make(token: string): SocketLike {
    const { address, options } = this._page;
    const name = this._current;
    return !name || name === "websocket"
      ? super._make(token)
      : new CometSocket(options.cometAddress || cometBeside(address), name === "sse", token);
  }

  override _opened(socket: SocketLike): void {
    super._opened(socket);
    this._worked = this._current;
    this._webSocketWorks ||= this._worked === "websocket";
  }

  override _closed(): void {
    if (this._webSocketWorks) this._index = Math.max(0, this._candidates.indexOf("websocket"));
  }

  /** Where all have been tried, all are again. */
  override _failed(refused?: number): boolean {
    const isLast = this._isLast;
    const isGone = refused && (refused === 404 || this._webSocketWorks);
    if (isGone) this._refused.add(this._current!);
    if (isLast) this._index = 0;
    else if (!isGone) this._index++;
    return !isLast;
  }

  /**
   * Not while a WebSocket may get through that did so before: then a proxy may have answered. Nor
   * where the page gives another token.
   */
  override _staysAway(status: number): boolean {
    const candidates = this._candidates;
    if (candidates.length === 0) return true;
    if (status === 404 || (this._webSocketWorks && candidates.includes("websocket"))) return false;
    return status === 403 || typeof this._page.options.token !== "function";
  }

  override _reset(): void {
    this._refused.clear();
  }
}

/** Where no `cometAddress` is given it is beside the address of the WebSocket: `/ws` -> `/comet`. */
function cometBeside(address: string): string {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
  return url.href;
}
