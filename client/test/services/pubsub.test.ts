import { beforeAll, describe, expect, test, vi } from "vitest";
import { PubSub } from "../../src/index.js";
import { connect, controlOf, drop, next, TestServer } from "../server.js";
import { consoleErrorCount, expectConsoleErrors } from "../setup.js";

const server = new TestServer();
beforeAll(() => server.start());

const services = { pubsub: PubSub };

/** What arrives of messages published on these channels. */
async function received(pubsub: PubSub, ...channels: unknown[]): Promise<unknown[]> {
  const messages: unknown[] = [];
  const binding = pubsub.messagePublished.add(({ message }) => {
    messages.push(message);
  });
  for (const channel of channels) await pubsub.publish({ channel, message: channel });
  binding.detach();
  return messages;
}

describe("a channel", () => {
  test("brings what is published, as the whole notification", async () => {
    const { pubsub } = connect(server.url, services).services;
    const callback = vi.fn();
    pubsub.onMessagePublished = callback;
    await pubsub.subscribe({ channel: "news" });
    const heard = next(pubsub.messagePublished);
    await pubsub.publish({ channel: "news", message: { n: 1 } });
    const notification = { type: "message", channel: "news", message: { n: 1 } };
    expect(await heard).toEqual([notification]);
    expect(callback.mock.calls).toEqual([[notification]]);
  });

  test("brings nothing more after unsubscribe", async () => {
    const { pubsub } = connect(server.url, services).services;
    await pubsub.subscribe({ channel: "a" });
    await pubsub.join({ channel: "b" });
    await pubsub.join({ channel: "c" });
    await pubsub.unsubscribe({ channel: "a" });
    await pubsub.leave({ channel: "b" });
    expect(await received(pubsub, "a", "b", "c")).toEqual(["c"]);
  });

  test("is refused by the server in its own words", async () => {
    const { pubsub } = connect(server.url, services).services;
    await pubsub.subscribe({ channel: "twice" });
    await expect(pubsub.subscribe({ channel: "twice" })).rejects.toThrow("Already subscribed");
    await expect(pubsub.unsubscribe({ channel: "never" })).rejects.toThrow("Not subscribed");
    await expect((pubsub as any).subscribe()).rejects.toThrow("Invalid params");
  });
});

describe("after a reconnection", () => {
  test("subscriptions are there again", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "a" });
    await pubsub.join({ channel: { deep: ["b"], x: 1 } });
    await pubsub.subscribe({ channel: "left" });
    await pubsub.unsubscribe({ channel: "left" });
    for (let i = 0; i < 2; i++) {
      await drop(server, snorky);
      const channels = ["a", { x: 1, deep: ["b"] }, "left"];
      expect(await received(pubsub, ...channels)).toEqual(["a", { x: 1, deep: ["b"] }]);
    }
  });

  test("the page may subscribe again, at any time, as if nothing were there", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "a" });
    await pubsub.subscribe({ channel: "b" });
    await pubsub.subscribe({ channel: "c" });

    // From `connected`, as pages do that were written before subscriptions came back.
    const again: Promise<unknown>[] = [];
    snorky.connected.add(() => {
      again.push(pubsub.subscribe({ channel: "a" }));
    });
    await drop(server, snorky);
    again.push(pubsub.subscribe({ channel: "b" })); // while it is away
    await next(snorky.connected);
    await Promise.all(again);
    await pubsub.subscribe({ channel: "c" }); // later
    expect(again).toHaveLength(2);
    expect(await received(pubsub, "a", "b", "c")).toEqual(["a", "b", "c"]);
    await expect(pubsub.subscribe({ channel: "c" })).rejects.toThrow("Already subscribed");
  });

  test("a channel left while the server was away stays left", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "a" });
    await pubsub.subscribe({ channel: "b" });
    await drop(server, snorky);
    expect(await pubsub.unsubscribe({ channel: "a" })).toBeNull();
    expect(await received(pubsub, "a", "b")).toEqual(["b"]);
    await expect(pubsub.unsubscribe({ channel: "a" })).rejects.toThrow("Not subscribed");
  });

  test("a subscription the server refuses now is reported and given up", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "secret" });
    await controlOf(server).refuse({ channel: "secret" });
    await drop(server, snorky);
    await vi.waitFor(() => expect(consoleErrorCount()).toBe(1));
    expectConsoleErrors(/could not subscribe again to channel "secret".*Not authorized/);
    await drop(server, snorky);
    expect(await received(pubsub, "secret")).toEqual([]);
  });

  test("a subscription that gets no answer is reported and tried at the next connection", async () => {
    const snorky = connect(server.url, services, { callTimeout: 0.1 });
    const { pubsub } = snorky.services;
    const control = controlOf(server);
    await pubsub.subscribe({ channel: "slow" });
    await control.stall({ channel: "slow", stalled: true });
    await drop(server, snorky);
    await vi.waitFor(() => expect(consoleErrorCount()).toBe(1));
    expectConsoleErrors(/could not subscribe again to channel "slow".*No answer/);
    await control.stall({ channel: "slow", stalled: false });
    await drop(server, snorky);
    expect(await received(pubsub, "slow")).toEqual(["slow"]);
  });

  test("the page may subscribe itself where that got no answer", async () => {
    const snorky = connect(server.url, services, { callTimeout: 0.1 });
    const { pubsub } = snorky.services;
    const control = controlOf(server);
    await pubsub.subscribe({ channel: "mute" });
    await control.stall({ channel: "mute", stalled: true });
    await drop(server, snorky);
    await vi.waitFor(() => expect(consoleErrorCount()).toBe(1));
    expectConsoleErrors(/could not subscribe again to channel "mute".*No answer/);
    await control.stall({ channel: "mute", stalled: false });
    expect(await pubsub.subscribe({ channel: "mute" })).toBeNull();
    expect(await received(pubsub, "mute")).toEqual(["mute"]);
  });

  test("the page's disconnect() and connect() bring them back too", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "a" });
    snorky.disconnect();
    snorky.connect();
    expect(await received(pubsub, "a")).toEqual(["a"]);
  });

  test("a subscription whose restoring is cut off is restored by the next connection", async () => {
    const snorky = connect(server.url, services);
    const { pubsub } = snorky.services;
    await pubsub.subscribe({ channel: "a" });
    snorky.disconnect();
    snorky.connect();
    await next(snorky.connected); // its subscribe call is on its way
    snorky.disconnect();
    snorky.connect();
    expect(await received(pubsub, "a")).toEqual(["a"]);
  });
});
