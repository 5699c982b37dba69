import { beforeAll, describe, expect, test } from "vitest";
import { Chat, Snorky } from "../../src/index.js";
import "../../src/classic.js";
import { connect, drop, next, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

/** A window of somebody's. */
const open = (name: string) => connect(`${server.url}?name=${name}`, { chat: Chat });

const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$/);

describe("a chat", () => {
  test("brings messages, presence and read marks, each as the whole notification", async () => {
    const alice = open("alice").services.chat;
    const [bob, tablet] = [open("bob").services.chat, open("bob").services.chat];
    expect(await alice.join({ channel: "tea" })).toEqual({ members: ["alice"] });

    const joined = next(alice.presenceReceived);
    expect(await bob.join({ channel: "tea" })).toEqual({ members: ["alice", "bob"] });
    const presence = { type: "presence", from: "bob", channel: "tea", timestamp };
    expect(await joined).toEqual([{ ...presence, status: "joined" }]);
    await tablet.join({ channel: "tea" });

    const heard = [alice, bob, tablet].map(({ messageReceived }) => next(messageReceived));
    expect(await bob.send({ channel: "tea", body: ["Hi"] })).toBeNull();
    const message = { type: "message", from: "bob", channel: "tea", body: ["Hi"], timestamp };
    for (const each of heard) expect(await each).toEqual([message]);

    const seen = next(bob.readReceived);
    expect(await tablet.read({ channel: "tea" })).toBeNull();
    expect(await seen).toEqual([{ type: "read", channel: "tea", timestamp }]);

    const left = next(alice.presenceReceived);
    await tablet.leave({ channel: "tea" });
    await bob.leave({ channel: "tea" });
    expect(await left).toEqual([{ ...presence, status: "left" }]);
  });

  test("is refused by the server in its own words", async () => {
    const { chat } = connect(server.url, { chat: Chat }).services;
    await expect(chat.join({ channel: "tea" })).rejects.toThrow("Not authenticated");
    const { chat: eve } = open("eve").services;
    await expect(eve.send({ channel: "tea", body: 1 })).rejects.toThrow("Not joined");
    await expect((eve as any).join()).rejects.toThrow("Invalid params");
  });

  test("who joins in `connected` is there before what was queued is sent", async () => {
    const snorky = open("carol");
    const { chat } = snorky.services;
    snorky.connected.add(() => {
      chat.join({ channel: "again" });
    });
    await next(snorky.connected);
    await drop(server, snorky);
    const heard = next(chat.messageReceived);
    await chat.send({ channel: "again", body: "queued" });
    expect((await heard)[0].body).toBe("queued");
  });

  test("notifications of other types are nothing to it", async () => {
    const { chat } = open("dave").services;
    const heard: unknown[] = [];
    for (const signal of [chat.messageReceived, chat.presenceReceived, chat.readReceived]) {
      signal.add((each: unknown) => heard.push(each));
    }
    chat.notificationReceived.dispatch({ type: "note" });
    chat.notificationReceived.dispatch(null);
    expect(heard).toEqual([]);
  });

  test("is also a class on the global, to derive from as pages did before ES6", async () => {
    expect(Snorky.Chat).toBe(Chat);
    const Mine = new (Snorky.Class as any)(Snorky.Chat, { init() {} });
    const { chat } = connect(`${server.url}?name=eve`, { chat: Mine }).services as any;
    await chat.join({ channel: "classic" });
    const heard = next(chat.messageReceived);
    await chat.send({ channel: "classic", body: 1 });
    expect((await heard)[0]).toMatchObject({ from: "eve", body: 1 });
  });
});
