import { beforeAll, describe, expect, test, vi } from "vitest";
import { ConnectionError, Snorky, type Transport } from "../src/index.js";
import { connect, controlOf, drop, next, service, TestServer } from "./server.js";
import { expectConsoleErrors } from "./setup.js";

const server = new TestServer();
beforeAll(() => server.start());

const Calculator = service("sum", "fail", "ponder");
const Notebook = service("note", "read");

const never = 1000;

describe("a connection", () => {
  test("is made at once", async () => {
    const snorky = connect(server.url, {});
    expect([snorky.isConnecting, snorky.isConnected]).toEqual([true, false]);
    await next(snorky.connected);
    expect([snorky.isConnecting, snorky.isConnected]).toEqual([false, true]);
  });

  test("has what it was made with", async () => {
    class Own extends WebSocket {}
    const snorky = new Snorky(Own as any, server.url, { calculator: Calculator }, { debug: false });
    expect([snorky.socketClass, snorky.address, snorky.debug]).toEqual([Own, server.url, false]);
    const { calculator } = snorky.services;
    expect(Object.keys(snorky.services)).toEqual(["calculator"]);
    expect([calculator.name, calculator.snorky]).toEqual(["calculator", snorky]);
    expect(await calculator.sum({ number1: 1, number2: 2 })).toBe(3);
    snorky.disconnect();
  });

  test("calls the older callback properties beside its signals", async () => {
    const snorky = connect(server.url, {});
    const log: string[] = [];
    snorky.onConnected = () => log.push("onConnected");
    snorky.onDisconnected = ({ code }) => log.push(`onDisconnected ${code}`);
    await next(snorky.connected);
    snorky.disconnect();
    await next(snorky.disconnected);
    expect(log).toEqual(["onConnected", "onDisconnected 1000"]);
  });

  test("is made once, however often one asks", async () => {
    const control = controlOf(server);
    const before = await control.countConnections();
    const snorky = connect(server.url, {});
    snorky.connect();
    await next(snorky.connected);
    snorky.connect();
    expect(await control.countConnections()).toBe(before + 1);
  });

  test("sends what was queued, in order, after what `connected` sends", async () => {
    const snorky = connect(server.url, { notebook: Notebook });
    const { notebook } = snorky.services;
    const queued = ["one", "two", "three"].map((text) => notebook.note({ text }));
    snorky.connected.add(() => {
      notebook.note({ text: "hello" });
    });
    await Promise.all(queued);
    expect((await notebook.read()).slice(-4)).toEqual(["hello", "one", "two", "three"]);
  });

  test("refuses an address that is none, there and then", () => {
    expect(() => connect("nowhere", {})).toThrow();
    expect(() => connect(server.url, { pubsub: undefined as any })).toThrow(
      'Service "pubsub": expected a class, got undefined',
    );
  });

  test("survives errors of the page's listeners", async () => {
    const snorky = connect(server.url, { calculator: Calculator });
    snorky.connected.add(() => {
      throw new Error("the page's own fault");
    });
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
    expectConsoleErrors(/the page's own fault/);
  });
});

describe("disconnect()", () => {
  test("takes effect at once and is not followed by a reconnect", async () => {
    const control = controlOf(server);
    const snorky = connect(server.url, {});
    await next(snorky.connected);
    const before = await control.countConnections();
    snorky.disconnect();
    expect(snorky.isConnected).toBe(false);
    const [disconnection] = await next(snorky.disconnected);
    expect(disconnection).toEqual({ code: 1000, reason: "", nextAttempt: null });
    // By the time another client has come, ours would be back too.
    await next(connect(server.url, {}).connected);
    expect(await control.countConnections()).toBe(before + 1);
  });

  test("does nothing while there is no connection", async () => {
    const snorky = connect(server.url, {});
    snorky.disconnect();
    await next(snorky.disconnected);
    const disconnected = vi.fn();
    snorky.disconnected.add(disconnected);
    snorky.disconnect();
    await next(connect(server.url, {}).connected);
    expect(disconnected).not.toHaveBeenCalled();
  });

  test("may be followed by connect()", async () => {
    const snorky = connect(server.url, { calculator: Calculator });
    await next(snorky.connected);
    const log: string[] = [];
    snorky.disconnected.add(() => {
      log.push("disconnected");
    });
    snorky.connected.add(() => {
      log.push("connected");
    });
    snorky.disconnect();
    snorky.connect();
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
    expect(log).toEqual(["disconnected", "connected"]);
  });

  test("holds also for pages that connect again from `disconnected`", async () => {
    const snorky = connect(server.url, {}, { reconnect: false });
    await next(snorky.connected);
    snorky.disconnected.add(() => snorky.connect());
    snorky.onDisconnected = () => snorky.connect();
    snorky.disconnect();
    await next(snorky.disconnected);
    expect([snorky.isConnecting, snorky.isConnected]).toEqual([false, false]);
    snorky.connect(); // a button
    await next(snorky.connected);
  });

  test("ends also the attempts to come back", async () => {
    const down = new TestServer();
    await down.start();
    await down.kill();
    const snorky = connect(down.url, {}, { minReconnectDelay: never, maxReconnectDelay: never });
    await next(snorky.disconnected);
    expect(snorky.nextAttempt).not.toBeNull();
    snorky.disconnect();
    expect(snorky.nextAttempt).toBeNull();
  });
});

describe("a dropped connection", () => {
  test("comes back by itself", async () => {
    const snorky = connect(server.url, { calculator: Calculator });
    await next(snorky.connected);
    const disconnection = await drop(server, snorky, { code: 3000, reason: "too slow" });
    expect(disconnection).toMatchObject({ code: 3000, reason: "too slow" });
    expect(snorky.nextAttempt).toBe(disconnection.nextAttempt);
    expect(snorky.isConnected).toBe(false);
    await next(snorky.connected);
    expect(snorky.nextAttempt).toBeNull();
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
  });

  test("rejects the calls that were open", async () => {
    const snorky = connect(server.url, { calculator: Calculator });
    const { calculator } = snorky.services;
    await next(snorky.connected);
    const open = calculator.ponder();
    await calculator.sum({ number1: 1, number2: 2 });
    drop(server, snorky);
    const error = await open.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ reason: "disconnected" });
    expect(String(error)).toMatch("connection was lost (3000)");
  });

  test("comes back when the server does, and then carries out what was asked meanwhile", async () => {
    const mortal = new TestServer();
    await mortal.start();
    const snorky = connect(mortal.url, { calculator: Calculator });
    await next(snorky.connected);
    const dropped = next(snorky.disconnected);
    await mortal.kill();
    expect((await dropped)[0].code).toBe(1006);
    const sum = snorky.services.calculator.sum({ number1: 2, number2: 3 });
    await next(snorky.disconnected); // an attempt failed: the call still waits
    await mortal.start();
    expect(await sum).toBe(5);
  });

  test("stays away where the option says so, until the page connects", async () => {
    const snorky = connect(server.url, {}, { reconnect: false });
    await next(snorky.connected);
    const disconnection = await drop(server, snorky);
    expect(disconnection.nextAttempt).toBeNull();
    snorky.connect();
    await next(snorky.connected);
  });

  test.each([3500, 4999])("stays away where the close code says so (%i)", async (code) => {
    const snorky = connect(server.url, {});
    await next(snorky.connected);
    // As pages do that were written before the client reconnected by itself.
    snorky.disconnected.add(() => snorky.connect());
    const disconnection = await drop(server, snorky, { code, reason: "go away" });
    expect(disconnection).toEqual({ code, reason: "go away", nextAttempt: null });
    expect(snorky.isConnecting).toBe(false);
    expectConsoleErrors(/closed the connection for good/);
    snorky.connect();
    await next(snorky.connected);
  });

  test("waits its time also for pages that connect again from `disconnected`", async () => {
    const snorky = connect(server.url, {}, { minReconnectDelay: never, maxReconnectDelay: never });
    await next(snorky.connected);
    snorky.disconnected.add(() => snorky.connect());
    await drop(server, snorky);
    expect(snorky.isConnecting).toBe(false);
    expect(snorky.nextAttempt).toBeGreaterThan(Date.now());
    snorky.connect(); // a button: now
    await next(snorky.connected);
  });

  test("connects from `disconnected` where it does not come back by itself", async () => {
    const snorky = connect(server.url, {}, { reconnect: false });
    await next(snorky.connected);
    snorky.disconnected.addOnce(() => snorky.connect());
    drop(server, snorky);
    await next(snorky.connected);
  });
});

describe("waking up", () => {
  /** What a browser's window and document tell, and how many listen to it. */
  class Page extends EventTarget {
    hidden = true;
    listening = 0;

    override addEventListener(type: string, listener: () => void) {
      this.listening++;
      super.addEventListener(type, listener);
    }

    override removeEventListener(type: string, listener: () => void) {
      this.listening--;
      super.removeEventListener(type, listener);
    }
  }

  async function inPage(story: (page: Page) => Promise<void>) {
    const page = new Page();
    vi.stubGlobal("document", page);
    for (const method of ["addEventListener", "removeEventListener"] as const) {
      vi.stubGlobal(method, page[method].bind(page));
    }
    try {
      await story(page);
    } finally {
      vi.unstubAllGlobals();
    }
  }

  const patient = { minReconnectDelay: never, maxReconnectDelay: never };

  test.each([
    ["the network returns", "online", "hidden"],
    ["the page becomes visible", "visibilitychange", "visible"],
  ])("ends the wait when %s", (_name, event, visibility) =>
    inPage(async (page) => {
      const snorky = connect(server.url, {}, patient);
      await next(snorky.connected);
      await drop(server, snorky);
      page.dispatchEvent(new Event("visibilitychange"));
      expect(snorky.isConnecting).toBe(false);
      page.hidden = visibility === "hidden";
      page.dispatchEvent(new Event(event));
      await next(snorky.connected);
    }),
  );

  test("does not bring back who was told to go", () =>
    inPage(async (page) => {
      const snorky = connect(server.url, {}, patient);
      await next(snorky.connected);
      snorky.disconnect();
      await next(snorky.disconnected);
      page.dispatchEvent(new Event("online"));
      expect(snorky.isConnecting).toBe(false);
      expect(page.listening).toBe(0);
    }));

  test("finds out whether the connection is still alive", () =>
    inPage(async (page) => {
      const sleepy = new TestServer();
      await sleepy.start();
      const snorky = connect(sleepy.url, {}, { heartbeatInterval: 0.2 });
      await next(snorky.connected);
      sleepy.freeze();
      page.dispatchEvent(new Event("online"));
      expect((await next(snorky.disconnected))[0].reason).toBe("no answer to heartbeats");
    }));
});

describe("heartbeats", () => {
  test("keep a quiet connection, and notice a dead one", async () => {
    const sleepy = new TestServer();
    await sleepy.start();
    const options = { heartbeatInterval: 0.1, connectTimeout: 0.5 };
    const snorky = connect(sleepy.url, { calculator: Calculator }, options);
    const disconnected = vi.fn();
    snorky.disconnected.add(disconnected);
    await next(snorky.connected);
    const beats = vi.spyOn((snorky as any).socket, "send");
    await vi.waitFor(() => expect(beats.mock.calls.length).toBeGreaterThan(4), 5000);
    expect(beats.mock.calls.every(([text]) => text === "")).toBe(true);
    expect(disconnected).not.toHaveBeenCalled();

    sleepy.freeze();
    expect((await next(snorky.disconnected))[0].reason).toBe("no answer to heartbeats");
    // A frozen server still takes TCP connections: attempts must end by themselves.
    expect((await next(snorky.disconnected))[0].reason).toBe("no connection within 0.5 s");
    sleepy.thaw();
    expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
  });

  test("may be switched off", async () => {
    const snorky = connect(server.url, {}, { heartbeatInterval: 0 });
    await next(snorky.connected);
    expect((snorky as any).socket.protocol).toBe("");
  });
});

describe("the queue", () => {
  const downUrl = "ws://127.0.0.1:1/ws"; // nobody listens there

  test("takes so many messages, and rejects the call past that", async () => {
    const options = { maxQueuedMessages: 2, callTimeout: 0 };
    const { calculator } = connect(downUrl, { calculator: Calculator }, options).services;
    calculator.sum({ number1: 1, number2: 1 });
    calculator.sum({ number1: 1, number2: 2 });
    const error = await calculator.sum({ number1: 1, number2: 3 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ reason: "overflow" });
    expect(String(error)).toMatch("2 messages (at most 2)");
  });

  test("takes so many bytes, and rejects the call past that", async () => {
    const options = { maxQueuedBytes: 100 };
    const { calculator } = connect(downUrl, { calculator: Calculator }, options).services;
    await expect(calculator.fail({ text: "x".repeat(100) })).rejects.toThrow("at most 100");
  });

  test("tells plain services by throwing", () => {
    const snorky = connect(downUrl, { calculator: Calculator }, { maxQueuedMessages: 0 });
    expect(() => snorky.services.calculator.sendMessage("hi")).toThrow(ConnectionError);
  });

  test("rejects what cannot be sent to a server that does not read", async () => {
    const deaf = new TestServer();
    await deaf.start();
    const options = { maxQueuedBytes: 100_000, heartbeatInterval: 0 };
    const snorky = connect(deaf.url, { calculator: Calculator }, options);
    await next(snorky.connected);
    deaf.freeze();
    const text = "x".repeat(60_000);
    let error: unknown;
    // The operating system takes some megabytes before anything piles up here.
    for (let i = 0; i < 1000 && !error; i++) {
      snorky.services.calculator.fail({ text }).catch((e: unknown) => {
        error ??= e;
      });
      await new Promise(setImmediate);
    }
    expect(error).toMatchObject({ reason: "overflow" });
  });
});

test("debug logs what happens to the console", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  try {
    const snorky = connect(server.url, { calculator: Calculator }, { debug: true });
    await snorky.services.calculator.sum({ number1: 1, number2: 2 });
    const lines = log.mock.calls.map((args) => args.join(" "));
    expect(lines).toContainEqual("Snorky: Connected");
    expect(lines.some((line) => line.startsWith('Snorky: Sent {"service":"calculator"'))).toBe(
      true,
    );
    expect(lines.some((line) => line.startsWith("Snorky: Received {"))).toBe(true);
    snorky.debug = false;
    log.mockClear();
    await snorky.services.calculator.sum({ number1: 1, number2: 2 });
    expect(log).not.toHaveBeenCalled();
  } finally {
    log.mockRestore();
  }
});

test("a listener that disconnects at once leaves the queue as it is", async () => {
  const snorky = connect(server.url, { calculator: Calculator });
  const sum = snorky.services.calculator.sum({ number1: 1, number2: 2 });
  snorky.connected.addOnce(() => snorky.disconnect());
  await next(snorky.disconnected);
  snorky.connect();
  expect(await sum).toBe(3);
});

test("connections that never last are made ever more rarely, until one does", async () => {
  const snorky = connect(server.url, {}, { minReconnectDelay: 0.01, maxReconnectDelay: never });
  const bounds: number[] = [];
  const random = vi.spyOn(Math, "random").mockReturnValue(1);
  try {
    for (let i = 0; i < 5; i++) {
      await next(snorky.connected);
      const { nextAttempt } = await drop(server, snorky);
      bounds.push(nextAttempt! - Date.now());
    }
    await next(snorky.connected);
    const inAnHour = performance.now() + 3_600_000;
    const clock = vi.spyOn(performance, "now").mockReturnValue(inAnHour);
    const { nextAttempt } = await drop(server, snorky);
    clock.mockRestore();
    expect(nextAttempt! - Date.now()).toBeLessThanOrEqual(10);
  } finally {
    random.mockRestore();
  }
  expect(bounds.every((bound, i) => i === 0 || bound > bounds[i - 1] * 1.5)).toBe(true);
});

test("a transport that nobody has imported is refused at once", () => {
  for (const transports of [["websocket", "sse"], ["polling"]] as Transport[][]) {
    expect(() => connect(server.url, {}, { transports })).toThrow(
      `Transport "${transports.at(-1)}" needs: import "snorky/comet"`,
    );
  }
});

test("what is said to a socket that is closing waits for the next one", async () => {
  const snorky = connect(server.url, { calculator: Calculator });
  await next(snorky.connected);
  (snorky as any).socket.close();
  expect(snorky.isConnected).toBe(true);
  expect(await snorky.services.calculator.sum({ number1: 1, number2: 2 })).toBe(3);
});
