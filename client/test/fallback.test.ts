/** Lines that swallow what is said on them: the next transport is tried soon. */

import { once } from "node:events";
import { type AddressInfo, connect as connectTo, createServer, type Socket } from "node:net";
import { beforeAll, expect, onTestFinished, test, vi } from "vitest";
import "../src/comet.js";
import type { Snorky, Transport } from "../src/index.js";
import { connect, drop, next, service, TestServer } from "./server.js";
import { patient } from "./patience.js";

const server = new TestServer();
beforeAll(() => server.start());

const Calculator = service("sum");
const TRANSPORTS: Transport[] = ["websocket", "sse", "polling"];
const LONG = { timeout: patient(30_000) };

/** Passes everything on, but never answers on connections that begin with what it swallows. */
async function line() {
  const open = new Set<Socket>();
  const state = { swallows: /^$/, swallowed: 0, handshakesOnly: /^$/ };
  const listener = createServer((near) => {
    open.add(near);
    near.on("error", () => {});
    near.once("data", (head) => {
      if (state.swallows.test(head.toString("latin1"))) {
        state.swallowed++;
        near.resume(); // takes everything, says nothing
        return;
      }
      const far = connectTo(Number(new URL(server.url).port), "127.0.0.1");
      far.on("error", () => {});
      far.write(head);
      if (state.handshakesOnly.test(head.toString("latin1"))) {
        far.once("data", (answer) => near.write(answer));
        near.resume();
      } else {
        near.pipe(far).pipe(near);
      }
      near.on("close", () => far.destroy());
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    listener.close();
  });
  const { port } = listener.address() as AddressInfo;
  return Object.assign(state, { url: `ws://127.0.0.1:${port}/ws` });
}

/** What the client says at each time. */
function historyOf(snorky: Snorky): string[] {
  const history = [`tries ${snorky.transport}`];
  snorky.connected.add(() => {
    history.push(`connected by ${snorky.transport}`);
  });
  snorky.disconnected.add(({ reason }) => {
    history.push(`${snorky.transport}: ${reason}`);
  });
  return history;
}

const WEBSOCKET = /Upgrade: websocket/i;

test("where a WebSocket neither opens nor fails the next transport is tried soon", async () => {
  const swallowing = Object.assign(await line(), { swallows: WEBSOCKET });
  const options = { transports: TRANSPORTS, connectTimeout: 1000, fallbackTimeout: 1 };
  const snorky = connect(swallowing.url, { calculator: Calculator }, options);
  const history = historyOf(snorky);
  expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
  expect(swallowing.swallowed).toBe(1);
  expect(history).toEqual([
    "tries websocket",
    "null: no connection within 1 s",
    "connected by sse",
  ]);
});

test("where handshakes pass but nothing after them the next transport is tried", async () => {
  const deaf = Object.assign(await line(), { handshakesOnly: WEBSOCKET });
  const options = { transports: TRANSPORTS, connectTimeout: 1000, fallbackTimeout: 1 };
  const snorky = connect(deaf.url, { calculator: Calculator }, options);
  const history = historyOf(snorky);
  expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
  expect(history).toEqual([
    "tries websocket",
    "null: no connection within 1 s",
    "connected by sse",
  ]);
});

test("by default within five seconds", LONG, async () => {
  const swallowing = Object.assign(await line(), { swallows: WEBSOCKET });
  const snorky = connect(swallowing.url, {}, { transports: TRANSPORTS });
  expect((await next(snorky.disconnected))[0].reason).toBe("no connection within 5 s");
  await next(snorky.connected);
  expect(snorky.transport).toBe("sse");
});

test("the last transport has as long as if it were the only one", async () => {
  const swallowing = Object.assign(await line(), { swallows: /./ });
  const options = { connectTimeout: 0.6, fallbackTimeout: 0.2, transports: TRANSPORTS };
  const snorky = connect(swallowing.url, {}, options);
  const reasons: string[] = [];
  snorky.disconnected.add(({ reason }) => {
    reasons.push(reason);
  });
  await vi.waitUntil(() => reasons.length === 4, { timeout: 8000 });
  expect(reasons.map((reason) => reason.replace("no connection within", ""))).toEqual([
    " 0.2 s",
    " 0.2 s",
    " 0.6 s",
    " 0.2 s",
  ]);
});

test.each([
  ["0: as long as any", { connectTimeout: 0.4, fallbackTimeout: 0 }, "0.4 s"],
  ["longer than any attempt may take", { connectTimeout: 0.4, fallbackTimeout: 9 }, "0.4 s"],
  ["the only limit", { connectTimeout: 0, fallbackTimeout: 0.3 }, "0.3 s"],
])("the limit may be %s", async (_name, limits, expected) => {
  const swallowing = Object.assign(await line(), { swallows: /./ });
  const snorky = connect(swallowing.url, {}, { ...limits, transports: TRANSPORTS });
  const [{ reason }] = await next(snorky.disconnected);
  expect(reason).toBe(`no connection within ${expected}`);
});

test("a WebSocket that has worked is given its time, and tried first again", LONG, async () => {
  const moody = await line();
  const options = { transports: TRANSPORTS, connectTimeout: 3, fallbackTimeout: 1 };
  const snorky = connect(moody.url, {}, options);
  await next(snorky.connected);
  expect(snorky.transport).toBe("websocket");

  moody.swallows = WEBSOCKET;
  await drop(server, snorky);
  expect((await next(snorky.disconnected))[0].reason).toBe("no connection within 3 s");
  await next(snorky.connected);
  expect(snorky.transport).toBe("sse");

  // It did not work this time: it is tried first again, and not for long.
  await drop(server, snorky);
  expect((await next(snorky.disconnected))[0].reason).toBe("no connection within 1 s");
  await next(snorky.connected);
  expect(snorky.transport).toBe("sse");

  moody.swallows = /^$/;
  await drop(server, snorky);
  await next(snorky.connected);
  expect(snorky.transport).toBe("websocket");
});
