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

test("socket classes of the page's own get the address alone", async () => {
  const seen: unknown[][] = [];
  class Own extends WebSocket {
    constructor(...args: [string]) {
      super(...args);
      seen.push(args);
    }
  }
  const url = await serve();
  const snorky = new Snorky(Own as any, url, {});
  await next(snorky.connected);
  snorky.disconnect();
  expect(seen).toEqual([[url]]);
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
    ["that is not JSON", "{", /not JSON/],
    ["that is nothing", "null", /malformed/],
    ["that is a list", "[1, 2]", /malformed/],
    ["that is a text", '"service"', /malformed/],
    ["without service", '{"message": 1}', /malformed/],
    ["without message", '{"service": "pubsub"}', /malformed/],
    ["whose service is no name", '{"service": {}, "message": 1}', /malformed/],
    ["to an unknown service", '{"service": "ghost", "message": 1}', /unknown service "ghost"/],
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
