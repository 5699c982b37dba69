/** Web servers that say no to plain HTTP, and browsers that have six connections to a host. */

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocketServer } from "ws";
import "../src/comet.js";
import type { Transport } from "../src/index.js";
import { connect, next, service, TestServer } from "./server.js";
import { expectConsoleErrors } from "./setup.js";

describe("a web server that refuses", () => {
  let status: number;
  let attempts: string[];
  let http: Server;
  let url: string;

  beforeEach(async () => {
    attempts = [];
    http = createServer((request, response) => {
      attempts.push(request.headers.authorization ?? "");
      response.writeHead(status).end("No");
    });
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/ws`;
    onTestFinished(() => {
      http.close();
    });
  });

  test.each<[number, Transport[], number]>([
    [401, ["sse"], 1],
    [403, ["sse"], 1],
    [404, ["sse"], 1],
    [401, ["polling"], 1],
    [403, ["polling", "sse"], 1],
    [404, ["polling", "sse"], 2],
  ])("with %d by %j is asked no more", async (refusal, transports, expected) => {
    status = refusal;
    const snorky = connect(url, {}, { transports });
    let last = await next(snorky.disconnected);
    if (expected === 2) last = await next(snorky.disconnected);
    expect(last[0]).toMatchObject({ code: 3501, reason: `${refusal} No`, nextAttempt: null });
    expectConsoleErrors(/for good/);
    expect(attempts).toHaveLength(expected);

    // The page may try again.
    snorky.connect();
    expect((await next(snorky.disconnected))[0].reason).toBe(`${refusal} No`);
    if (expected === 2) await next(snorky.disconnected);
    expectConsoleErrors(/for good/);
  });

  test("with 503 is asked again", async () => {
    status = 503;
    const snorky = connect(url, {}, { transports: ["sse"] });
    for (let i = 0; i < 3; i++) {
      expect((await next(snorky.disconnected))[0].nextAttempt).not.toBeNull();
    }
  });

  test("a token is asked again with the page's next one", async () => {
    status = 401;
    let count = 0;
    const token = () => `t${count++}`;
    const snorky = connect(url, {}, { transports: ["sse"], token });
    for (let i = 0; i < 3; i++) await next(snorky.disconnected);
    expect(attempts.slice(0, 3)).toEqual(["Bearer t0", "Bearer t1", "Bearer t2"]);
  });

  test("is not believed where a WebSocket got through before", async () => {
    status = 403;
    const websockets = new WebSocketServer({ server: http });
    let refuses = false;
    websockets.options.verifyClient = () => !refuses;
    websockets.on("connection", (socket) => {
      socket.on("message", () => socket.send("")); // the first message
    });
    const snorky = connect(url, {}, { transports: ["websocket", "sse"] });
    await next(snorky.connected);
    refuses = true;
    for (const socket of websockets.clients) socket.close(3000);
    for (let i = 0; i < 4; i++) await next(snorky.disconnected);
    expect(attempts).toHaveLength(1);
    refuses = false;
    await next(snorky.connected);
    expect(snorky.transport).toBe("websocket");
  });
});

describe("six windows of a browser that has six connections", () => {
  const server = new TestServer();
  beforeAll(() => server.start());

  /** What browsers do by HTTP/1.1: a request waits until one of the six before it has ended. */
  function sixConnections(): void {
    const { fetch } = globalThis;
    let free = 6;
    const waiting: (() => void)[] = [];
    const release = () => {
      const go = waiting.shift();
      if (go) go();
      else free++;
    };
    globalThis.fetch = async (input, init) => {
      const { signal } = init ?? {};
      if (free > 0) free--;
      else
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve);
          signal?.addEventListener("abort", () => {
            const index = waiting.indexOf(resolve);
            if (index >= 0) waiting.splice(index, 1);
            reject(signal.reason);
          });
        });
      let held = true;
      const done = () => {
        if (held) release();
        held = false;
      };
      signal?.addEventListener("abort", done);
      try {
        const answer = await fetch(input, init);
        if (!answer.body) done();
        const body = answer.body?.pipeThrough(new TransformStream({ flush: done }));
        return new Response(body, { status: answer.status, headers: answer.headers });
      } catch (error) {
        done();
        throw error;
      }
    };
    onTestFinished(() => {
      globalThis.fetch = fetch;
    });
  }

  test.each<Transport>(["sse", "polling"])("by %s reach the server", async (transport) => {
    sixConnections();
    const Calculator = service("sum");
    const windows = [];
    for (let i = 0; i < 6; i++) {
      const snorky = connect(server.url, { calculator: Calculator }, { transports: [transport] });
      await next(snorky.connected);
      windows.push(snorky);
    }
    const lost = vi.fn();
    for (const snorky of windows) snorky.disconnected.add(lost);
    const sums = windows.map((each) => each.services.calculator.sum({ number1: 1, number2: 2 }));
    expect(await Promise.all(sums)).toEqual([3, 3, 3, 3, 3, 3]);
    expect(lost).not.toHaveBeenCalled();
  });
});
