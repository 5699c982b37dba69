/**
 * When to come back after a connection ended. Nothing here keeps time or state.
 */

import type { SnorkyOptions } from "./options.js";

/** Where the server has just restarted, thousands come back: nobody at once. In seconds. */
const SHORTEST_DELAY = 0.1;

/**
 * Seconds to wait before attempt number `attempt` (0 is the first after the drop).
 *
 * Full jitter: evenly spread below a bound that doubles from `minDelay` up to `maxDelay`, so
 * that clients that were dropped together do not return together.
 */
export function reconnectDelay(
  attempt: number,
  minDelay: number,
  maxDelay: number,
  random: () => number = Math.random,
): number {
  // Where both are 0, too: without a pause one page would keep the server busy.
  const bound = Math.min(maxDelay, minDelay * 2 ** attempt) || SHORTEST_DELAY;
  const shortest = Math.min(SHORTEST_DELAY, bound);
  return shortest + random() * (bound - shortest);
}

/** The same for a page that says so, in milliseconds. */
export function delayMsAfter(failures: number, options: Required<SnorkyOptions>): number {
  const { minReconnectDelay, maxReconnectDelay } = options;
  return reconnectDelay(failures, minReconnectDelay, maxReconnectDelay) * 1000;
}

/**
 * Whether a close code tells the client not to come back by itself.
 *
 * 3500-3999 (Snorky's) and 4500-4999 (the application's) do. 3000-3499 and 4000-4499 mean
 * "come back", as does everything below 3000, which belongs to the WebSocket protocol.
 */
export function isTerminal(code: number): boolean {
  return code >= 3500 && code < 5000 && code % 1000 >= 500;
}
