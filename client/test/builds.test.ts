/** The files as pages load them: ../snorky/static/. `npm run check` sees that they are current. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { TestServer } from "./server.js";

const server = new TestServer();
beforeAll(() => server.start());

const staticFile = (name: string) =>
  fileURLToPath(new URL(`../../snorky/static/${name}`, import.meta.url));
const signalsFile = createRequire(import.meta.url).resolve("signals");

/** A page that has loaded these scripts, one after the other. As in Jest's jsdom, no TextEncoder. */
function page(...files: string[]): vm.Context {
  const context = vm.createContext({
    console,
    setTimeout,
    clearTimeout,
    WebSocket,
    url: server.url,
  });
  for (const file of files) vm.runInContext(readFileSync(file, "utf8"), context, file);
  return context;
}

const run = (context: vm.Context, script: string) => vm.runInContext(script, context);

/** What a page of 2014 does. Gives a promise of the sum. */
const CLASSIC_PAGE = `
  var Calculator = new Snorky.Class(Snorky.RPCService, {
    init: function() {
      Snorky.RPCService.prototype.init();
      this.answers = new Snorky.Signal();
    },
    add: function(a, b) {
      var self = this;
      return this.sum({ number1: a, number2: b }).then(function(sum) {
        self.answers.dispatch(sum);
        return sum;
      });
    },
    STATIC: { precision: 2 }
  });
  Calculator.addRPCMethods(["sum"]);

  var heard = [];
  var snorky = new Snorky(WebSocket, url, { calculator: Calculator });
  snorky.services.calculator.answers.add(function(sum) { heard.push(sum); });
  snorky.services.calculator.add(1, 2).then(function(sum) {
    snorky.disconnect();
    return sum;
  });
`;

/** Derives as libraries for classes did before ES6: an empty constructor between, statics copied. */
const CLASS_LIBRARY = `
  var my = { Class: function(Base, body) {
    function Between() {}
    Between.prototype = Base.prototype;
    var Made = body.constructor;
    Made.prototype = new Between();
    Made.prototype.constructor = Made;
    Made.Super = Base;
    for (var name in Base) if (!(name in Made)) Made[name] = Base[name];
    for (var method in body) if (method !== "constructor") Made.prototype[method] = body[method];
    return Made;
  } };`;

const scripts = ["snorky.js", "snorky.min.js", "snorky.bundle.js", "snorky.bundle.min.js"];

describe.each(scripts)("%s", (name) => {
  const isBundle = name.includes("bundle");

  test("defines the global Snorky with everything on it", () => {
    const { Snorky } = page(staticFile(name)) as any;
    expect(Object.keys(Snorky).sort()).toEqual([
      "Chat",
      "Class",
      "ConnectionError",
      "Cursors",
      "DataSync",
      "Events",
      "Messaging",
      "Promise",
      "PubSub",
      "RPCService",
      "Service",
      "Signal",
    ]);
    expect(Object.keys(Snorky.DataSync).filter((key) => key !== "Super")).toEqual([
      "CollectionDeltaProcessor",
      "Collection",
      "Iterator",
      "ArrayCollection",
      "ArrayIterator",
      "SingleItemCollection",
      "SingleItemIterator",
    ]);
  });

  test("adds to the page what it says and nothing else", () => {
    const before = Object.keys(page());
    const added = Object.keys(page(staticFile(name))).filter((key) => !before.includes(key));
    expect(added.sort()).toEqual(isBundle ? ["Snorky", "my", "signals"] : ["Snorky"]);
  });

  test("serves a classic page", async () => {
    const context = page(staticFile(name));
    expect(await run(context, CLASSIC_PAGE)).toBe(3);
    expect([...context.heard]).toEqual([3]);
    expect(run(context, "Calculator.precision")).toBe(2);
  });

  test("listens with the signals of a page that has signals.js", async () => {
    const context = page(signalsFile, staticFile(name)) as any;
    expect(context.Snorky.Signal).toBe(context.signals.Signal);
    expect(await run(context, CLASSIC_PAGE)).toBe(3);
    expect(run(context, "snorky.connected instanceof signals.Signal")).toBe(true);
  });

  test("leaves the page's own my.Class in place", () => {
    const context = page() as any;
    const own = run(context, "var my = { Class: function() {} }; my.Class");
    run(context, readFileSync(staticFile(name), "utf8"));
    expect(context.my.Class).toBe(own);
    expect(context.Snorky.Class).not.toBe(own);
  });

  test("has constructors that are plain functions", () => {
    const context = page(staticFile(name));
    const results = run(
      context,
      `
      var fake = { options: {} };
      [
        "Service", "RPCService", "PubSub", "Messaging", "Chat", "Cursors", "DataSync", "Events"
      ].map(function(name) {
        var Base = Snorky[name];
        function Old(name, snorky) { Base.call(this, name, snorky); }
        Old.prototype = Object.create(Base.prototype);
        class New extends Base {}
        var Made = Snorky.Class(Base, {
          constructor: function(name, snorky) { Made.Super.call(this, name, snorky); }
        });
        return [Old, New, Made].every(function(Derived) {
          var service = new Derived("x", fake);
          return service instanceof Base && service.name === "x" &&
            service.packetReceived instanceof Snorky.Signal;
        });
      })`,
    );
    expect([...results]).toEqual(Array(8).fill(true));
  });

  test("serves a page that makes its classes with a library of its own", async () => {
    const context = page(signalsFile);
    run(context, CLASS_LIBRARY);
    run(context, readFileSync(staticFile(name), "utf8"));
    const made = run(
      context,
      `
      var Calculator = my.Class(Snorky.RPCService, {
        constructor: function(name, snorky) {
          Calculator.Super.call(this, name, snorky);
          this.made = true;
        }
      });
      Calculator.addRPCMethods(["sum"]);
      var snorky = new Snorky(WebSocket, url, { calculator: Calculator });
      snorky.services.calculator.sum({ number1: 1, number2: 2 }).then(function(sum) {
        snorky.disconnect();
        var calculator = snorky.services.calculator;
        return [sum, calculator.made, calculator instanceof Snorky.RPCService,
          snorky.connected instanceof signals.Signal];
      })`,
    );
    expect([...(await made)]).toEqual([3, true, true, true]);
    expect(run(context, '"sum" in Snorky.RPCService.prototype')).toBe(false);
  });
});

test.each(scripts.filter((name) => name.includes("bundle")))(
  "%s brings my.Class and signals.Signal",
  (name) => {
    const context = page(staticFile(name)) as any;
    expect(context.my.Class).toBe(context.Snorky.Class);
    expect(context.signals.Signal).toBe(context.Snorky.Signal);
  },
);

test("a page may replace Snorky.Signal and Snorky.Promise after loading", async () => {
  const context = page(staticFile("snorky.min.js"), signalsFile);
  run(
    context,
    `
    var promises = 0;
    Snorky.Signal = signals.Signal;
    Snorky.Promise = function(executor) { promises++; return new Promise(executor); };`,
  );
  expect(await run(context, CLASSIC_PAGE)).toBe(3);
  expect(context.promises).toBe(1);
  expect(run(context, "snorky.services.calculator.packetReceived instanceof signals.Signal")).toBe(
    true,
  );
});

test("snorky.mjs exports the same by name", async () => {
  const module = await import(/* @vite-ignore */ staticFile("snorky.mjs"));
  expect(Object.keys(module).sort()).toEqual([
    "ArrayCollection",
    "ArrayIterator",
    "Chat",
    "Class",
    "Collection",
    "CollectionDeltaProcessor",
    "ConnectionError",
    "Cursor",
    "Cursors",
    "DataSync",
    "Document",
    "Events",
    "Field",
    "ForeignCursor",
    "Iterator",
    "Messaging",
    "OwnCursor",
    "PubSub",
    "RPCService",
    "ResponseError",
    "Service",
    "Signal",
    "SingleItemCollection",
    "SingleItemIterator",
    "Snorky",
    "and",
    "field",
    "fields",
    "not",
    "or",
  ]);
});
