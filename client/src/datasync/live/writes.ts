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
  change: any;
  /** Of a new row the temporary one, until its own is known. */
  key?: string;
  remove?: boolean;
  /** Its row is not in the list yet. */
  isNew?: boolean;
  isNamed?: boolean;
  /** Of a new row: the list has had it. From then on the list alone says whether it is there. */
  hadIt?: boolean;
  /** Of a new row without a name: which rows have come and gone meanwhile, and which may be it. */
  others: Set<string>;
  twin?: string;
  keys: readonly string[];
  /** What is shown contains it once it is of a fetch with a greater number. */
  after: number;
  /** All frames up to its keys have come on this connection. */
  arrived?: boolean;
  forget?: () => void;
  resolve: () => void;
}

/** What the list tells of itself, and is told. */
export interface Host {
  page: Page;
  /** The number of the last fetch that began, and of the last that is shown. */
  begun(): number;
  fetched(): number;
  /** The rows are what the frames say, up to the last one. */
  follows(): boolean;
  refetches(): boolean;
  has(key: string): boolean;
  fetch(): void;
  /** A write begins (null), or failed. */
  wrote(failure: Error | null): void;
}

const MOST_OTHERS = 10_000;

let temporaryKeys = 0;

/** The header, or a list of keys. */
const keysIn = (keys: string | readonly string[] | null | undefined): readonly string[] =>
  typeof keys === "string" ? keys.split(/[\s,]+/).filter(Boolean) : (keys ?? []);

/** The row that the web application answered, by a Response or by the JSON itself. */
const rowOf = async (answer: any): Promise<any> =>
  typeof answer?.clone === "function" ? answer.clone().json() : answer;

export function createWrites<Row>(options: LiveOptions<Row>, host: Host) {
  const { page } = host;
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
        change: null,
        others: new Set(),
        keys: [],
        after: Infinity,
        resolve,
        ...write,
      };
      if (isOver) return resolve();
      page.step(() => {
        writes.push(added as Write);
        start(added as Write);
      });
    });

  const fieldsOf = (write: Write) =>
    Object.keys(write.change).filter((each) => !names.includes(each));

  /** Whether one of them would come to light again if the other went first. */
  const collide = (a: Write, b: Write) =>
    a.change &&
    b.change &&
    a.key === b.key &&
    (a.remove || b.remove || fieldsOf(a).some((field) => field in b.change));

  const fetchOnce = (write: Write) => {
    if (host.begun() <= write.after) host.fetch();
  };

  const awaitKeys = (write: Write) => {
    write.arrived = false;
    if (!write.keys.length) fetchOnce(write);
    else {
      write.forget = page.awaitKeys(write.keys, (known) => {
        write.arrived = known;
        // A list that is asked for anew contains the write only if it is, whatever has arrived.
        if (!known || host.refetches()) fetchOnce(write);
      });
    }
  };

  const fail = (write: Write, error: unknown) => {
    if (!writes.includes(write)) return;
    writes = writes.filter((each) => each !== write);
    host.wrote(error instanceof Error ? error : new Error(String(error)));
    finish(write);
  };

  /** The web application has carried it out: the list will contain it. */
  const accepted = async (write: Write, answer: any) => {
    if (answer?.ok === false) throw new ResponseError(answer);
    write.after = host.begun();
    const row = write.isNew && (await rowOf(answer).catch(() => null));
    page.step(() => {
      if (!writes.includes(write)) return;
      if (keyOf(row, names)) rename(write, row);
      write.keys = keysIn(answer?.headers?.get?.("X-Snorky-Keys"));
      awaitKeys(write);
    });
  };

  /** A new row, and what was written to it meanwhile, takes its own key. */
  const rename = (write: Write, row: any) => {
    const { key } = write;
    const own = Object.fromEntries(names.map((name) => [name, row[name]]));
    for (const each of writes) {
      if (each.key !== key) continue;
      each.change = { ...each.change, ...own };
      each.key = keyOf(row, names);
    }
    write.isNamed = isChanged = true;
    write.hadIt = write.others.has(write.key!);
  };

  /** Before the rows take this in: what it says about rows that are new here. */
  const notice = (effects: Effects) => {
    for (const write of writes) {
      if (!write.isNew) continue;
      if (!write.isNamed) compareWith(write, effects);
      else if (effects.has(write.key!)) write.hadIt = true;
    }
  };

  const compareWith = (write: Write, effects: Effects) => {
    for (const [key, row] of effects) {
      if (row && host.has(key)) continue;
      if (write.others.size < MOST_OTHERS) write.others.add(key);
      // It came before the answer that would have told its key: let it not be there twice.
      const isIt = (field: string) => equal((row as any)[field], write.change[field]);
      if (!row || write.hadIt || writes.some((one) => one.twin === key)) continue;
      if (fieldsOf(write).every(isIt)) {
        write.hadIt = true;
        write.twin = key;
      }
    }
  };

  return {
    notice,

    mutate(
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
      return add({ change: complete, key: keyOf(complete, names), remove, isNew }, (write) => {
        host.wrote(null);
        isChanged = true;
        answer
          .then((value) => accepted(write, value))
          .catch((error) => page.step(() => fail(write, error)));
      });
    },

    seen: (keys: string | readonly string[]) =>
      add({ after: host.begun(), keys: keysIn(keys) }, awaitKeys),

    /** Resolves when a fetch is shown that begins after so many. */
    fetched: (after = host.begun()) => add({ after }, () => {}),

    /** What had arrived on the old connection, and was not shown yet, must arrive anew. */
    dropped() {
      for (const write of writes) if (write.arrived) awaitKeys(write);
    },

    /** Let go of those that the list contains. Whether there is something else to show. */
    settle(): boolean {
      const earlier: Write[] = [];
      for (const write of writes) {
        const isIn = host.fetched() > write.after || (write.arrived && host.follows());
        if (!isIn || earlier.some((one) => collide(one, write))) earlier.push(write);
        else finish(write);
      }
      writes = earlier;
      const before = isChanged;
      isChanged = false;
      return before;
    },

    overlay(rows: Map<string, Row>): Map<string, Row> {
      if (!writes.length && !overlaid.size) return rows;
      const all = new Map(rows);
      const changed = new Map<string, Row>();
      for (const { change, key, remove, isNew, hadIt } of writes) {
        if (!change) continue;
        const row = all.get(key!);
        if (remove) all.delete(key!);
        else if (isNew ? !row && !hadIt : row) {
          const now = { ...row, ...change };
          all.set(key!, now);
          changed.set(key!, now);
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
    shown: (key: string) => overlaid.get(key),

    /** The list is closed. */
    end() {
      isOver = true;
      for (const write of writes.splice(0)) finish(write);
    },
  };

  function finish(write: Write): void {
    isChanged = true;
    write.forget?.();
    write.resolve();
  }
}

export type Writes<Row> = ReturnType<typeof createWrites<Row>>;
