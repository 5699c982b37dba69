/**
 * Random histories: whatever happens, a list shows what its query gave after some commit, never an
 * earlier one than before; lists that are live show the same; and in the end all is as it is.
 */

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { DataSync, type LiveList, Snorky } from "../../../src/index.js";
import { byNewest, type Row, VIEWS, World } from "./model.js";

const SEEDS = Number(process.env.SNORKY_SEEDS ?? 60);
const STEPS = 300;
/** Of a view that is shown as a window: how many rows, and how many more with each `more()`. */
type Windows = Record<string, number>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** Numbers from 0 up to `below`, the same ones for each seed. */
function randomFrom(seed: number) {
  let state = seed * 2654435761;
  const real = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  vi.spyOn(Math, "random").mockImplementation(real);
  return (below: number) => Math.floor(real() * below);
}

/** Watches one list. */
class Watched {
  /** The earliest commit that it may have been at when it was last seen. */
  commit = 0;
  /** Writes that may be laid over its rows. */
  writes = 0;
  /** How many rows a window shows. */
  private size: number;

  constructor(
    private readonly world: World,
    readonly name: string,
    readonly list: LiveList<Row>,
    readonly window: number | undefined,
  ) {
    this.size = window ?? Infinity;
  }

  more(): void {
    this.size += this.window!;
    this.list.more();
  }

  /** What it may show after `commit` commits, as text. */
  expected(commit: number): string {
    const rows = [...this.world.states[commit].values()].filter(VIEWS[this.name]).sort(byNewest);
    return JSON.stringify(rows.slice(0, this.size));
  }

  /** The commits, not before those it was at, after which the query gave what it shows. */
  possible(): number[] {
    const { world, list } = this;
    // A window is in order; others are as the web application sent them.
    const shown = JSON.stringify(this.window ? list.items : [...list.items].sort(byNewest));
    const found = [];
    for (let commit = this.commit; commit < world.states.length; commit++) {
      const right = this.expected(commit);
      // A window may have run out of rows: then it shows the first ones, and asks for the others.
      const isRight = this.window ? right.startsWith(shown.slice(0, -1)) : right === shown;
      if (isRight) found.push(commit);
    }
    return found;
  }

  check(): void {
    if (this.list.status === "loading" || this.writes) return;
    const possible = this.possible();
    expect(
      possible,
      `${this.name} (${this.list.status}) shows what never was, or was before`,
    ).not.toEqual([]);
    this.commit = possible[0];
  }
}

function begin(seed: number, names: string[], windows: Windows) {
  const random = randomFrom(seed);
  const run = { isFaulty: true };
  const world = new World(random, () => run.isFaulty);
  for (let count = 0; count < 5; count++) world.commit(world.randomWrites());
  world.logged = world.states.length - 1;
  const snorky = new Snorky(
    world.Socket,
    "ws://model",
    { datasync: DataSync },
    { minReconnectDelay: 0.002, maxReconnectDelay: 0.02, heartbeatInterval: 0 },
  );
  const watched = names.map((name) => {
    const list = snorky.services.datasync.live<Row>({
      fetch: (request) => world.fetch(name, request),
      ...(windows[name] && { order: "-n", window: windows[name] }),
    });
    return new Watched(world, name, list, windows[name]);
  });
  return { random, run, world, snorky, watched };
}

type Run = ReturnType<typeof begin>;

/** All lists that say they are live, and follow frames, are at one and the same commit. */
function checkTogether({ watched }: Run): void {
  const live = watched.filter(
    ({ list, name, writes, window }) =>
      list.status === "live" && !writes && name !== "asked" && !window,
  );
  const common = live
    .map((each) => each.possible())
    .reduce(
      (all, each) => all.filter((commit) => each.includes(commit)),
      live[0]?.possible() ?? [],
    );
  if (live.length) expect(common, "live lists show different moments").not.toEqual([]);
}

/** One random event. */
function happen({ random, world, watched }: Run, withWrites: boolean): void {
  const dice = random(1000);
  const each = watched[random(watched.length)];
  const { list } = each;
  if (dice < 230) world.commit(world.randomWrites());
  else if (dice < 500) world.relay();
  else if (dice < 700) world.deliver(1 + random(4));
  else if (dice < 900) world.requests.splice(random(world.requests.length), 1)[0]?.();
  else if (dice < 915) world.drop();
  else if (dice < 930) world.resync();
  else if (dice < 945) world.refresh();
  else if (dice < 960) world.late();
  else if (dice < 980) world.tellStale();
  else if (dice < 985) list.refetch();
  else if (dice < 987) world.restart();
  else if (withWrites) write(world, each, random);
  else if (each.window && dice < 993) each.more();
}

/** The page writes, as a web application answers it. Once it is settled the list contains it. */
function write(world: World, watched: Watched, random: (below: number) => number): void {
  const { list } = watched;
  const row = list.items[random(list.items.length)];
  if (!row) return;
  const change = { id: row.id, n: random(10) };
  let commit = 0;
  const answer = new Promise((resolve, reject) => {
    world.requests.push(() => {
      const now = world.state.get(row.id);
      if (!now || !random(5)) return reject(new Error("refused"));
      const key = world.commit(new Map([[row.id, { ...now, ...change }]]));
      commit = world.states.length - 1;
      const headers = new Headers(random(5) ? { "X-Snorky-Keys": key } : {});
      world.requests.push(() => resolve({ ok: true, headers }));
    });
  });
  watched.writes++;
  list.mutate(change, answer).then(() => {
    watched.writes--;
    watched.commit = Math.max(watched.commit, commit);
    watched.check();
  });
}

/** No more faults and writes: what is under way comes to its end. */
async function comeToRest({ run, world, watched }: Run): Promise<void> {
  run.isFaulty = false;
  const last = () => world.states.length - 1;
  const isRight = ({ list, ...each }: Watched, index: number) =>
    list.status === "live" &&
    JSON.stringify(each.window ? list.items : [...list.items].sort(byNewest)) ===
      watched[index].expected(last());
  for (let round = 0; round < 2000; round++) {
    world.relay();
    world.tellStale();
    world.deliver(100);
    for (const advance of world.requests.splice(0)) advance();
    await vi.advanceTimersByTimeAsync(20);
    if (world.logged === last() && !world.requests.length && watched.every(isRight)) return;
  }
  expect(watched.map((each) => [each.name, each.list.status, ...each.list.items])).toEqual(
    watched.map((each) => [each.name, "live", ...JSON.parse(each.expected(last()))]),
  );
}

async function play(
  seed: number,
  withWrites: boolean,
  names = Object.keys(VIEWS),
  windows: Windows = { newest: 3 },
): Promise<void> {
  const all = begin(seed, names, windows);
  const { random, snorky, watched } = all;
  for (const each of watched) {
    each.list.changed.add(() => {
      each.check();
      checkTogether(all);
    });
  }
  // What a listener throws is logged.
  const failures: unknown[] = [];
  console.error = (...args: unknown[]) => failures.push(args[0]);
  for (let step = 0; step < STEPS && !failures.length; step++) {
    happen(all, withWrites);
    await vi.advanceTimersByTimeAsync(random(3));
  }
  if (failures.length) throw failures[0];
  await comeToRest(all);
  if (failures.length) throw failures[0];
  for (const { list } of watched) list.close();
  snorky.disconnect();
}

describe.each(Array.from({ length: SEEDS }, (_, index) => index + 1))("history %i", (seed) => {
  test("shows only what was, never goes back, and ends right", () => play(seed, false));
});

describe.each(Array.from({ length: SEEDS / 2 }, (_, index) => index + 1))("writes %i", (seed) => {
  test("are settled, and the list ends right", () => play(seed + 1000, true));
});

const WINDOW_SEEDS = Number(process.env.SNORKY_SEEDS ?? 100);

describe.each(Array.from({ length: WINDOW_SEEDS }, (_, index) => index + 1))(
  "windows %i",
  (seed) => {
    test("have no holes and no ghosts, whatever leaves them and however far they are opened", () =>
      play(seed + 2000, false, ["newest", "one", "low"], { newest: 3, one: 1, low: 2 }));
  },
);
