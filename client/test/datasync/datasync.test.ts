import { beforeAll, expect, test, vi } from "vitest";
import {
  ArrayCollection,
  CollectionDeltaProcessor,
  DataSync,
  type Delta,
  type Resync,
} from "../../src/index.js";
import { connect, drop, next, service, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

const Backend = service("authorizeSubscription", "publishDeltas");

/** The web application's connection to its private back end. */
const webApplication = () => connect(server.url, { datasync_backend: Backend }).services;

async function authorize(): Promise<string> {
  const items = [{ dealer: "tasks", query: null }];
  return webApplication().datasync_backend.authorizeSubscription({ items });
}

async function publish(...deltas: Delta[]): Promise<void> {
  await webApplication().datasync_backend.publishDeltas({ deltas });
}

const insert = (id: number): Delta => ({ type: "insert", model: "Task", data: { id } });

test("a list follows the application's changes", async () => {
  const { datasync } = connect(server.url, { datasync: DataSync }).services;
  const tasks = [{ id: 1 }];
  const processor = new CollectionDeltaProcessor({
    Task: new ArrayCollection(tasks),
  });
  datasync.deltaReceived.add((delta) => processor.processDelta(delta));
  datasync.onDelta = vi.fn();
  const token = await authorize();
  await publish(insert(2)); // kept until the token is acquired
  expect(await datasync.acquireSubscription({ token })).toBeNull();
  expect(tasks).toEqual([{ id: 1 }, { id: 2 }]);

  const last = next(datasync.deltaReceived);
  await publish({
    type: "update",
    model: "Task",
    oldData: { id: 1 },
    newData: { id: 1, done: true },
  } as any);
  await last;
  expect(tasks).toEqual([{ id: 1, done: true }, { id: 2 }]);
  expect(datasync.onDelta).toHaveBeenCalledWith(insert(2));
});

test("a token the server does not know is refused in its own words", async () => {
  const { datasync } = connect(server.url, { datasync: DataSync }).services;
  await expect(datasync.acquireSubscription({ token: "x" })).rejects.toThrow(
    "No such subscription",
  );
  await expect(datasync.cancelSubscription({ token: "x" })).rejects.toThrow("No such subscription");
});

test("the page is told to fetch again what ended with the connection, once it is back", async () => {
  const snorky = connect(server.url, { datasync: DataSync });
  const { datasync } = snorky.services;
  const tokens = [await authorize(), await authorize(), await authorize()];
  for (const token of tokens) await datasync.acquireSubscription({ token });
  await datasync.cancelSubscription({ token: tokens[1] });

  const needed: Resync[] = [];
  datasync.resyncNeeded.add((resync) => {
    expect(snorky.isConnected).toBe(true);
    needed.push(resync);
  });
  await drop(server, snorky);
  expect(needed).toEqual([]);
  const [first] = await next(datasync.resyncNeeded);
  expect(first).toEqual({ reason: "lost", token: tokens[0] });
  expect(needed.map(({ token }) => token)).toEqual([tokens[0], tokens[2]]);

  // What the page did not acquire anew is not reported again.
  snorky.disconnect();
  snorky.connect();
  await next(snorky.connected);
  await expect(datasync.acquireSubscription({ token: tokens[0] })).rejects.toThrow();
  expect(needed).toHaveLength(2);
});

test("a subscription cancelled while the server was away needs no resync", async () => {
  const snorky = connect(server.url, { datasync: DataSync });
  const { datasync } = snorky.services;
  const token = await authorize();
  await datasync.acquireSubscription({ token });
  const needed = vi.fn();
  datasync.resyncNeeded.add(needed);
  await drop(server, snorky);
  await expect(datasync.cancelSubscription({ token })).rejects.toThrow("No such subscription");
  expect(needed).not.toHaveBeenCalled();
});

test("a page that fetches again has the changes of before and after", async () => {
  const snorky = connect(server.url, { datasync: DataSync });
  const { datasync } = snorky.services;
  await datasync.acquireSubscription({ token: await authorize() });
  const resynced = new Promise<void>((resolve) => {
    datasync.resyncNeeded.add(async () => {
      await datasync.acquireSubscription({ token: await authorize() });
      resolve();
    });
  });
  await drop(server, snorky);
  await resynced;
  const delta = next(datasync.deltaReceived);
  await publish(insert(9));
  expect(await delta).toEqual([insert(9)]);
});
