/**
 * How long a test waits before it fails: `SNORKY_TEST_PATIENCE=4` makes every deadline four times
 * as long, on a machine that is busy. What passes takes no longer for it.
 */

import { vi } from "vitest";

const PATIENCE = Number(process.env.SNORKY_TEST_PATIENCE ?? 1);

/** So many milliseconds on a quiet machine. */
export function patient(milliseconds: number): number {
  return milliseconds * PATIENCE;
}

type Options = number | { timeout?: number; interval?: number } | undefined;

function stretched(options: Options): Options {
  const { timeout = 1000, ...others } =
    typeof options === "number" ? { timeout: options } : (options ?? {});
  return { ...others, timeout: patient(timeout) };
}

/** Let `vi.waitFor` and `vi.waitUntil` be patient in every test. */
export function stretchWaits(): void {
  const { waitFor, waitUntil } = vi;
  vi.waitFor = (check, options) => waitFor(check, stretched(options));
  vi.waitUntil = (check, options) => waitUntil(check, stretched(options));
}
