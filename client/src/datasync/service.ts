/**
 * Lists that follow the application's database: subscriptions come from the web application as
 * tokens, changes arrive here as deltas.
 */

import { Class } from "../class.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { isDisconnection } from "../errors.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { createTurns, type Turns } from "../turns.js";
import type { Delta } from "./delta_processor.js";
import { openList } from "./live/list.js";
import type { LiveList, LiveOptions } from "./live/options.js";
import { createPage, type Page } from "./live/page.js";

export interface TokenParams {
  token: string;
}

/** A subscription ended, and changes were missed: fetch the data and a new token. */
export interface Resync {
  /** Why it ended. `lost`: with the connection, or with the server's memory. Else the server's word. */
  reason: string;
  token: string;
  /** How long to wait before that, in milliseconds: many pages may be told the same. */
  after_ms?: number;
}

/** `lost`: with the connection, or perhaps: its answer did not come. */
type TokenState = "asked" | "acquired" | "lost";

export interface DataSync extends RPCService {
  deltaReceived: Signal<[delta: Delta]>;
  /** Called beside `deltaReceived`. */
  onDelta?: ((delta: Delta) => void) | null;
  /**
   * Dispatched for each subscription that the server ended, and after a reconnection for each one
   * that ended with the old connection.
   */
  resyncNeeded: Signal<[resync: Resync]>;
  acquireSubscription(params: TokenParams): Promise<null>;
  cancelSubscription(params: TokenParams): Promise<null>;
  /**
   * A list that follows a query of the web application, which is asked with the header `X-Snorky:
   * Subscribe` and gives a token with the rows. Lasts until `close()`.
   */
  live<Row = any>(options: LiveOptions<Row>): LiveList<Row>;
  /** @internal */
  _page: Page | undefined;
  /** @internal Those that the page acquired itself, and has not cancelled. */
  _tokens: Map<string, TokenState>;
  /** @internal */
  _turns: Turns;
}

export const DataSync = Class<RPCServiceClass<DataSync>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.deltaReceived = new primitives.Signal();
    this.resyncNeeded = new primitives.Signal();
    this._tokens = new Map();
    this._turns = createTurns();
    this.notificationReceived.add(receive, this);
  },

  acquireSubscription(params) {
    const token = params?.token;
    const became = (state?: TokenState) => {
      if (this._tokens.get(token) !== "asked") return;
      if (state) this._tokens.set(token, state);
      else this._tokens.delete(token);
    };
    if (this._tokens.get(token) !== "acquired") this._tokens.set(token, "asked");
    return this._turns._take(token, true, () =>
      this.rpcCall<null>("acquireSubscription", params).then(
        (value) => {
          became("acquired");
          return value;
        },
        (error) => {
          // The server may have given it to the connection that has ended.
          became(isDisconnection(error) ? "lost" : undefined);
          throw error;
        },
      ),
    );
  },

  cancelSubscription(params) {
    const token = params?.token;
    this._tokens.delete(token);
    return this._turns._take(token, false, () => this.rpcCall("cancelSubscription", params));
  },

  live(options) {
    return openList((this._page ??= createPage(this)), options);
  },

  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    this._page?._connectionClosed();
    for (const [token, state] of this._tokens) {
      if (state === "acquired") this._tokens.set(token, "lost");
    }
  },

  _woke() {
    this._page?._wake();
  },

  _connectionOpened() {
    this._page?._connectionOpened();
    // Not at the drop: while the server is away there is nothing to fetch a token from.
    for (const [token, state] of this._tokens) {
      if (state !== "lost") continue;
      this._tokens.delete(token);
      this.resyncNeeded.dispatch({ reason: "lost", token });
    }
  },
});

function receive(this: DataSync, notification: any): void {
  this._page?._frame(notification);
  if (notification?.type === "delta") {
    this.deltaReceived.dispatch(notification.delta);
    this.onDelta?.(notification.delta);
  } else if (
    notification?.type === "resync" &&
    this._tokens.get(notification.token) === "acquired"
  ) {
    const { reason, token, after_ms } = notification;
    this._tokens.delete(token);
    this.resyncNeeded.dispatch({ reason, token, after_ms });
  }
}
