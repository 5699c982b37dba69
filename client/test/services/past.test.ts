import { beforeAll, describe, expect, test, vi } from "vitest";
import { PubSub, type Snorky } from "../../src/index.js";
import { connect, drop, next, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

const services = { pubsub: PubSub };

/** A page that notes all it hears. */
async function page(channel: string) {
  const snorky = connect(server.url, services);
  const { pubsub } = snorky.services;
  const heard: unknown[] = [];
  pubsub.messagePublished.add(({ message }) => void heard.push(message));
  pubsub.messagesMissed.add(({ channel, reason }) => void heard.push({ channel, reason }));
  const answer = await pubsub.subscribe({ channel });
  return { snorky, pubsub, heard, answer };
}

async function publish(channel: string, ...messages: unknown[]): Promise<void> {
  const { pubsub } = connect(server.url, services).services;
  for (const message of messages) await pubsub.publish({ channel, message });
}

/** Lose the connection, and have it again only after `meanwhile`. */
async function away(snorky: Snorky, meanwhile: () => Promise<unknown>): Promise<void> {
  snorky.disconnect();
  await meanwhile();
  snorky.connect();
  await next(snorky.connected);
}

describe("a channel with a past", () => {
  test("brings what was published while the page was away, in order and once", async () => {
    const { snorky, heard } = await page("kept/1");
    await publish("kept/1", 1, 2);
    await vi.waitFor(() => expect(heard).toEqual([1, 2]));
    await away(snorky, () => publish("kept/1", 3, 4));
    await publish("kept/1", 5);
    await vi.waitFor(() => expect(heard).toEqual([1, 2, 3, 4, 5]));
    await away(snorky, () => publish("kept/1", 6));
    await vi.waitFor(() => expect(heard).toEqual([1, 2, 3, 4, 5, 6]));
  });

  test("brings it also to a page that had heard nothing yet", async () => {
    const { snorky, heard } = await page("kept/2");
    await away(snorky, () => publish("kept/2", 1));
    await vi.waitFor(() => expect(heard).toEqual([1]));
  });

  test("brings it to a page that subscribes again itself", async () => {
    const { snorky, pubsub, heard } = await page("kept/3");
    snorky.connected.add(() => void pubsub.subscribe({ channel: "kept/3" }));
    await away(snorky, () => publish("kept/3", 1));
    await vi.waitFor(() => expect(heard).toEqual([1]));
  });

  test("says so where too much was missed", async () => {
    const { snorky, heard } = await page("kept/4");
    await away(snorky, () => publish("kept/4", 1, 2, 3, 4, 5, 6));
    await publish("kept/4", 7);
    await vi.waitFor(() => expect(heard).toEqual([{ channel: "kept/4", reason: "trimmed" }, 7]));
    await away(snorky, () => publish("kept/4", 8));
    await vi.waitFor(() => expect(heard.slice(2)).toEqual([8]));
  });

  test("gives a new page what is kept, where it asks for that", async () => {
    const { heard } = await page("kept/5");
    await publish("kept/5", "a", "b");
    await vi.waitFor(() => expect(heard).toHaveLength(2));

    const late = connect(server.url, services).services.pubsub;
    const came: unknown[] = [];
    late.messagePublished.add((message) => void came.push(message));
    const answer = (await late.subscribe({ channel: "kept/5", since: "" }))!;
    expect(answer.recovered).toBe(true);
    expect(came).toEqual(answer.messages);
    expect(came).toMatchObject([{ message: "a" }, { message: "b" }]);
    expect(answer.position).toBe(answer.messages![1].position);
  });

  test("is told from one without", async () => {
    const { pubsub, heard, answer } = await page("plain");
    expect(answer).toBeNull();
    await pubsub.unsubscribe({ channel: "plain" });
    const again = await pubsub.subscribe({ channel: "plain", since: "a.1.b" });
    expect(again).toEqual({ recovered: false, reason: "no history" });
    expect(heard).toEqual([{ channel: "plain", reason: "no history" }]);
  });

  test("says so where the server has lost its past", async () => {
    const { snorky, heard } = await page("kept/6");
    await publish("kept/6", 1);
    await vi.waitFor(() => expect(heard).toEqual([1]));
    await server.kill();
    await server.start();
    await vi.waitFor(() => expect(snorky.isConnected).toBe(true));
    await publish("kept/6", 2);
    await vi.waitFor(() => expect(heard).toEqual([1, { channel: "kept/6", reason: "epoch" }, 2]));
  });

  test("brings what was published also where the page heard nothing for long", async () => {
    const { snorky, pubsub, heard } = await page("kept/9");
    const busy = () => publish("kept/busy", ..."abcd".split("").map((each) => each.repeat(4000)));
    const marked = new Promise<void>((resolve) => {
      pubsub.notificationReceived.add(({ type }) => void (type === "mark" && resolve()));
    });
    await busy();
    await marked;
    await away(snorky, async () => {
      await publish("kept/busy", "x".repeat(4000)); // the past of the beginning has gone
      await publish("kept/9", 1);
    });
    await vi.waitFor(() => expect(heard).toEqual([1]));
  });

  test("is forgotten with the subscription", async () => {
    const { snorky, pubsub, heard } = await page("kept/7");
    await pubsub.unsubscribe({ channel: "kept/7" });
    await publish("kept/7", 1);
    await drop(server, snorky);
    await pubsub.subscribe({ channel: "kept/7" });
    await publish("kept/7", 2);
    await vi.waitFor(() => expect(heard).toEqual([2]));
  });
});

test("presence comes by a signal, and is answered when it is asked for", async () => {
  const url = (name: string) => `${server.url}?name=${name}`;
  const alice = connect(url("alice"), services).services.pubsub;
  expect((await alice.subscribe({ channel: "kept/8" }))!.members).toEqual(["alice"]);
  const heard = next(alice.presenceReceived);
  const bob = connect(url("bob"), services).services.pubsub;
  expect((await bob.subscribe({ channel: "kept/8" }))!.members).toEqual(["alice", "bob"]);
  expect(await heard).toEqual([
    { type: "presence", channel: "kept/8", from: "bob", status: "joined" },
  ]);
  expect(await alice.presence({ channel: "kept/8" })).toEqual({ members: ["alice", "bob"] });
});
