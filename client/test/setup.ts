/** What every test runs in: a global WebSocket as in browsers, and no unnoticed console.error. */

import { afterEach, beforeEach, expect } from "vitest";
import { WebSocket } from "ws";
import { stretchWaits } from "./patience.js";

stretchWaits();

globalThis.WebSocket = WebSocket as unknown as typeof globalThis.WebSocket;

let errors: string[] = [];

/** Take what was written to console.error so far; it must match, or the test fails. */
export function expectConsoleErrors(...patterns: RegExp[]): void {
  const taken = errors;
  errors = [];
  expect(taken).toHaveLength(patterns.length);
  patterns.forEach((pattern, index) => {
    expect(taken[index]).toMatch(pattern);
  });
}

export function consoleErrorCount(): number {
  return errors.length;
}

beforeEach(() => {
  errors = [];
  console.error = (...args: unknown[]) => {
    errors.push(args.map(String).join(" "));
  };
});

afterEach(() => {
  expect(errors, "unexpected console.error").toEqual([]);
});
