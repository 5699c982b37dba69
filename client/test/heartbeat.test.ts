import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Heartbeat } from "../src/heartbeat.js";

let log: [seconds: number, event: string][];
let heartbeat: Heartbeat;
let answers: boolean;

const sleep = (seconds: number) => vi.advanceTimersByTime(seconds * 1000);

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  log = [];
  answers = true;
  const note = (event: string) => log.push([Date.now() / 1000, event]);
  heartbeat = new Heartbeat(
    25_000,
    (text) => {
      note(text ? "beat again" : "beat");
      if (answers) heartbeat.heard();
    },
    () => note("dead"),
  );
});

afterEach(() => {
  heartbeat.stop();
  vi.useRealTimers();
});

test("it beats once per interval of silence", () => {
  sleep(100);
  expect(log).toEqual([
    [25, "beat"],
    [50, "beat"],
    [75, "beat"],
    [100, "beat"],
  ]);
});

test("it says nothing while the server does", () => {
  for (let i = 0; i < 10; i++) {
    sleep(20);
    heartbeat.heard();
  }
  expect(log).toEqual([]);
  sleep(25);
  expect(log).toEqual([[225, "beat"]]);
});

test("after two unanswered beats the connection is dead, once", () => {
  answers = false;
  sleep(1000);
  expect(log).toEqual([
    [25, "beat"],
    [50, "beat again"],
    [75, "dead"],
  ]);
});

test("anything heard in time saves it", () => {
  answers = false;
  sleep(74);
  heartbeat.heard();
  answers = true;
  sleep(51);
  expect(log.map(([, event]) => event)).not.toContain("dead");
});

test("a page that slept asks before it judges", () => {
  // Timers do not run while the machine sleeps; the clock does.
  vi.setSystemTime(3_600_000);
  sleep(25);
  expect(log.map(([, event]) => event)).toEqual(["beat"]);
});

test("a probe is answered within five seconds, or the connection is dead", () => {
  heartbeat.probe();
  sleep(10);
  expect(log).toEqual([
    [0, "beat"],
    [0, "beat again"],
  ]);
  answers = false;
  heartbeat.probe();
  sleep(5);
  expect(log.slice(2)).toEqual([
    [10, "beat"],
    [10, "beat again"],
    [15, "dead"],
  ]);
});

test.each([-3_600_000, 3_600_000])("a clock that is set by %i ms is none of its business", (by) => {
  sleep(10);
  vi.setSystemTime(Date.now() + by);
  heartbeat.heard();
  vi.setSystemTime(Date.now() + by);
  log = [];
  sleep(24.9);
  expect(log).toEqual([]);
  sleep(0.1);
  expect(log).toHaveLength(1);
});

test("it ends when it is stopped", () => {
  heartbeat.stop();
  sleep(100);
  expect(log).toEqual([]);
});
