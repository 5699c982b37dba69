/** Services by plain HTTP, against the real server, and over lines that break at any byte. */

import { createServer, connect as connectTo, type Socket } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import "../src/comet.js";
import { PubSub, Snorky, type SnorkyOptions, type Transport } from "../src/index.js";
import { connect, controlOf, drop, next, service, TestServer } from "./server.js";
import { expectConsoleErrors } from "./setup.js";

const Calculator = service("sum", "fail", "ponder");
const Notebook = service("note", "read");

const TRANSPORTS: Transport[] = ["websocket", "sse", "polling"];
const COMET: Transport[] = ["sse", "polling"];

/** Passes everything on to the server, until it is told to cut. */
async function breakableLine(
  server: TestServer,
  refuses = /^$/,
): Promise<{ url: string; cut(): void }> {
  const open = new Set<Socket>();
  const line = createServer((near) => {
    const far = connectTo(Number(new URL(server.url).port), "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      open.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        open.delete(from);
        to.destroy();
      });
      from.on("data", (data) => {
        if (from === near && refuses.test(data.toString("latin1"))) near.destroy();
        else to.write(data);
      });
    }
  });
  line.listen(0, "127.0.0.1");
  await once(line, "listening");
  const cut = () => open.forEach((socket) => socket.resetAndDestroy());
  onTestFinished(() => {
    cut();
    line.close();
  });
  return { url: `ws://127.0.0.1:${(line.address() as AddressInfo).port}/ws`, cut };
}

describe.each(["server.py", "asgi_server.py"] as const)("against %s", (program) => {
  const server = new TestServer(program);
  beforeAll(() => server.start());

  describe.each(TRANSPORTS)("by %s", (transport) => {
    const options: SnorkyOptions = { transports: [transport] };

    test("services are called, and heard in order", async () => {
      const snorky = connect(server.url, { calculator: Calculator, pubsub: PubSub }, options);
      const { calculator, pubsub } = snorky.services;
      expect(await calculator.sum({ number1: 1, number2: 2 })).toBe(3);
      await expect(calculator.fail({ text: "näh 😀" })).rejects.toThrow("näh 😀");
      expect([snorky.transport, snorky.isConnected]).toEqual([transport, true]);
      const heard: unknown[] = [];
      pubsub.messagePublished.add(({ message }) => heard.push(message));
      await pubsub.subscribe({ channel: transport });
      const all = Array.from({ length: 200 }, (_, n) => n);
      await Promise.all(all.map((message) => pubsub.publish({ channel: transport, message })));
      expect(heard).toEqual(all);
      snorky.disconnect();
      expect(snorky.transport).toBe(null);
    });

    test("the server says why it closes, and the client comes back", async () => {
      const snorky = connect(server.url, { calculator: Calculator }, options);
      await next(snorky.connected);
      const disconnection = await drop(server, snorky, { code: 3000, reason: "moving" });
      expect(disconnection).toMatchObject({ code: 3000, reason: "moving" });
      await next(snorky.connected);
      expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
    });

    test("the server may forbid to come back", async () => {
      const snorky = connect(server.url, {}, options);
      await next(snorky.connected);
      const disconnection = await drop(server, snorky, { code: 3500, reason: "for good" });
      expect(disconnection).toEqual({ code: 3500, reason: "for good", nextAttempt: null });
      expectConsoleErrors(/for good/);
    });
  });

  describe.each(COMET)("a line that breaks, by %s", (transport) => {
    test("is not noticed: nothing is lost, nothing comes twice", async () => {
      const { url, cut } = await breakableLine(server);
      const snorky = connect(url, { notebook: Notebook }, { transports: [transport] });
      await next(snorky.connected);
      const disconnected = vi.fn();
      snorky.disconnected.add(disconnected);
      const { notebook } = snorky.services;
      const heard: unknown[] = [];
      notebook.notificationReceived.add(({ text }: any) => heard.push(text));
      const calls: Promise<unknown>[] = [];
      const all = Array.from({ length: 60 }, (_, n) => `${transport} ${n}`);
      for (const text of all) {
        calls.push(notebook.note({ text }));
        if (calls.length % 10 === 0) {
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
          cut();
        }
      }
      await Promise.all(calls);
      const noted = (await notebook.read()).filter((text: string) => text.startsWith(transport));
      expect(noted).toEqual(all);
      expect(heard).toEqual(all);
      expect(disconnected).not.toHaveBeenCalled();
    });
  });

  test("a stream that falls silent is given up, and another one goes on", async () => {
    const own = new TestServer(program);
    await own.start();
    const snorky = connect(own.url, { calculator: Calculator }, { transports: ["sse"] });
    await next(snorky.connected);
    const disconnected = vi.fn();
    snorky.disconnected.add(disconnected);
    await snorky.services.calculator.sum({ number1: 1, number2: 2 });
    own.freeze();
    const fetched = vi.spyOn(globalThis, "fetch");
    onTestFinished(() => fetched.mockRestore());
    await vi.waitFor(() => expect(fetched).toHaveBeenCalledTimes(1), 5000);
    own.thaw();
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
    expect(disconnected).not.toHaveBeenCalled();
  });

  describe("a list of transports", () => {
    test("is tried in its order", async () => {
      const { url } = await breakableLine(server, /Upgrade: websocket/i);
      const options = { transports: TRANSPORTS, reconnect: false };
      const snorky = connect(url, { calculator: Calculator }, options);
      expect(snorky.transport).toBe("websocket");
      expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
      expect(snorky.transport).toBe("sse");
    });

    test("goes on to polling where no stream comes through, and begins there again", async () => {
      const { url } = await breakableLine(server, /Upgrade: websocket|\/comet\/events/i);
      const snorky = connect(url, {}, { transports: TRANSPORTS });
      await next(snorky.connected);
      expect(snorky.transport).toBe("polling");
      await drop(server, snorky);
      await next(snorky.connected);
      expect(snorky.transport).toBe("polling");
    });

    test("begins anew when none works", async () => {
      const own = new TestServer(program);
      await own.start();
      const snorky = connect(own.url, {}, { transports: TRANSPORTS });
      await next(snorky.connected);
      await own.kill();
      await vi.waitFor(() => expect(snorky.nextAttempt).not.toBe(null));
      await own.start();
      await vi.waitFor(() => expect(snorky.isConnected).toBe(true), 5000);
      const control = controlOf(own);
      expect(await control.countConnections()).toBeGreaterThan(1);
    });

    test("works where there is no WebSocket at all", async () => {
      const snorky = new Snorky(undefined, server.url, {}, { transports: ["websocket", "sse"] });
      onTestFinished(() => snorky.disconnect());
      await next(snorky.connected);
      expect(snorky.transport).toBe("sse");
      expect(() => new Snorky(undefined, server.url)).toThrow(/Expected a socket class/);
    });

    test("may name another address", async () => {
      const cometAddress = server.url.replace("ws:", "http:").replace("/ws", "/comet?token=x");
      const snorky = connect("ws://127.0.0.1:1/none", {}, { transports: TRANSPORTS, cometAddress });
      await next(snorky.connected);
      expect(snorky.transport).toBe("sse");
    });
  });

  test.each(COMET)("a server that has started anew is found again, by %s", async (transport) => {
    const own = new TestServer(program);
    await own.start();
    const snorky = connect(own.url, { calculator: Calculator }, { transports: [transport] });
    await next(snorky.connected);
    const dropped = next(snorky.disconnected);
    await own.kill();
    await own.start();
    expect((await dropped)[0]).toMatchObject({ code: 1006 });
    await vi.waitFor(() => expect(snorky.isConnected).toBe(true), 5000);
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
  });
});
