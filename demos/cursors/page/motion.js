// Few messages, smooth movement: both ends of it. Knows nothing of Snorky.

/** Calls `send` at once, and at most once per interval, for as long as it is asked to. */
export function throttled(send, intervalMs) {
  let waiting = false; // for the interval to end
  let isDue = false;
  const next = () => {
    waiting = isDue;
    if (!isDue) return;
    isDue = false;
    setTimeout(next, intervalMs);
    send();
  };
  return () => {
    isDue = true;
    if (!waiting) next();
  };
}

/** A place that follows another one, which is known from time to time. */
export class Glide {
  /** Longer pauses than this are pauses of the hand, not of the network. */
  static LONGEST_MS = 120;

  constructor([x, y], now) {
    this.from = this.to = [x, y];
    this.start = now;
    this.durationMs = 0;
  }

  /** From where it is seen now to `place`, in the time that it took to hear of it. */
  moveTo(place, now) {
    this.from = this.at(now);
    this.to = place;
    this.durationMs = Math.min(now - this.start, Glide.LONGEST_MS);
    this.start = now;
  }

  at(now) {
    const part = this.hasArrived(now) ? 1 : (now - this.start) / this.durationMs;
    return [0, 1].map((axis) => this.from[axis] + (this.to[axis] - this.from[axis]) * part);
  }

  hasArrived(now) {
    return now - this.start >= this.durationMs;
  }
}
