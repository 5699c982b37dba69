import { expect, test } from "vitest";
import { isTerminal, reconnectDelay } from "../src/backoff.js";

const bounds = (random: number) =>
  [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => reconnectDelay(attempt, 0.5, 20, () => random));

test("the delay's bound doubles from the shortest to the longest", () => {
  expect(bounds(1)).toEqual([0.5, 1, 2, 4, 8, 16, 20, 20]);
});

test("the delay is spread from next to nothing to its bound", () => {
  expect(bounds(0)).toEqual(Array(8).fill(0.1));
  expect(reconnectDelay(4, 0.5, 20, () => 0.5)).toBeCloseTo(4.05);
});

test("a bound below the shortest delay holds", () => {
  expect(reconnectDelay(0, 0.01, 20, () => 0)).toBe(0.01);
});

test("without a source of chance it takes the engine's", () => {
  const delays = Array.from({ length: 100 }, () => reconnectDelay(3, 0.5, 20));
  expect(new Set(delays).size).toBeGreaterThan(50);
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(0.1);
  expect(Math.max(...delays)).toBeLessThanOrEqual(4);
});

test("the close code says whether the client may come back", () => {
  const comesBack = [1000, 1001, 1006, 1009, 2999, 3000, 3001, 3499, 4000, 4499, 5000];
  const staysAway = [3500, 3999, 4500, 4999];
  expect(comesBack.filter(isTerminal)).toEqual([]);
  expect(staysAway.filter(isTerminal)).toEqual(staysAway);
});
