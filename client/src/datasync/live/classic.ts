/**
 * Deltas of servers without `openSubscriptions`, which do not say for which subscription they are.
 */

import type { Delta } from "../delta_processor.js";
import { keyOf } from "./order.js";
import type { Effects } from "./view.js";

/** What a delta does to the list that it is for. */
export function effectsOfDelta(delta: Delta, names: readonly string[]): Effects {
  const effects: Effects = new Map();
  const set = (row: any, now: any) => {
    const key = keyOf(row, names);
    if (key) effects.set(key, now);
  };
  if (delta.type === "update") {
    set(delta.oldData, null);
    set(delta.newData, delta.newData);
  } else {
    set(delta.data, delta.type === "insert" ? delta.data : null);
  }
  return effects;
}
