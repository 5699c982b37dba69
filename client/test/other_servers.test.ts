/** Servers that are not Snorky's: old ones, wrong ones, hostile ones. All are real. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { ConnectionError, PubSub, RPCService, Service, Snorky } from "../src/index.js";
import { connect, next } from "./server.js";
import { consoleErrorCount, expectConsoleErrors } from "./setup.js";

let server: WebSocketServer;
let sockets: WebSocket[];

async function serve(options: object = {}): Promise<string> {
  server = new WebSocketServer({ host: "127.0.0.1", port: 0, ...options });
  sockets = [];
  server.on("connection", (socket) => sockets.push(socket));
  await once(server, "listening");
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

afterEach(() => {
  for (const socket of server.clients) socket.terminate();
  server.close();
});

describe("a server that selects no subprotocol", () => {
  const classic = { handleProtocols: () => false };

  test("is reached all the same, again and again, without heartbeats", async () => {
    const snorky = connect(await serve(classic), {}, { heartbeatInterval: 0.02 });
    for (let i = 0; i < 3; i++) {
      await next(snorky.connected);
      expect(sockets.at(-1)!.protocol).toBe("");
      const dropped = next(snorky.disconnected);
      sockets.at(-1)!.close(3000);
      await dropped;
    }
    await next(snorky.connected);
    const heard = vi.fn();
    sockets.at(-1)!.on("message", heard);
    // The server's ping comes back after anything the client has sent before.
    for (let i = 0; i < 3; i++) {
      sockets.at(-1)!.ping();
      await once(sockets.at(-1)!, "pong");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(heard).not.toHaveBeenCalled();
  });

  test("may take the place of one that did", async () => {
    const url = await serve();
    const snorky = connect(url, {});
    await next(snorky.connected);
    expect(sockets[0].protocol).toBe("snorky");
    const { port } = server.address() as AddressInfo;
    server.close();
    const dropped = next(snorky.disconnected);
    sockets[0].close();
    await dropped;
    await serve({ ...classic, port });
    await next(snorky.connected);
    expect(sockets[0].protocol).toBe("");
  });
});

describe("a socket class of the page's own", () => {
  const seen: unknown[][] = [];
  class Derived extends WebSocket {
    constructor(...args: [string]) {
      super(...args);
      seen.push(args);
    }
  }
  const Instrumented = new Proxy(WebSocket, {
    construct(target, args: [string]) {
      seen.push(args);
      return new target(...args);
    },
  });
  /** As SockJS does. */
  class Other {
    constructor(...args: [string]) {
      seen.push(args);
      const socket = new WebSocket(args[0]);
      return new Proxy(socket, { set: (target, key, value) => Reflect.set(target, key, value) });
    }
  }

  afterEach(() => seen.splice(0));

  async function argumentsOf(SocketClass: any, token = ""): Promise<unknown[]> {
    const url = await serve();
    const snorky = new Snorky(SocketClass, url, {}, { token });
    onTestFinished(() => snorky.disconnect());
    await next(snorky.connected);
    expect(seen).toHaveLength(1);
    return seen[0].map((each) => (typeof each === "string" ? each.replace(url, "") : each));
  }

  test.each([
    ["derived from WebSocket", Derived],
    ["put around it", Instrumented],
  ])("%s takes subprotocols: heartbeats, and the token where servers look", async (_name, Own) => {
    expect(await argumentsOf(Own)).toEqual(["", "snorky"]);
    seen.splice(0);
    expect(await argumentsOf(Own, "abc")).toEqual(["", ["snorky", "snorky.jwt.abc"]]);
  });

  test("of another kind gets the address alone", async () => {
    expect(await argumentsOf(Other)).toEqual([""]);
    seen.splice(0);
    expect(await argumentsOf(Other, "abc")).toEqual(["?token=abc"]);
  });

  test("that throws later is tried again like a network that fails", async () => {
    let broken = false;
    class Moody extends WebSocket {
      constructor(...args: [string]) {
        if (broken) throw new Error("no more sockets");
        super(...args);
      }
    }
    const url = await serve();
    const options = { minReconnectDelay: 0.01, maxReconnectDelay: 0.02 };
    const snorky = new Snorky(Moody as any, url, {}, options);
    onTestFinished(() => snorky.disconnect());
    await next(snorky.connected);
    broken = true;
    sockets[0].close(3000);
    await next(snorky.disconnected);
    for (let i = 0; i < 3; i++) {
      const [{ reason, nextAttempt }] = await next(snorky.disconnected);
      expect(reason).toBe("no more sockets");
      expect(nextAttempt).not.toBeNull();
    }
    broken = false;
    await next(snorky.connected);
  });
});

test("an idle page stays connected where empty texts are lost on their way", async () => {
  const url = await serve();
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      if (String(data) === " ") socket.send(" "); // an empty answer would not come through
    });
  });
  const snorky = connect(url, {}, { heartbeatInterval: 0.05 });
  await next(snorky.connected);
  const lost = vi.fn();
  snorky.disconnected.add(lost);
  let spaces = 0;
  sockets[0].on("message", (data) => (spaces += String(data) === " " ? 1 : 0));
  await vi.waitUntil(() => spaces >= 4, { timeout: 5000 });
  expect(lost).not.toHaveBeenCalled();
});

describe("a socket that throws while it sends", () => {
  /** Real, but the first refuses to send a text that contains this. */
  function refusing(part: string): any {
    let first = true;
    return class extends WebSocket {
      private readonly refuses = first;
      constructor(address: string) {
        super(address);
        first = false;
      }
      override send(text: any) {
        if (this.refuses && text.includes(part)) throw new Error("broken");
        super.send(text);
      }
    };
  }

  async function connectRefusing(part: string) {
    const url = await serve();
    const texts: string[] = [];
    server.on("connection", (socket) => {
      socket.on("message", (data) => texts.push(JSON.parse(String(data)).message));
    });
    const options = { minReconnectDelay: 0.02, maxReconnectDelay: 0.1 };
    const snorky = new Snorky(refusing(part), url, { plain: Service, rpc: RPCService }, options);
    onTestFinished(() => snorky.disconnect());
    return { snorky, texts };
  }

  test("loses nothing of the queue: it is dropped, and the next one goes on", async () => {
    const { snorky, texts } = await connectRefusing("two");
    for (const text of ["one", "two", "three"]) snorky.services.plain.sendMessage(text);
    const call = snorky.services.rpc.rpcCall("four");
    const [disconnection] = await next(snorky.disconnected);
    expect(disconnection).toMatchObject({ code: 1006, reason: "could not send: Error: broken" });
    expect(snorky.isConnected).toBe(false);
    await vi.waitFor(() => expect(texts).toHaveLength(4));
    expect(texts).toEqual(["one", "two", "three", { command: "four", params: {}, callId: 0 }]);
    const answer = { type: "response", callId: 0, data: 4 };
    sockets.at(-1)!.send(JSON.stringify({ service: "rpc", message: answer }));
    expect(await call).toBe(4);
  });

  test("fails the call it did not send", async () => {
    const { snorky } = await connectRefusing("sum");
    await next(snorky.connected);
    const error = await snorky.services.rpc.rpcCall("sum").catch((e) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ reason: "disconnected" });
    await next(snorky.connected);
  });
});

describe("a message", () => {
  async function tell(...texts: string[]) {
    const snorky = connect(await serve(), { pubsub: PubSub });
    await next(snorky.connected);
    for (const text of texts) sockets[0].send(text);
    await vi.waitFor(() => expect(consoleErrorCount()).toBe(texts.length));
    return snorky;
  }

  test.each([
    ["that is not JSON", "{", /malformed/],
    ["that is nothing", "null", /malformed/],
    ["that is a list", "[1, 2]", /malformed/],
    ["that is a text", '"service"', /malformed/],
    ["without service", '{"message": 1}', /malformed/],
    ["without message", '{"service": "pubsub"}', /malformed/],
    ["whose service is no name", '{"service": {}, "message": 1}', /malformed/],
    ["to an unknown service", '{"service": "ghost", "message": 1}', /unknown service.*ghost/],
    ["to a method", '{"service": "constructor", "message": 1}', /unknown service/],
    ["to a prototype", '{"service": "__proto__", "message": 1}', /unknown service/],
    [
      "that answers no call",
      '{"service": "pubsub", "message": {"type": "response", "callId": 9}}',
      /unknown callId/,
    ],
    [
      "that fails no call",
      '{"service": "pubsub", "message": {"type": "error", "callId": null, "message": "x"}}',
      /unknown callId/,
    ],
    [
      "whose callId is an object",
      '{"service": "pubsub", "message": {"type": "response", "callId": {"a": 1}}}',
      /unknown callId/,
    ],
  ])("%s is reported and ignored", async (_name, text, pattern) => {
    const snorky = await tell(text);
    expectConsoleErrors(pattern);
    const published = next(snorky.services.pubsub.messagePublished);
    const notification = { type: "message", channel: "a", message: "still here" };
    sockets[0].send(JSON.stringify({ service: "pubsub", message: notification }));
    expect(await published).toEqual([notification]);
  });

  test("that is nothing to a service is no notification it knows", async () => {
    const snorky = connect(await serve(), { pubsub: PubSub });
    await next(snorky.connected);
    const { pubsub } = snorky.services;
    const notifications: unknown[] = [];
    pubsub.notificationReceived.add((notification) => notifications.push(notification));
    for (const message of [null, 3, [], {}, { type: "delta" }]) {
      sockets[0].send(JSON.stringify({ service: "pubsub", message }));
    }
    await vi.waitFor(() => expect(notifications).toHaveLength(5));
  });

  test("in whose listener the page fails breaks nothing", async () => {
    const snorky = connect(await serve(), { pubsub: PubSub });
    await next(snorky.connected);
    snorky.services.pubsub.messagePublished.add(() => {
      throw new Error("the page's own fault");
    });
    const notification = { type: "message", channel: "a", message: 1 };
    sockets[0].send(JSON.stringify({ service: "pubsub", message: notification }));
    await vi.waitFor(() => expect(consoleErrorCount()).toBe(1));
    expectConsoleErrors(/the page's own fault/);
    expect(snorky.isConnected).toBe(true);
  });
});

test("what comes from a connection that was given up is not heard", async () => {
  const snorky = connect(await serve(), { pubsub: PubSub });
  await next(snorky.connected);
  const published = vi.fn();
  snorky.services.pubsub.messagePublished.add(published);
  snorky.disconnect();
  const notification = { type: "message", channel: "a", message: 1 };
  sockets[0].send(JSON.stringify({ service: "pubsub", message: notification }));
  await once(sockets[0], "close");
  expect(published).not.toHaveBeenCalled();
});
