/** One subscription, of its token's first opening until it has ended. */

import type { Delta } from "../delta_processor.js";
import { keyText } from "./order.js";
import type { Effects } from "./view.js";

/** A change as the server sends it: by key, with the items that the row matches, and left. */
export interface Change {
  model: string;
  key: unknown;
  data: unknown;
  in: unknown[];
  out: unknown[];
}

/** What the server answers for each token. */
export type Opening =
  | {
      recovered: true;
      subscription: unknown;
      items: readonly unknown[];
      position: string;
      token: string;
      live: boolean;
      /** Told for refetch items only: whether they were touched. */
      stale?: boolean;
      /** Fetch again, after so many milliseconds. */
      refresh?: number;
      changes: readonly Change[];
    }
  | { recovered: false; reason: string; after_ms: number };

/** The list that a subscription is for. All of it is called within a step of the page. */
export interface Owner {
  _opened(subscription: Subscription, answer: Opening & { recovered: true }): void;
  /** It has ended, or was refused. */
  _ended(subscription: Subscription, reason: string, afterMs: number): void;
  _took(subscription: Subscription, effects: Effects): void;
  _wentLive(subscription: Subscription): void;
  _stale(subscription: Subscription): void;
  _refresh(afterMs: number): void;
  /** The connection is there again, or has gone. */
  _connected(): void;
  _dropped(): void;
  /** The page is looked at again, or the network is back. */
  _wake(): void;
  /** Of older servers: whether rows of this model may be its, and what one of them says. */
  _isOf(model: string): boolean;
  _classicDelta(delta: Delta, isAlone: boolean): void;
  /** Make `items` and the like anew. Whether there is something to tell. */
  _render(): boolean;
  _announce(): void;
}

export interface Subscription {
  readonly _owner: Owner;
  _token: string;
  /** What the server calls it. Undefined while it is not open on this connection. */
  _id?: unknown;
  _items: Set<unknown>;
  /** The position up to which it was told everything, where its connection has gone. */
  _since?: string;
  /** Of refetch items: the position at which the last fetch that is shown began. */
  _fetchedAt?: string;
  _refetches?: boolean;
  /** It was live once: changes are applied as they come. Until then they are held. */
  _applies?: boolean;
  _held: Effects;
  /** A source of its changes is late, until the next `live`. */
  _late?: boolean;
  _ended?: boolean;
}

export const subscribe = (owner: Owner, token: string): Subscription => ({
  _owner: owner,
  _token: token,
  _items: new Set(),
  _held: new Map(),
});

/** What one entry of the log does to the rows of these items. */
export function effectsOf(changes: readonly Change[], items: Set<unknown>): Effects {
  const effects: Effects = new Map();
  const isOurs = (item: unknown) => items.has(item);
  for (const change of changes) {
    const key = keyText(change.key);
    if (change.in.some(isOurs)) effects.set(key, change.data as object);
    // Items with different fields have a change each: what one shows the other does not remove.
    else if (change.out.some(isOurs) && !effects.has(key)) effects.set(key, null);
  }
  return effects;
}
