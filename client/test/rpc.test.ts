import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { Class, ConnectionError, RPCService, Service, Signal, Snorky } from "../src/index.js";
import { connect, next, TestServer } from "./server.js";

const server = new TestServer();
beforeAll(() => server.start());

class Calculator extends RPCService {
  sum(params: { number1: number; number2: number }) {
    return this.rpcCall<number>("sum", params);
  }
}

const connectCalculator = (options = {}) =>
  connect(server.url, { calculator: Calculator }, options).services.calculator;

describe("a call", () => {
  test("resolves with what the command returns", async () => {
    expect(await connectCalculator().sum({ number1: 1, number2: 2.5 })).toBe(3.5);
  });

  test("is rejected with the server's text", async () => {
    const error = await connectCalculator()
      .rpcCall("fail", { text: "no luck" })
      .catch((e) => e);
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(ConnectionError);
    expect(error.message).toBe("no luck");
  });

  test("may leave its params out", async () => {
    await expect(connectCalculator().rpcCall("sum")).rejects.toThrow("Invalid params");
    await expect(connectCalculator().rpcCall("nonsense")).rejects.toThrow("Unknown command");
  });

  test("is answered whatever the order of the answers", async () => {
    const calculator = connectCalculator();
    const sums = Array.from({ length: 50 }, (_, i) => calculator.sum({ number1: i, number2: i }));
    expect(await Promise.all(sums)).toEqual(sums.map((_, i) => 2 * i));
  });

  test("that cannot be encoded is rejected", async () => {
    const loop: any = {};
    loop.loop = loop;
    await expect(connectCalculator().rpcCall("sum", loop)).rejects.toThrow(TypeError);
  });

  test("sends its params as they are when it is made", async () => {
    const calculator = connectCalculator();
    const params = { number1: 1, number2: 2 };
    const sum = calculator.sum(params);
    params.number1 = 100;
    expect(await sum).toBe(3);
  });

  test("that gets no answer in time is rejected", async () => {
    const error = await connectCalculator({ callTimeout: 0.05 })
      .rpcCall("ponder")
      .catch((e) => e);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error.reason).toBe("timeout");
    expect(error.message).toBe('No answer to "ponder" of "calculator" within 0.05 s');
  });

  test("waits in the queue for as long as it takes: its time counts from when it is sent", async () => {
    const late = new TestServer();
    await late.start();
    await late.kill();
    const options = { callTimeout: 0.3, minReconnectDelay: 1000, maxReconnectDelay: 1000 };
    const snorky = connect(late.url, { calculator: Calculator }, options);
    const { calculator } = snorky.services;
    const sum = calculator.sum({ number1: 1, number2: 2 });
    const unanswered = calculator.rpcCall("ponder").catch((e) => e);
    await new Promise((resolve) => setTimeout(resolve, 400));
    await late.start();
    snorky.connect();
    expect(await sum).toBe(3);
    expect(await unanswered).toMatchObject({ reason: "timeout" });
  });
});

describe("notifications", () => {
  test("reach notificationReceived, and every message packetReceived", async () => {
    const { notebook } = connect(server.url, { notebook: RPCService }).services;
    const [packets, notifications]: any[][] = [[], []];
    notebook.packetReceived.add((message) => packets.push(message));
    notebook.notificationReceived.add((message) => notifications.push(message));
    await notebook.rpcCall("note", { text: "hi" });
    expect(notifications).toEqual([{ type: "noted", text: "hi" }]);
    expect(packets).toEqual([
      { type: "noted", text: "hi" },
      { type: "response", callId: 0, data: null },
    ]);
  });
});

describe("services of the page's own", () => {
  const make = (ServiceClass: any) => {
    const snorky = connect(server.url, { calculator: ServiceClass });
    return snorky.services.calculator as any;
  };

  test("may be ES5 classes", async () => {
    const Old: any = function (this: any, name: string, snorky: Snorky) {
      RPCService.call(this, name, snorky);
      this.ready = true;
    };
    Old.prototype = Object.create(RPCService.prototype);
    Old.prototype.constructor = Old;
    const service = make(Old);
    expect(service.ready).toBe(true);
    expect(await service.rpcCall("sum", { number1: 1, number2: 2 })).toBe(3);
  });

  test("may be made with Class and get methods for commands", async () => {
    const Sum: any = new (Class as any)(RPCService, {
      init(this: any) {
        this.initialized = this.notificationReceived && this.packetReceived && true;
      },
    });
    Sum.addRPCMethods(["sum", "fail"]);
    const service = make(Sum);
    expect(service.initialized).toBe(true);
    expect(await service.sum({ number1: 1, number2: 2 })).toBe(3);
    await expect(service.fail({ text: "x" })).rejects.toThrow("x");
    await expect(service.sum()).rejects.toThrow("Invalid params");
  });

  test("call the base's init in any way, to no harm", async () => {
    const One: any = new (Class as any)(RPCService, {
      init: () => (RPCService.prototype as any).init(),
    });
    const Other: any = new (Class as any)(RPCService, {
      init(this: any) {
        RPCService.prototype.init.call(this);
        Service.prototype.init.call(this);
      },
    });
    const [one, other] = [make(One), make(Other)];
    expect(one.notificationReceived).not.toBe(other.notificationReceived);
    expect(Object.hasOwn(RPCService.prototype, "notificationReceived")).toBe(false);
    expect(other.packetReceived.getNumListeners()).toBe(1);
    expect(await other.rpcCall("sum", { number1: 1, number2: 2 })).toBe(3);
  });

  test("never get a method twice, nor in the place of another", () => {
    const Sum: any = Class(RPCService, {});
    Sum.addRPCMethods(["sum"]);
    for (const name of ["sum", "rpcCall", "init"]) {
      expect(() => Sum.addRPCMethods([name])).toThrow(`Refusing to overwrite method "${name}"`);
    }
    expect("sum" in RPCService.prototype).toBe(false);
  });

  test("need name and snorky", () => {
    const message = "Bad arguments for service constructor";
    expect(() => new (Service as any)()).toThrow(message);
    expect(() => new (RPCService as any)("name")).toThrow(message);
  });

  test("need not derive from Service", async () => {
    class Own {
      packetReceived = new Signal();
      constructor(
        readonly name: string,
        readonly snorky: Snorky,
      ) {}
    }
    const service = make(Own);
    await next(service.snorky.connected);
    const received = next(service.packetReceived);
    const message = { command: "sum", params: {}, callId: 1 };
    service.snorky._send({ service: "calculator", message });
    const answer = { type: "error", callId: 1, message: "Invalid params" };
    expect(await received).toEqual([answer]);
    service.snorky.disconnect();
  });

  test("speak freely where they are plain", async () => {
    const Plain: any = Class(Service, {});
    const snorky = connect(server.url, { calculator: Plain });
    const answer = next(snorky.services.calculator.packetReceived);
    snorky.services.calculator.sendMessage({ command: "sum", params: {}, callId: "mine" });
    expect(await answer).toEqual([{ type: "error", callId: "mine", message: "Invalid params" }]);
  });
});

describe("what pages may replace", () => {
  afterEach(() => {
    Snorky.Promise = Promise;
    Snorky.Signal = Signal;
  });

  test("Snorky.Promise makes the promises of calls, and may return another thenable", async () => {
    const made: unknown[] = [];
    Snorky.Promise = function (executor: any) {
      const promise = new Promise(executor);
      const thenable = Object.create(null, { then: { value: promise.then.bind(promise) } });
      made.push(thenable);
      return thenable;
    } as any;
    const sum = connectCalculator().sum({ number1: 1, number2: 2 });
    expect(made).toEqual([sum]);
    expect(await sum).toBe(3);
  });

  test("Snorky.Signal makes every signal", async () => {
    class Counted extends Signal {}
    Snorky.Signal = Counted as any;
    const { calculator } = connect(server.url, { calculator: RPCService }).services;
    for (const signal of [
      calculator.snorky.connected,
      calculator.snorky.disconnected,
      calculator.packetReceived,
      calculator.notificationReceived,
    ]) {
      expect(signal).toBeInstanceOf(Counted);
    }
    expect(await calculator.rpcCall("sum", { number1: 1, number2: 2 })).toBe(3);
  });
});
