/** Durations: measured by a clock that nobody sets, and waited for however long they are. */

/** What `setTimeout` knows at most: 24 days. It calls at once where more is asked of it. */
const LONGEST_MS = 2 ** 31 - 1;

/** Milliseconds since some moment. */
export function now(): number {
  return (globalThis.performance ?? Date).now();
}

export class Timer {
  private _handle: ReturnType<typeof setTimeout> | undefined;

  /** Call `done` after so long, and not what was asked for before. Infinity: never. */
  start(delayMs: number, done: () => void): void {
    this.stop();
    if (delayMs <= LONGEST_MS) {
      this._handle = setTimeout(done, delayMs);
    } else if (delayMs < Infinity) {
      this._handle = setTimeout(() => this.start(delayMs - LONGEST_MS, done), LONGEST_MS);
    }
  }

  /** The same for a limit in seconds that the page has set. 0: never. */
  limit(seconds: number, done: () => void): void {
    this.start((seconds || Infinity) * 1000, done);
  }

  stop(): void {
    clearTimeout(this._handle);
  }
}
