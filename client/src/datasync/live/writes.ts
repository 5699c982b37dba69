/**
 * Writes under way, laid over the rows until the list itself contains what they did.
 *
 * Their order is that of `mutate`: where two change the same field of a row, the later one stays
 * as long as the earlier.
 */

import { primitives } from "../../primitives.js";
import { equal } from "./equal.js";
import { type LiveOptions, ResponseError } from "./options.js";
import { keyOf, namesOf } from "./order.js";
import type { Page } from "./page.js";
import type { Effects } from "./view.js";

interface Write {
  /** Null for what only waits. */
  _change: any;
  /** Of a new row the temporary one, until its own is known. */
  _key?: string;
  _remove?: boolean;
  /** Its row is not in the list yet. */
  _isNew?: boolean;
  _isNamed?: boolean;
  /** Of a new row: the list has had it. From then on the list alone says whether it is there. */
  _hadIt?: boolean;
  /** Of a new row without a name: which rows have come and gone meanwhile, and which may be it. */
  _others: Set<string>;
  _twin?: string;
  _keys: readonly string[];
  /** What is shown contains it once it is of a fetch with a greater number. */
  _after: number;
  /** All frames up to its keys have come on this connection. */
  _arrived?: boolean;
  _forget?: () => void;
  _resolve: () => void;
}

/** What the list tells of itself, and is told. */
export interface Host {
  _page: Page;
  /** The number of the last fetch that began, and of the last that is shown. */
  _begun(): number;
  _fetched(): number;
  /** The rows are what the frames say, up to the last one. */
  _follows(): boolean;
  _refetches(): boolean;
  _has(key: string): boolean;
  _fetch(): void;
  /** A write begins (null), or failed. */
  _wrote(failure: Error | null): void;
}

const MOST_OTHERS = 10_000;

let temporaryKeys = 0;

/** The header, or a list of keys. */
const keysIn = (keys: string | readonly string[] | null | undefined): readonly string[] =>
  (typeof keys === "string" ? keys.match(/[^\s,]+/g) : keys) ?? [];

/** The row that the web application answered, by a Response or by the JSON itself. */
const rowOf = async (answer: any): Promise<any> =>
  typeof answer?.clone === "function" ? answer.clone().json() : answer;

export function createWrites<Row>(options: LiveOptions<Row>, host: Host) {
  const page = host._page;
  const names = namesOf(options.key);
  let writes: Write[] = [];
  let isOver = false;
  /** Something else is to be laid over the rows. */
  let isChanged = false;
  /** The rows that are shown with writes over them. */
  let overlaid = new Map<string, Row>();

  const add = (write: Partial<Write>, start: (write: Write) => void) =>
    new primitives.Promise<void>((resolve) => {
      const added = {
        _change: null,
        _others: new Set(),
        _keys: [],
        _after: Infinity,
        _resolve: resolve,
        ...write,
      };
      if (isOver) return resolve();
      page._step(() => {
        writes.push(added as Write);
        start(added as Write);
      });
    });

  const fieldsOf = (write: Write) =>
    Object.keys(write._change).filter((each) => !names.includes(each));

  /** Whether one of them would come to light again if the other went first. */
  const collide = (a: Write, b: Write) =>
    a._change &&
    b._change &&
    a._key === b._key &&
    (a._remove || b._remove || fieldsOf(a).some((field) => field in b._change));

  const fetchOnce = (write: Write) => {
    if (host._begun() <= write._after) host._fetch();
  };

  const awaitKeys = (write: Write) => {
    write._arrived = false;
    if (!write._keys.length) fetchOnce(write);
    else {
      write._forget = page._awaitKeys(write._keys, (known) => {
        write._arrived = known;
        // A list that is asked for anew contains the write only if it is, whatever has arrived.
        if (!known || host._refetches()) fetchOnce(write);
      });
    }
  };

  const fail = (write: Write, error: unknown) => {
    if (!writes.includes(write)) return;
    writes = writes.filter((each) => each !== write);
    host._wrote(error instanceof Error ? error : new Error(String(error)));
    finish(write);
  };

  /** The web application has carried it out: the list will contain it. */
  const accepted = async (write: Write, answer: any) => {
    if (answer?.ok === false) throw new ResponseError(answer);
    write._after = host._begun();
    const row = write._isNew && (await rowOf(answer).catch(() => null));
    page._step(() => {
      if (!writes.includes(write)) return;
      if (keyOf(row, names)) rename(write, row);
      write._keys = keysIn(answer?.headers?.get?.("X-Snorky-Keys"));
      awaitKeys(write);
    });
  };

  /** A new row, and what was written to it meanwhile, takes its own key. */
  const rename = (write: Write, row: any) => {
    const key = write._key;
    const own = Object.fromEntries(names.map((name) => [name, row[name]]));
    for (const each of writes) {
      if (each._key !== key) continue;
      each._change = { ...each._change, ...own };
      each._key = keyOf(row, names);
    }
    write._isNamed = isChanged = true;
    write._hadIt = write._others.has(write._key!);
  };

  /** Before the rows take this in: what it says about rows that are new here. */
  const notice = (effects: Effects) => {
    for (const write of writes) {
      if (!write._isNew) continue;
      if (!write._isNamed) compareWith(write, effects);
      else if (effects.has(write._key!)) write._hadIt = true;
    }
  };

  const compareWith = (write: Write, effects: Effects) => {
    for (const [key, row] of effects) {
      if (row && host._has(key)) continue;
      if (write._others.size < MOST_OTHERS) write._others.add(key);
      // It came before the answer that would have told its key: let it not be there twice.
      const isIt = (field: string) => equal((row as any)[field], write._change[field]);
      if (!row || write._hadIt || writes.some((one) => one._twin === key)) continue;
      if (fieldsOf(write).every(isIt)) {
        write._hadIt = true;
        write._twin = key;
      }
    }
  };

  return {
    _notice: notice,

    _mutate(
      change: Partial<Row>,
      promise: PromiseLike<unknown>,
      { remove = false }: { remove?: boolean } = {},
    ): Promise<void> {
      const answer = Promise.resolve(promise);
      answer.catch(() => {}); // also where the list is closed
      const isNew = keyOf(change, names) === undefined;
      const missing = names.filter((name) => (change as any)[name] == null);
      const temporary = `temporary-${++temporaryKeys}`;
      const complete = {
        ...change,
        ...Object.fromEntries(missing.map((name) => [name, temporary])),
      };
      const key = keyOf(complete, names);
      return add({ _change: complete, _key: key, _remove: remove, _isNew: isNew }, (write) => {
        host._wrote(null);
        isChanged = true;
        answer
          .then((value) => accepted(write, value))
          .catch((error) => page._step(() => fail(write, error)));
      });
    },

    _seen: (keys: string | readonly string[]) =>
      add({ _after: host._begun(), _keys: keysIn(keys) }, awaitKeys),

    /** Resolves when a fetch is shown that begins after so many. */
    _fetched: (after = host._begun()) => add({ _after: after }, () => {}),

    /** What had arrived on the old connection, and was not shown yet, must arrive anew. */
    _dropped() {
      for (const write of writes) if (write._arrived) awaitKeys(write);
    },

    /** Let go of those that the list contains. Whether there is something else to show. */
    _settle(): boolean {
      const earlier: Write[] = [];
      for (const write of writes) {
        const isIn = host._fetched() > write._after || (write._arrived && host._follows());
        if (!isIn || earlier.some((one) => collide(one, write))) earlier.push(write);
        else finish(write);
      }
      writes = earlier;
      const before = isChanged;
      isChanged = false;
      return before;
    },

    _overlay(rows: Map<string, Row>): Map<string, Row> {
      if (!writes.length && !overlaid.size) return rows;
      const all = new Map(rows);
      const changed = new Map<string, Row>();
      for (const write of writes) {
        if (!write._change) continue;
        const key = write._key!;
        const row = all.get(key);
        if (write._remove) all.delete(key);
        else if (write._isNew ? !row && !write._hadIt : row) {
          const now = { ...row, ...write._change };
          all.set(key, now);
          changed.set(key, now);
        }
      }
      for (const [key, now] of changed) {
        const same = [rows.get(key), overlaid.get(key)].find((old) => equal(old, now)) ?? now;
        changed.set(key, same);
        if (all.has(key)) all.set(key, same);
      }
      overlaid = changed;
      return all;
    },

    /** The object that shows this row, with writes over it. */
    _shown: (key: string) => overlaid.get(key),

    /** The list is closed. */
    _end() {
      isOver = true;
      for (const write of writes.splice(0)) finish(write);
    },
  };

  function finish(write: Write): void {
    isChanged = true;
    write._forget?.();
    write._resolve();
  }
}

export type Writes<Row> = ReturnType<typeof createWrites<Row>>;
