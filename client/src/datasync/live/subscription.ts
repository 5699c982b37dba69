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
  opened(subscription: Subscription, answer: Opening & { recovered: true }): void;
  /** It has ended, or was refused. */
  ended(subscription: Subscription, reason: string, afterMs: number): void;
  took(subscription: Subscription, effects: Effects): void;
  wentLive(subscription: Subscription): void;
  stale(subscription: Subscription): void;
  refresh(afterMs: number): void;
  /** The connection is there again, or has gone. */
  connected(): void;
  dropped(): void;
  /** The page is looked at again, or the network is back. */
  wake(): void;
  /** Of older servers: whether rows of this model may be its, and what one of them says. */
  isOf(model: string): boolean;
  classicDelta(delta: Delta, isAlone: boolean): void;
  /** Make `items` and the like anew. Whether there is something to tell. */
  render(): boolean;
  announce(): void;
}

export interface Subscription {
  readonly owner: Owner;
  token: string;
  /** What the server calls it. Undefined while it is not open on this connection. */
  id: unknown;
  /** It was open on a connection that has gone. */
  resumes: boolean;
  items: Set<unknown>;
  /** The position up to which it was told everything, when its connection went. */
  since: string | undefined;
  /** Of refetch items: the position at which the last fetch that is shown began. */
  fetchedAt: string | undefined;
  refetches: boolean;
  /** It was live once: changes are applied as they come. Until then they are held. */
  applies: boolean;
  held: Effects;
  /** A source of its changes is late, until the next `live`. */
  late: boolean;
  ended: boolean;
}

export const subscribe = (owner: Owner, token: string): Subscription => ({
  owner,
  token,
  id: undefined,
  resumes: false,
  items: new Set(),
  since: undefined,
  fetchedAt: undefined,
  refetches: false,
  applies: false,
  held: new Map(),
  late: false,
  ended: false,
});

/** What one entry of the log does to the rows of these items. */
export function effectsOf(changes: readonly Change[], items: Set<unknown>): Effects {
  const effects: Effects = new Map();
  for (const change of changes) {
    const key = keyText(change.key);
    if (change.in.some((item) => items.has(item))) effects.set(key, change.data as object);
    // Items with different fields have a change each: what one shows the other does not remove.
    else if (change.out.some((item) => items.has(item)) && !effects.has(key)) {
      effects.set(key, null);
    }
  }
  return effects;
}
