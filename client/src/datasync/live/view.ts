/** The rows of one list: those that the server confirmed, and what is shown of them. */

import { equal } from "./equal.js";
import { type Answer, limitFor } from "./fetcher.js";
import type { LiveOptions } from "./options.js";
import { comparer, namesOf } from "./order.js";

/** What is different, by key: the row as it is now, null where it is there no longer. */
export type Effects<Row = any> = Map<string, Row | null>;

/** Writes that are under way. */
export interface Overlays<Row> {
  _overlay(rows: Map<string, Row>): Map<string, Row>;
  _shown(key: string): Row | undefined;
}

export function createView<Row>(options: LiveOptions<Row>, writes: Overlays<Row>) {
  const { window = 0 } = options;
  const compare = comparer(options.order, namesOf(options.key));
  let rows = new Map<string, Row>();
  let items: readonly Row[] = [];
  let size = window;
  /** Of a window: the last row of which it is known that none before it is missing. */
  let bound: Row | undefined;
  /** How many rows there were when the web application was asked last. */
  let fetched = 0;

  const isKnown = (row: Row) => !bound || compare!(row, bound) <= 0;
  const sorted = (all: Row[]) => (compare ? all.sort(compare) : all);
  const enough = () => limitFor(size, window >> 1);

  const put = (into: Map<string, Row>, key: string, row: Row) => {
    into.set(key, [writes._shown(key), rows.get(key)].find((old) => equal(old, row)) ?? row);
  };

  /** Forget the last rows: there are more than anybody looks at. */
  const discard = () => {
    const kept = sorted([...rows.values()]).slice(0, limitFor(size, window));
    bound = kept[kept.length - 1];
    const keep = new Set(kept);
    for (const [key, row] of rows) if (!keep.has(row)) rows.delete(key);
  };

  return {
    _has: (key: string) => rows.has(key),

    /** How many rows a window shows, else 0. */
    _size: () => size,

    /** Take what the web application answered instead of what there is. */
    _replace(answer: Pick<Answer<Row>, "_rows" | "_complete">) {
      const next = new Map<string, Row>();
      for (const [key, row] of answer._rows) put(next, key, row);
      rows = next;
      fetched = rows.size;
      bound = window && !answer._complete ? sorted([...rows.values()]).pop() : undefined;
    },

    _apply(effects: Effects<Row>) {
      for (const [key, row] of effects) {
        if (row && isKnown(row)) put(rows, key, row);
        else rows.delete(key);
      }
    },

    /** So many rows have left that the next ones must be asked for. */
    _runsOut: () => bound && rows.size < Math.min(enough(), fetched),

    /** Show another window. False: the rows for it must be asked for. */
    _widen() {
      size += window;
      return !bound || rows.size >= enough();
    },

    _hasMore: () => !!window && (!!bound || rows.size > size),

    /** What is to be shown now: the same array as before where nothing is different. */
    _render(): readonly Row[] {
      if (window && rows.size > 2 * limitFor(size, window)) discard();
      let next = sorted([...writes._overlay(rows).values()]);
      if (window) next = next.filter(isKnown).slice(0, size);
      if (next.length !== items.length || next.some((row, index) => row !== items[index])) {
        items = next;
      }
      return items;
    },
  };
}

export type View<Row> = ReturnType<typeof createView<Row>>;
