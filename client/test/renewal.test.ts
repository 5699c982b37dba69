/** When a token is replaced. Time is the test's own. */

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { defaultOptions } from "../src/options.js";
import { createRenewal, secondsLeft } from "../src/token.js";

let given: string[];
let sent: string[];
let log: string[];
let give: () => string | Promise<string>;
let renewal: ReturnType<typeof createRenewal>;

const send = (token: string) => sent.push(token);
const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);
const answer = (data: unknown) => renewal._answered({ type: "response", callId: "renewal", data });

function tokenWith(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`;
}

function tokenFor(seconds: number): string {
  return tokenWith({ exp: Date.now() / 1000 + seconds, n: given.length });
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
  vi.spyOn(Math, "random").mockReturnValue(0);
  [given, sent, log] = [[], [], []];
  give = () => {
    given.push(tokenFor(100));
    return given.at(-1)!;
  };
  renewal = createRenewal({
    options: { ...defaultOptions, token: () => give(), minReconnectDelay: 1 },
    logDebug: (text) => log.push(text),
  });
});

afterEach(() => {
  renewal._stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("a JSON Web Token says how long it lasts", () => {
  expect(secondsLeft(tokenWith({ exp: 1_800_000_060 }))).toBe(60);
  expect(secondsLeft(tokenWith({ exp: 1_799_999_940, name: "Zoë 😀" }))).toBe(-60);
});

test.each([
  "opaque",
  "a.b.c",
  "..",
  tokenWith(null),
  tokenWith({}),
  tokenWith({ exp: "1800000060" }),
  tokenWith([1]),
])("other texts say nothing: %s", (token) => {
  expect(secondsLeft(token)).toBeUndefined();
  renewal._start(token, send);
  expect(vi.getTimerCount()).toBe(0);
});

test("it is replaced when half of its time is over, then by what the server says", async () => {
  renewal._start(tokenFor(100), send);
  await pass(49);
  expect(given).toEqual([]);
  await pass(1);
  expect(sent).toEqual(given);
  answer({ expiresIn: 400 });
  await pass(199);
  expect(sent).toHaveLength(1);
  await pass(1);
  expect(sent).toHaveLength(2);
});

test("not all pages ask at the same time", async () => {
  vi.mocked(Math.random).mockReturnValue(0.999);
  renewal._start(tokenFor(100), send);
  await pass(69);
  expect(given).toEqual([]);
  await pass(1);
  expect(sent).toHaveLength(1);
});

test("one that lasts for years sets no timer that browsers take for none", async () => {
  renewal._start(tokenFor(10 * 365 * 86_400), send);
  await pass(20 * 86_400);
  expect(given).toEqual([]);
});

test("a clock that is wrong is set right by the server's answer", async () => {
  renewal._start(tokenFor(-1000), send);
  give = () => {
    given.push(tokenFor(-900));
    return given.at(-1)!;
  };
  await pass(1);
  answer({ expiresIn: 130 });
  await pass(60);
  expect(given).toHaveLength(1);
});

test("an answer that does not say until when is the last of it", async () => {
  renewal._start(tokenFor(100), send);
  await pass(50);
  answer(null);
  await pass(10_000);
  expect(sent).toHaveLength(1);
});

test.each([
  ["that fails", () => Promise.reject(new Error("not now")), "no token: not now"],
  ["that gives the old one", () => tokenWith({ exp: 1_800_000_100 }), "gave the old one again"],
])("a page %s is asked again, ever more rarely", async (_name, gives, why) => {
  const working = give;
  let asked = 0;
  give = () => {
    asked++;
    return gives();
  };
  vi.mocked(Math.random).mockReturnValue(1);
  renewal._start(tokenWith({ exp: 1_800_000_100 }), send);
  await pass(70 + 1 + 2 + 4);
  expect(asked).toBe(4);
  expect(log).toHaveLength(4);
  expect(log[0]).toMatch(why);
  expect(sent).toEqual([]);
  give = working;
  await pass(8);
  expect(sent).toHaveLength(1);
});

test("what the server refuses is followed by another one", async () => {
  renewal._start(tokenFor(100), send);
  await pass(50);
  renewal._answered({ type: "error", callId: "renewal", message: "Not your token" });
  expect(log).toEqual(["The token was not renewed: Not your token"]);
  await pass(1);
  expect(sent).toHaveLength(2);
});

test("a server that does not answer is not asked again, on no connection", async () => {
  renewal._start(tokenFor(100), send);
  await pass(50 + 90);
  renewal._stop();
  renewal._start(tokenFor(100), send);
  await pass(1000);
  expect(sent).toHaveLength(1);
});

test("a server that has answered before is", async () => {
  renewal._start(tokenFor(100), send);
  await pass(50);
  answer({ expiresIn: 100 });
  await pass(50 + 90 + 1);
  expect(log).toEqual(["The token was not renewed: no answer"]);
  expect(sent).toHaveLength(3);
});

test("a connection that ends takes its token with it", async () => {
  let late!: (token: string) => void;
  give = () => new Promise((resolve) => (late = resolve));
  renewal._start(tokenFor(100), send);
  await pass(50);
  renewal._stop();
  late("late");
  answer({ expiresIn: 10 });
  expect(vi.getTimerCount()).toBe(0);
  await pass(1000);
  expect(sent).toEqual([]);
});
