/** Lists of the real server's, fed by a web application that the test plays. */

import { beforeAll, describe, expect, test, vi } from "vitest";
import { DataSync, type LiveList, type LiveOptions } from "../../../src/index.js";
import { connect, next, service, TestServer } from "../../server.js";
import { patient } from "../../patience.js";

const server = new TestServer();
beforeAll(() => server.start());

interface Row {
  id: number;
  team: number;
  n: number;
}
type Filter = unknown[];

const Backend = service(
  "authorizeSubscription",
  "publishDeltas",
  "revokeSubscriptions",
  "refreshSubscriptions",
  "takeLease",
  "awaitPass",
  "passEnded",
  "appendEntries",
);

/** Let the connection of one page end. */
async function drop(snorky: any): Promise<void> {
  if (!snorky.isConnected) await next(snorky.connected);
  const dropped = next(snorky.disconnected);
  snorky.socket.terminate();
  await dropped;
}

const soon = <T>(check: () => T) => vi.waitFor(check, { timeout: 8000, interval: 5 });

/** A database of one table, which writes and publishes one transaction after the other. */
class Application {
  readonly rows = new Map<number, Row>();
  readonly backend: any;
  private turn: Promise<unknown> = Promise.resolve();
  private keys = 0;
  isForbidden = false;

  constructor(readonly name = "datasync") {
    this.backend = connect(server.url, { [`${name}_backend`]: Backend }).services[
      `${name}_backend`
    ];
  }

  /** A page of its own. */
  page() {
    const snorky = connect(server.url, { [this.name]: DataSync });
    return { snorky, datasync: snorky.services[this.name] as DataSync };
  }

  live(datasync: DataSync, items: object[], query: (row: Row) => boolean, more = {}) {
    return datasync.live<Row>({
      fetch: async () => {
        if (this.isForbidden) return new Response("", { status: 403 });
        const token = await this.backend.authorizeSubscription({ items });
        // After the token, and not between a commit and its publication.
        return this.inTurn(async () => {
          const rows = [...this.rows.values()].filter(query);
          return new Response(JSON.stringify(rows), { headers: { "X-Subscription-Token": token } });
        });
      },
      ...(more as Partial<LiveOptions<Row>>),
    });
  }

  team(datasync: DataSync, team: number, more = {}) {
    const items = [{ dealer: "rows", query: ["==", "team", team] as Filter }];
    return this.live(datasync, items, (row) => row.team === team, more);
  }

  /** One transaction; null removes. Answers with its key. */
  write(...writes: [id: number, row: Omit<Row, "id"> | null][]): Promise<string> {
    return this.inTurn(async () => {
      const deltas = [];
      for (const [id, fields] of writes) {
        const [old, row] = [this.rows.get(id), fields && { id, ...fields }];
        if (row) this.rows.set(id, row);
        else this.rows.delete(id);
        if (old && row) deltas.push({ type: "update", model: "Row", oldData: old, newData: row });
        else if (row) deltas.push({ type: "insert", model: "Row", data: row });
        else if (old) deltas.push({ type: "delete", model: "Row", data: old });
      }
      const key = `key-${Date.now()}-${++this.keys}`;
      await this.publish(deltas, key);
      return key;
    });
  }

  protected publish(deltas: object[], key: string): Promise<unknown> {
    return this.backend.publishDeltas({ deltas, key });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.turn.then(work);
    this.turn = mine.catch(() => {});
    return mine;
  }
}

const ids = (list: LiveList<Row>) => list.items.map((row) => row.id).sort();
const isLive = (list: LiveList<Row>) => soon(() => expect(list.status).toBe("live"));

test("rows move between lists, in one step, and the lists survive drops", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }], [2, { team: 2, n: 1 }]);
  const { snorky, datasync } = application.page();
  const [one, two] = [application.team(datasync, 1), application.team(datasync, 2)];
  await Promise.all([isLive(one), isLive(two)]);
  const seen: unknown[] = [];
  two.changed.add(() => {
    seen.push([ids(one), ids(two)]);
  });
  await application.write([1, { team: 2, n: 2 }]);
  await soon(() => expect(seen).toEqual([[[], [1, 2]]]));

  await drop(snorky);
  expect(one.status).toBe("reconnecting");
  await application.write([3, { team: 1, n: 1 }], [2, null]);
  await Promise.all([isLive(one), isLive(two)]);
  expect([ids(one), ids(two)]).toEqual([[3], [1]]);
  one.close();
  two.close();
});

test("a list is right again after the server was killed", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }]);
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  await isLive(list);
  const lengths = new Set<number>();
  list.changed.add(() => {
    lengths.add(list.items.length);
  });
  await server.kill();
  await soon(() => expect(list.status).toBe("reconnecting"));
  await server.start();
  await isLive(list);
  await application.write([2, { team: 1, n: 1 }]);
  await soon(() => expect(ids(list)).toEqual([1, 2]));
  expect([...lengths]).toEqual([1, 2]);
  list.close();
});

test("what a write did is there when it is settled", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }], [2, { team: 1, n: 1 }]);
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  await isLive(list);
  const shown: unknown[] = [];
  list.changed.add(() => {
    shown.push(list.items.map((row) => row.n));
  });
  const answered = async (...writes: Parameters<Application["write"]>) => {
    const headers = { "X-Snorky-Keys": await application.write(...writes) };
    return new Response("{}", { headers });
  };
  const row = { team: 1, n: 5 };
  await list.mutate({ id: 1, n: 5 }, answered([1, row]));
  await list.mutate({ id: 2 }, answered([2, null]), { remove: true });
  await list.mutate({ id: 1, n: 6 }, answered([77, { team: 9, n: 1 }])); // it did something else
  expect(shown).toEqual([[5, 1], [5], [6], [5]]);
  list.close();
});

test("any query is live by being asked again", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }], [2, { team: 2, n: 4 }]);
  const { snorky, datasync } = application.page();
  const items = [{ dealer: "refetch", query: { models: ["Row"] } }];
  const list = application.live(datasync, items, (row) => row.n > 3);
  await isLive(list);
  expect(ids(list)).toEqual([2]);
  await application.write([1, { team: 1, n: 7 }]);
  await soon(() => expect(ids(list)).toEqual([1, 2]));
  await drop(snorky);
  await application.write([2, null]);
  await soon(() => expect(ids(list)).toEqual([1]));
  list.close();
});

test("who may not see the rows any more does not", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }]);
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  await isLive(list);
  application.isForbidden = true;
  await application.backend.revokeSubscriptions({ models: ["Row"] });
  await soon(() => expect(list.status).toBe("closed"));
  expect(list.items).toEqual([]);
});

test("a refresh fetches again while the list goes on", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }]);
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  await isLive(list);
  const statuses = new Set<string>();
  list.changed.add(() => {
    statuses.add(list.status);
  });
  application.rows.set(1, { id: 1, team: 1, n: 100 }); // rendered in another way
  await application.backend.refreshSubscriptions({ models: ["Row"] });
  await soon(() => expect(list.items[0].n).toBe(100));
  expect([...statuses]).toEqual(["live"]);
  list.close();
});

test("a window over the real log", async () => {
  const application = new Application();
  const all = Array.from({ length: 30 }, (_, n): [number, any] => [n, { team: 5, n }]);
  await application.write(...all);
  const { datasync } = application.page();
  const items = [{ dealer: "rows", query: ["==", "team", 5] }];
  const list = datasync.live<Row>({
    order: "-n",
    window: 10,
    fetch: async ({ limit }) => {
      const token = await application.backend.authorizeSubscription({ items });
      const rows = [...application.rows.values()].filter((row) => row.team === 5);
      rows.sort((a, b) => b.n - a.n);
      const headers = { "X-Subscription-Token": token };
      return new Response(JSON.stringify(rows.slice(0, limit)), { headers });
    },
  });
  await isLive(list);
  const expected = () => [...application.rows.values()].map((row) => row.n).sort((a, b) => b - a);
  const shown = () => list.items.map((row) => row.n);
  expect(shown()).toEqual(expected().slice(0, 10));
  for (let n = 29; n > 18; n--)
    await application.write([n, null], [100 + n, { team: 5, n: n - 30 }]);
  await soon(() => expect(shown()).toEqual(expected().slice(0, 10)));
  await list.more();
  expect(shown()).toEqual(expected().slice(0, 20));
  list.close();
});

/** Commits wait in an outbox until the relay brings them. */
class Relayed extends Application {
  private outbox: { key: string; deltas: object[] }[] = [];

  constructor() {
    super("relayed");
  }

  protected override async publish(deltas: object[], key: string): Promise<void> {
    this.outbox.push({ key, deltas });
  }

  /** Relay until the test is over: one pass for whoever asks, and now and then. */
  async relay(isOver: () => boolean): Promise<void> {
    const source = "main";
    // Another test's may not have lapsed yet.
    const { fence } = await soon(() => this.backend.takeLease({ source }));
    while (!isOver()) {
      const asked = await this.backend.awaitPass({ source, fence, timeout: 0.02 });
      const entries = this.outbox.splice(0);
      if (entries.length) await this.backend.appendEntries({ source, fence, entries });
      await this.backend.passEnded({ source, fence, asked });
    }
  }
}

test("with a relay a list is live after a pass that began later than its opening", async () => {
  const application = new Relayed();
  await application.write([1, { team: 1, n: 1 }]);
  await application.write([1, { team: 1, n: 2 }]);
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  const shown = new Set<number>();
  list.changed.add(() => {
    shown.add(list.items[0]?.n);
  });
  await soon(() => expect(list.items).toHaveLength(1));
  expect(list.status).toBe("catching-up");
  let isOver = false;
  const relaying = application.relay(() => isOver);
  await isLive(list);
  // The first of the two commits was never shown: the query had seen the second already.
  expect([...shown]).toEqual([2]);
  await application.write([1, { team: 1, n: 3 }]);
  await soon(() => expect(list.items[0].n).toBe(3));
  list.close();
  isOver = true;
  await relaying;
});

describe.each(["datasync", "relayed"])("under faults, %s", (name) => {
  test(
    "lists agree with the database in the end, and never go backwards",
    { timeout: patient(30_000) },
    async () => {
      const application = name === "relayed" ? new Relayed() : new Application();
      let isOver = false;
      // Rows only ever grow: what is smaller than before is older.
      await application.write(
        ...[1, 2, 3, 4].map((id): [number, any] => [id, { team: 1 + (id % 2), n: 0 }]),
      );
      const relaying = application instanceof Relayed && application.relay(() => isOver);
      const { snorky, datasync } = application.page();
      const lists = [1, 2, 1].map((team) => application.team(datasync, team));
      const problems: string[] = [];
      for (const list of lists) {
        const newest = new Map<number, number>();
        list.changed.add(() => {
          for (const { id, n } of list.items) {
            if (n < (newest.get(id) ?? 0)) problems.push(`${id}: ${n} after ${newest.get(id)}`);
            newest.set(id, n);
          }
          const both = lists[0].items.concat(lists[1].items).map((row) => row.id);
          const areLive = lists.every((each) => each.status === "live");
          if (areLive && new Set(both).size < both.length) problems.push(`twice: ${both}`);
        });
      }
      for (let step = 1; step <= 150; step++) {
        const id = 1 + Math.floor(Math.random() * 4);
        await application.write([id, { team: 1 + Math.floor(Math.random() * 3), n: step }]);
        if (step % 40 === 0) await drop(snorky);
        if (step % 60 === 0) await application.backend.refreshSubscriptions({ models: ["Row"] });
        if (step % 25 === 0) lists[step % 3].refetch();
        if (step % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      for (const [index, list] of lists.entries()) {
        await soon(() => {
          expect(list.status).toBe("live");
          const team = [1, 2, 1][index];
          const right = [...application.rows.values()].filter((row) => row.team === team);
          expect([...list.items].sort((a, b) => a.id - b.id)).toEqual(
            right.sort((a, b) => a.id - b.id),
          );
        });
        list.close();
      }
      expect(problems).toEqual([]);
      isOver = true;
      await relaying;
    },
  );
});

test("two pages of one token: the later has it, the earlier asks for its own", async () => {
  const application = new Application();
  await application.write([1, { team: 1, n: 1 }]);
  const items = [{ dealer: "rows", query: ["==", "team", 1] }];
  const copied = await application.backend.authorizeSubscription({ items });
  const lists = [application.page(), application.page()].map(({ datasync }) => {
    let token: string | undefined = copied;
    return application.live(datasync, items, (row) => row.team === 1, {
      fetch: async () => {
        const mine = token ?? (await application.backend.authorizeSubscription({ items }));
        token = undefined;
        const rows = [...application.rows.values()].filter((row) => row.team === 1);
        return new Response(JSON.stringify(rows), { headers: { "X-Subscription-Token": mine } });
      },
    });
  });
  await Promise.all(lists.map(isLive));
  await application.write([1, { team: 1, n: 2 }]);
  for (const list of lists) await soon(() => expect(list.items[0].n).toBe(2));
  for (const list of lists) list.close();
});

test("nothing is left of lists that are closed", async () => {
  const application = new Application();
  const { datasync } = application.page();
  const list = application.team(datasync, 1);
  await isLive(list);
  list.close();
  const counted = service("listSubscriptions");
  const backend = connect(server.url, { datasync_backend: counted }).services.datasync_backend;
  await soon(async () => {
    const all = (await backend.listSubscriptions()) as { dealer: string }[];
    expect(all.filter((each) => each.dealer === "rows")).toEqual([]);
  });
});
