import { createRequire } from "node:module";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { Class } from "../src/class.js";
import { Signal } from "../src/signal.js";

const jsSignals = createRequire(import.meta.url)("signals");

// The promise is js-signals' interface: js-signals itself must pass.
describe.each([
  ["our own", Signal],
  ["js-signals 1.0", jsSignals.Signal as typeof Signal],
])("a signal (%s)", (_name, SignalClass) => {
  let signal: Signal;
  let heard: unknown[];
  const hear =
    (name: string) =>
    (...args: unknown[]) => {
      heard.push([name, ...args]);
    };

  beforeEach(() => {
    signal = new SignalClass();
    heard = [];
  });

  test("calls its listeners in the order of adding, with all arguments", () => {
    signal.add(hear("a"));
    signal.add(hear("b"));
    signal.dispatch(1, 2);
    expect(heard).toEqual([
      ["a", 1, 2],
      ["b", 1, 2],
    ]);
  });

  test("calls listeners of higher priority first", () => {
    signal.add(hear("low"), null, -1);
    signal.add(hear("first"));
    signal.add(hear("second"));
    signal.add(hear("high"), null, 5);
    signal.dispatch();
    expect(heard).toEqual([["high"], ["first"], ["second"], ["low"]]);
  });

  test("calls a listener on its context", () => {
    const context = {};
    let seen: unknown;
    signal.add(function (this: unknown) {
      seen = this;
    }, context);
    signal.dispatch();
    expect(seen).toBe(context);
  });

  test("adds the same listener and context once", () => {
    const listener = hear("a");
    const context = {};
    const binding = signal.add(listener, context);
    expect(signal.add(listener, context)).toBe(binding);
    expect(signal.getNumListeners()).toBe(1);
    signal.add(listener, {});
    expect(signal.getNumListeners()).toBe(2);
  });

  test("calls those added with addOnce once", () => {
    const binding = signal.addOnce(hear("once"));
    expect(binding.isOnce()).toBe(true);
    signal.dispatch(1);
    signal.dispatch(2);
    expect(heard).toEqual([["once", 1]]);
    expect(binding.isBound()).toBe(false);
  });

  test("refuses to mix add and addOnce for one listener", () => {
    const listener = hear("a");
    signal.add(listener);
    expect(() => signal.addOnce(listener)).toThrow(/remov/);
  });

  test("refuses listeners that are no functions", () => {
    expect(() => signal.add(undefined as any)).toThrow(/listener/);
    expect(() => signal.addOnce({} as any)).toThrow(/listener/);
    expect(() => signal.remove(null as any)).toThrow(/listener/);
  });

  test("removes a listener with its context only", () => {
    const listener = hear("a");
    const context = {};
    signal.add(listener, context);
    signal.remove(listener);
    expect(signal.has(listener, context)).toBe(true);
    expect(signal.remove(listener, context)).toBe(listener);
    expect(signal.has(listener, context)).toBe(false);
  });

  test("removes all listeners", () => {
    signal.add(hear("a"));
    signal.add(hear("b"));
    signal.removeAll();
    signal.dispatch();
    expect(signal.getNumListeners()).toBe(0);
    expect(heard).toEqual([]);
  });

  test("stops at a listener that returns false", () => {
    signal.add(() => false);
    signal.add(hear("never"));
    signal.dispatch();
    expect(heard).toEqual([]);
  });

  test("stops at a listener that halts it, that time only", () => {
    const halting = vi.fn(() => signal.halt());
    signal.add(halting);
    signal.add(hear("after"));
    signal.dispatch(1);
    signal.remove(halting);
    signal.dispatch(2);
    expect(heard).toEqual([["after", 2]]);
  });

  test("does nothing while it is not active", () => {
    signal.add(hear("a"));
    signal.active = false;
    signal.dispatch(1);
    signal.active = true;
    signal.dispatch(2);
    expect(heard).toEqual([["a", 2]]);
  });

  test("tells late listeners what was last, if it memorizes", () => {
    signal.memorize = true;
    signal.dispatch(1);
    signal.dispatch(2);
    signal.add(hear("late"));
    signal.addOnce(hear("once"));
    signal.dispatch(3);
    expect(heard).toEqual([
      ["late", 2],
      ["once", 2],
      ["late", 3],
    ]);
    signal.forget();
    signal.add(hear("later"));
    expect(heard).toHaveLength(3);
  });

  test("survives changes of its listeners while it calls them", () => {
    const late = hear("late");
    const b = hear("b");
    signal.add(() => {
      signal.remove(b);
      signal.add(late);
    });
    signal.add(b);
    signal.dispatch();
    expect(heard).toEqual([]);
    signal.dispatch();
    expect(heard).toEqual([["late"]]);
  });

  test("may be a listener itself: dispatch is bound", () => {
    const second = new SignalClass();
    second.add(hear("second"));
    signal.add(second.dispatch);
    signal.dispatch("x");
    expect(heard).toEqual([["second", "x"]]);
  });

  test("has no listeners left once disposed of", () => {
    const binding = signal.add(hear("a"));
    signal.dispose();
    expect(binding.isBound()).toBe(false);
  });

  test("has bindings that detach, pause and carry arguments", () => {
    const listener = hear("a");
    const binding = signal.add(listener);
    expect(binding.getListener()).toBe(listener);
    expect(binding.getSignal()).toBe(signal);
    binding.params = ["first"];
    signal.dispatch("second");
    binding.active = false;
    signal.dispatch("unheard");
    expect(heard).toEqual([["a", "first", "second"]]);
    expect(binding.detach()).toBe(listener);
    expect(binding.isBound()).toBe(false);
    expect(binding.detach()).toBeNull();
  });

  test("may be derived from in the ES5 way", () => {
    const Loud: any = Class(SignalClass, {
      constructor: function (this: any) {
        SignalClass.apply(this, arguments as any);
        this.volume = 11;
      },
    });
    const [one, other] = [new Loud(), new Loud()];
    one.add(hear("one"));
    other.dispatch();
    one.dispatch();
    expect(heard).toEqual([["one"]]);
    expect(one).toBeInstanceOf(SignalClass);
  });

  test("memorizes where a subclass says so on its prototype", () => {
    const Memory: any = Class(SignalClass, { memorize: true });
    const memory = new Memory();
    memory.dispatch(7);
    memory.add(hear("late"));
    expect(heard).toEqual([["late", 7]]);
  });
});

describe("our own signal", () => {
  test("calls an overridden dispatch also where it is passed on", () => {
    const calls: unknown[] = [];
    class Counting extends Signal {
      override dispatch(...args: unknown[]) {
        calls.push(args);
      }
    }
    const { dispatch } = new Counting();
    dispatch(1);
    expect(calls).toEqual([[1]]);
  });

  test("lets a listener that was added once add itself again", () => {
    const signal = new Signal();
    let count = 0;
    const again = () => {
      if (++count < 3) signal.addOnce(again);
    };
    signal.addOnce(again);
    for (let i = 0; i < 5; i++) signal.dispatch();
    expect(count).toBe(3);
  });
});
