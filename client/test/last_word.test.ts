/** What a page asks for, takes back and asks for again, at a server that takes its time. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { Chat, Cursors, DataSync, Messaging, PubSub, type Snorky } from "../src/index.js";
import { connect, next } from "./server.js";

interface Call {
  socket: WebSocket;
  service: string;
  command: string;
  callId: number;
  params: any;
}

let server: WebSocketServer;
let calls: Call[];
let snorky: Snorky;

beforeEach(async () => {
  server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  calls = [];
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      const text = String(data);
      if (!text.trim()) return;
      const { service, message } = JSON.parse(text);
      calls.push({ socket, service, ...message });
    });
  });
  await once(server, "listening");
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const services = {
    pubsub: PubSub,
    chat: Chat,
    messaging: Messaging,
    cursors: Cursors,
    datasync: DataSync,
  };
  snorky = connect(url, services);
  await next(snorky.connected);
});

afterEach(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});

async function nextCall(command: string): Promise<Call> {
  await vi.waitUntil(() => calls.length > 0, { timeout: 5000 });
  const call = calls.shift()!;
  expect(call.command).toBe(command);
  return call;
}

function answer({ socket, service, callId }: Call, data: unknown = null): void {
  socket.send(JSON.stringify({ service, message: { type: "response", callId, data } }));
}

function refuse({ socket, service, callId }: Call, message: string): void {
  socket.send(JSON.stringify({ service, message: { type: "error", callId, message } }));
}

/** Nothing the client has sent is on its way any more. */
async function settled(): Promise<void> {
  const [socket] = server.clients;
  socket.ping();
  await once(socket, "pong");
}

async function drop(): Promise<void> {
  const dropped = next(snorky.disconnected);
  for (const socket of server.clients) socket.terminate();
  await dropped;
}

describe.each([
  ["pubsub", "subscribe", "unsubscribe", { channel: "a" }, null],
  ["pubsub", "join", "leave", { channel: { b: 1, a: 2 } }, null],
  ["chat", "join", "leave", { channel: "a" }, { members: [] }],
  ["messaging", "registerParticipant", "unregisterParticipant", { name: "ann" }, null],
  ["cursors", "join", "leave", { document: "a" }, { cursors: [] }],
] as const)("%s: %s and %s", (name, on, off, params, yes) => {
  const service = (): any => snorky.services[name];

  test("what is taken back waits for the answer, and is not refused", async () => {
    const asked = service()[on](params);
    const takenBack = service()[off](params);
    const first = await nextCall(on);
    await settled();
    expect(calls).toEqual([]);
    answer(first, yes);
    await asked;
    answer(await nextCall(off));
    expect(await takenBack).toBeNull();
  });

  test("on, off, on ends on", async () => {
    const all = [service()[on](params), service()[off](params), service()[on](params)];
    answer(await nextCall(on), yes);
    answer(await nextCall(off));
    answer(await nextCall(on), yes);
    await Promise.all(all);
  });

  test("a refusal does not stop what comes after", async () => {
    const refused = service()[on](params);
    const others = [service()[off](params), service()[on](params)];
    refuse(await nextCall(on), "No");
    await expect(refused).rejects.toThrow("No");
    refuse(await nextCall(off), "Not there");
    await expect(others[0]).rejects.toThrow("Not there");
    answer(await nextCall(on), yes);
    await others[1];
  });

  test("what is taken back when the connection ends is gone with it", async () => {
    const asked = service()[on](params);
    const takenBack = service()[off](params);
    await nextCall(on);
    await drop();
    await expect(asked).rejects.toMatchObject({ reason: "disconnected" });
    expect(await takenBack).toBeNull();
    await next(snorky.connected);
    await settled();
    expect(calls).toEqual([]);
  });

  test("asks for different things at once", async () => {
    const other = { channel: "b", name: "b", document: "b" };
    const both = [service()[on](params), service()[off](other)];
    const asked = await nextCall(on);
    answer(await nextCall(off));
    answer(asked, yes);
    await Promise.all(both);
  });
});

describe("a subscription on its way when the connection drops", () => {
  test("is made by the next connection", async () => {
    const { pubsub } = snorky.services;
    const asked = pubsub.subscribe({ channel: "news" });
    await nextCall("subscribe");
    await drop();
    await expect(asked).rejects.toMatchObject({ reason: "disconnected" });
    const again = await nextCall("subscribe");
    expect(again.params).toEqual({ channel: "news" });
    // The page may ask once more, as pages do that knew nothing of this.
    const own = pubsub.subscribe({ channel: "news" });
    answer(again);
    expect(await own).toBeNull();
    expect(calls).toEqual([]);
  });

  test("is not where the page has unsubscribed since", async () => {
    const { pubsub } = snorky.services;
    const asked = pubsub.subscribe({ channel: "news" });
    await nextCall("subscribe");
    await drop();
    await expect(asked).rejects.toThrow();
    expect(await pubsub.unsubscribe({ channel: "news" })).toBeNull();
    await next(snorky.connected);
    await settled();
    expect(calls).toEqual([]);
  });

  test("nor where the server has refused it before", async () => {
    const { pubsub } = snorky.services;
    const asked = pubsub.subscribe({ channel: "news" });
    refuse(await nextCall("subscribe"), "Not authorized");
    await expect(asked).rejects.toThrow("Not authorized");
    await drop();
    await next(snorky.connected);
    await settled();
    expect(calls).toEqual([]);
  });
});

describe("a list", () => {
  async function resyncsAfter(ask: (datasync: DataSync) => Promise<void>): Promise<string[]> {
    const { datasync } = snorky.services;
    const tokens: string[] = [];
    datasync.resyncNeeded.add(({ token }: { token: string }) => tokens.push(token));
    await ask(datasync);
    const back = next(snorky.connected);
    for (const socket of server.clients) socket.terminate();
    await back;
    await settled();
    return tokens;
  }

  test("that was cancelled before it was acquired needs no resync", async () => {
    const tokens = await resyncsAfter(async (datasync) => {
      const both = [
        datasync.acquireSubscription({ token: "t" }),
        datasync.cancelSubscription({ token: "t" }),
      ];
      answer(await nextCall("acquireSubscription"));
      answer(await nextCall("cancelSubscription"));
      await Promise.all(both);
    });
    expect(tokens).toEqual([]);
  });

  test("that was being acquired when the connection dropped is fetched again", async () => {
    const tokens = await resyncsAfter(async (datasync) => {
      datasync.acquireSubscription({ token: "t" }).catch(() => {});
      await nextCall("acquireSubscription");
    });
    expect(tokens).toEqual(["t"]);
  });
});
