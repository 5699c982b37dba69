import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { reconnectDelay } from "../src/backoff.js";
import { Timer } from "../src/timer.js";

const DAY_MS = 24 * 3600 * 1000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test("waits for months", () => {
  const done = vi.fn();
  new Timer().start(90 * DAY_MS, done);
  vi.advanceTimersByTime(90 * DAY_MS - 1);
  expect(done).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(done).toHaveBeenCalledOnce();
});

test("waits for ever", () => {
  const done = vi.fn();
  new Timer().start(Infinity, done);
  expect(vi.getTimerCount()).toBe(0);
});

test("is stopped, also after its first month", () => {
  const done = vi.fn();
  const timer = new Timer();
  timer.start(90 * DAY_MS, done);
  vi.advanceTimersByTime(60 * DAY_MS);
  timer.stop();
  vi.advanceTimersByTime(60 * DAY_MS);
  expect(done).not.toHaveBeenCalled();
});

test("what is asked for last takes the place of what was before", () => {
  const done: string[] = [];
  const timer = new Timer();
  timer.start(10, () => done.push("first"));
  timer.start(5, () => done.push("second"));
  vi.advanceTimersByTime(20);
  expect(done).toEqual(["second"]);
});

test.each([
  [0, 0],
  [0, 20],
  [0, Infinity],
  [5, 0],
])("delays from %d s to %d s leave the server in peace", (min, max) => {
  for (const attempt of [0, 1, 10, 2000]) {
    expect(reconnectDelay(attempt, min, max)).toBeGreaterThanOrEqual(0.1);
  }
});
