/**
 * By what a connection is tried, and what came of that. These know WebSockets alone: "snorky/comet"
 * puts those in their place that know plain HTTP, too.
 */

import { SUBPROTOCOL } from "./heartbeat.js";
import type { SnorkyOptions, Transport } from "./options.js";
import type { SocketClass, SocketLike } from "./socket.js";
import { webSocket } from "./web_socket.js";

/** What the page says about its connection. Read at each attempt. */
export interface Wishes {
  readonly address: string;
  readonly socketClass: SocketClass | undefined;
  readonly options: Required<SnorkyOptions>;
}

export class Transports {
  /** Attempts in a row that made no connection. */
  private _failures = 0;
  private _subprotocolWorks = false;

  constructor(protected readonly _page: Wishes) {
    this._check();
  }

  /** Throws where a transport is wanted that nobody has imported. */
  protected _check(): void {
    const unknown = this._page.options.transports.find((each) => each !== "websocket");
    if (unknown) throw new TypeError(`Transport "${unknown}" needs: import "snorky/comet"`);
  }

  /** What is tried, or has worked. Undefined where nothing can be. */
  get _current(): Transport | undefined {
    return this._page.socketClass && "websocket";
  }

  /** No other is left to try in this round. */
  get _isLast(): boolean {
    return true;
  }

  /** How long an attempt may take, in seconds; 0 = any time. */
  get _timeLimit(): number {
    return this._page.options.connectTimeout;
  }

  /** Begin an attempt. `token` may be "". */
  _make(token: string): SocketLike {
    const { socketClass, address, options } = this._page;
    if (!socketClass) throw new TypeError("Expected a socket class");
    // Browsers refuse a server that does not select the subprotocol, and do not tell us why: so
    // every other attempt goes without, and once it has worked every fifth, in case the server was
    // replaced by such a one.
    const period = this._subprotocolWorks ? 5 : 2;
    const asks = options.heartbeatInterval > 0 && this._failures % period !== period - 1;
    this._failures++;
    return webSocket(socketClass, address, asks, token);
  }

  _opened({ protocol }: SocketLike): void {
    this._failures = 0;
    this._subprotocolWorks ||= protocol === SUBPROTOCOL;
  }

  /** A connection has ended that was open. */
  _closed(): void {}

  /**
   * An attempt has failed, with this status of HTTP if it was refused: whether another transport is
   * next.
   */
  _failed(_refused?: number): boolean {
    return false;
  }

  /** Whether to stay away after this refusal. */
  _staysAway(_refused: number): boolean {
    return true;
  }

  /** The page connects again: nothing is refused any longer. */
  _reset(): void {}
}

/** Which of them are made for each connection. */
export const known = { _transports: Transports };
