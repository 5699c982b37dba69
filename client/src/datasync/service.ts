/**
 * Lists that follow the application's database: subscriptions come from the web application as
 * tokens, changes arrive here as deltas.
 */

import { Class } from "../class.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { isDisconnection } from "../errors.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { Turns } from "../turns.js";
import { ArrayCollection, ArrayIterator } from "./array_collection.js";
import { Collection, Iterator } from "./collection.js";
import { CollectionDeltaProcessor, type Delta } from "./delta_processor.js";
import { openList } from "./live/list.js";
import type { LiveList, LiveOptions } from "./live/options.js";
import { createPage, type Page } from "./live/page.js";
import { SingleItemCollection, SingleItemIterator } from "./single_item_collection.js";

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
  /** @internal Asked for, not answered and not cancelled yet. */
  _askedTokens: Set<string>;
  /** @internal */
  _acquiredTokens: Set<string>;
  /** @internal */
  _turns: Turns;
  /** @internal */
  _lostTokens: Set<string>;
}

export interface DataSyncClass extends RPCServiceClass<DataSync> {
  CollectionDeltaProcessor: typeof CollectionDeltaProcessor;
  Collection: typeof Collection;
  Iterator: typeof Iterator;
  ArrayCollection: typeof ArrayCollection;
  ArrayIterator: typeof ArrayIterator;
  SingleItemCollection: typeof SingleItemCollection;
  SingleItemIterator: typeof SingleItemIterator;
}

export const DataSync = Class<DataSyncClass>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.deltaReceived = new primitives.Signal();
    this.resyncNeeded = new primitives.Signal();
    this._askedTokens = new Set();
    this._acquiredTokens = new Set();
    this._turns = new Turns();
    this._lostTokens = new Set();
    this.notificationReceived.add(receive, this);
  },

  acquireSubscription(params) {
    const token = params?.token;
    this._askedTokens.add(token);
    return this._turns.take(token, true, () =>
      this.rpcCall<null>("acquireSubscription", params).then(
        (value) => {
          if (this._askedTokens.delete(token)) this._acquiredTokens.add(token);
          return value;
        },
        (error) => {
          const wanted = this._askedTokens.delete(token);
          // The server may have given it to the connection that has ended.
          if (wanted && isDisconnection(error)) this._lostTokens.add(token);
          throw error;
        },
      ),
    );
  },

  cancelSubscription(params) {
    const token = params?.token;
    this._askedTokens.delete(token);
    this._acquiredTokens.delete(token);
    this._lostTokens.delete(token);
    return this._turns.take(token, false, () => this.rpcCall("cancelSubscription", params));
  },

  live(options) {
    return openList((this._page ??= createPage(this)), options);
  },

  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    this._page?.connectionClosed();
    for (const token of this._acquiredTokens) this._lostTokens.add(token);
    this._acquiredTokens.clear();
  },

  _connectionOpened() {
    this._page?.connectionOpened();
    // Not at the drop: while the server is away there is nothing to fetch a token from.
    for (const token of this._lostTokens) {
      this._lostTokens.delete(token);
      this.resyncNeeded.dispatch({ reason: "lost", token });
    }
  },

  STATIC: {
    CollectionDeltaProcessor,
    Collection,
    Iterator,
    ArrayCollection,
    ArrayIterator,
    SingleItemCollection,
    SingleItemIterator,
  },
});

function receive(this: DataSync, notification: any): void {
  this._page?.frame(notification);
  if (notification?.type === "delta") {
    this.deltaReceived.dispatch(notification.delta);
    this.onDelta?.(notification.delta);
  } else if (notification?.type === "resync" && this._acquiredTokens.delete(notification.token)) {
    const { reason, token, after_ms } = notification;
    this.resyncNeeded.dispatch({ reason, token, after_ms });
  }
}
