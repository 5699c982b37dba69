import { expect, test } from "vitest";
import { comparer, keyOf } from "../../../src/datasync/live/order.js";

const sorted = (order: any, values: unknown[]) => {
  const rows = values.map((value, id) => ({ id, value }));
  return rows.sort(comparer(order, ["id"])!).map((row) => row.value);
};

test("numbers, instants and texts as databases order them, missing ones greatest", () => {
  expect(sorted("value", [10, 9, -1, 1.5, null, undefined])).toEqual([
    -1,
    1.5,
    9,
    10,
    null,
    undefined,
  ]);
  expect(sorted("-value", [1, null, 2])).toEqual([null, 2, 1]);
  const instants = [
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:00Z",
    "2026-01-01T02:00:00.000001+02:00",
    "2025-12-31T23:59:59.999999Z",
    "2026-01-01T00:00:00.500001Z",
  ];
  expect(sorted("value", instants)).toEqual([3, 1, 2, 0, 4].map((index) => instants[index]));
  // By code point, not by the halves of surrogate pairs.
  expect(sorted("value", ["\u{1F600}", "\uFF01", "b", "a", "ab", "B"])).toEqual([
    "B",
    "a",
    "ab",
    "b",
    "\uFF01",
    "\u{1F600}",
  ]);
});

test("an instant written twice is one, and ties go by the key", () => {
  const compare = comparer<any>(["-at", "name"], ["id"])!;
  const rows = [
    { id: 3, at: "2026-01-01T00:00:00.50Z", name: "a" },
    { id: 1, at: "2026-01-01T00:00:00.5Z", name: "a" },
    { id: 2, at: "2026-01-01T01:00:00Z", name: "z" },
  ];
  expect(rows.sort(compare).map((row) => row.id)).toEqual([2, 1, 3]);
  expect(comparer<any>("-id", ["id"])!({ id: 1 }, { id: 2 })).toBeGreaterThan(0);
});

test("a function of the page's own is taken as it is, and without an order there is none", () => {
  const own = () => 0;
  expect(comparer(own, ["id"])).toBe(own);
  expect(comparer(undefined, ["id"])).toBeUndefined();
});

test("keys are told apart by their JSON", () => {
  expect(keyOf({ id: 1 }, ["id"])).not.toBe(keyOf({ id: "1" }, ["id"]));
  expect(keyOf({ id: 0 }, ["id"])).toBe("0");
  expect(keyOf({ id: null }, ["id"])).toBeUndefined();
  expect(keyOf({ a: 1 }, ["a", "b"])).toBeUndefined();
});
