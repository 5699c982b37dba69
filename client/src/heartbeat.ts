/**
 * Notices a connection that is dead without having been closed.
 *
 * Pages cannot see WebSocket pings. On subprotocol `snorky` an empty text is a heartbeat: the
 * client sends one after an interval of silence and the server answers with another.
 */

export const SUBPROTOCOL = "snorky";

/** Heartbeats that may go unanswered. */
const MAX_UNANSWERED = 2;
/** How long an answer may take after the page woke up, in milliseconds. */
const PROBE_TIMEOUT_MS = 5000;

export class Heartbeat {
  private lastHeard = Date.now();
  private unanswered = 0;
  private timer: ReturnType<typeof setTimeout>;

  /** `beat` sends a heartbeat; `dead` is called once, when too many remain unanswered. */
  constructor(
    private readonly intervalMs: number,
    private readonly beat: () => void,
    private readonly dead: () => void,
  ) {
    this.timer = setTimeout(this.tick, intervalMs);
  }

  /** Something came from the server. Called for every message: it starts no timer. */
  heard(): void {
    this.lastHeard = Date.now();
    this.unanswered = 0;
  }

  /** Ask now: the machine may have slept, or changed networks. */
  probe(): void {
    this.unanswered = MAX_UNANSWERED;
    this.beat();
    this.restart(Math.min(this.intervalMs, PROBE_TIMEOUT_MS));
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
  // hidden pages late, and those of a sleeping machine not at all.
  private readonly tick = (): void => {
    const silenceMs = Date.now() - this.lastHeard;
    if (this.unanswered >= MAX_UNANSWERED) {
      this.dead();
    } else if (silenceMs < this.intervalMs) {
      this.restart(this.intervalMs - silenceMs);
    } else {
      this.unanswered++;
      this.beat();
      this.restart(this.intervalMs);
    }
  };

  private restart(delayMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.tick, delayMs);
  }
}
