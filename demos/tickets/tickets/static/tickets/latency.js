/**
 * How long after its save a change is drawn. Both clocks are this machine's.
 */

import { datasync } from "./tickets.js";

const MEDIAN_OF = 100;

/** Ticket id -> [`changed` of the newest change that was told, milliseconds until it was drawn]. */
const newest = new Map();
const last = [];

/** Call `listener` after changes were drawn, with the newest latency and the median of many. */
export function watchLatency(listener) {
  datasync.notificationReceived.add(({ type, changes }) => {
    const rows = type === "changes" ? changes.map(({ data }) => data).filter(Boolean) : [];
    if (!rows.length) return;
    requestAnimationFrame(() => {
      for (const { id, changed } of rows) {
        const ms = Math.max(0, Date.now() - Date.parse(changed));
        newest.set(id, [changed, ms]);
        last.push(ms);
      }
      last.splice(0, last.length - MEDIAN_OF);
      const sorted = last.toSorted((a, b) => a - b);
      listener(last.at(-1), sorted[sorted.length >> 1]);
    });
  });
}

/** Milliseconds, where the page was told of the change that this row shows. */
export function latencyOf({ id, changed }) {
  const [told, ms] = newest.get(id) ?? [];
  return told === changed ? ms : undefined;
}
