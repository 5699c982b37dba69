import { expect, test } from "vitest";
import { Outbox } from "../src/outbox.js";

test("messages leave in the order they came", () => {
  const outbox = new Outbox(10, 100);
  outbox.add("a");
  outbox.add("b");
  for (const text of ["a", "b", undefined]) {
    expect(outbox.first?.text).toBe(text);
    outbox.removeFirst();
  }
});

test("past its number of messages it takes none, and says so", () => {
  const outbox = new Outbox(2, 100);
  outbox.add("a");
  outbox.add("b");
  expect(() => outbox.add("c")).toThrow(/2 messages \(at most 2\)/);
  outbox.removeFirst();
  expect(outbox.add("c").text).toBe("c");
});

test("bytes are those of UTF-8", () => {
  const outbox = new Outbox(10, 6);
  outbox.add("äö");
  expect(() => outbox.add("€")).toThrow(/4 \+ 3 bytes \(at most 6\)/);
  outbox.add("ab");
});

test("a message that has gone makes room", () => {
  const outbox = new Outbox(10, 3);
  outbox.add("abc");
  outbox.removeFirst();
  outbox.removeFirst();
  expect(outbox.add("xyz").text).toBe("xyz");
  expect(() => outbox.add("z")).toThrow();
});
