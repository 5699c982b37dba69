/**
 * Notices a connection that is dead without having been closed.
 *
 * Pages cannot see WebSocket pings. On subprotocol `snorky` an empty text is a heartbeat: the
 * client sends one after an interval of silence and the server answers with another. Some servers
 * between the two lose empty texts: where one is not answered the next is a space, which is
 * answered by a space.
 */

import { now, Timer } from "./timer.js";

export const SUBPROTOCOL = "snorky";

/** Heartbeats that may go unanswered. */
const MAX_UNANSWERED = 2;
/** How long an answer may take after the page woke up, in milliseconds. */
const PROBE_TIMEOUT_MS = 5000;

export const EMPTY = "";
export const SPACE = " ";

/** Whether a message is one. */
export function isHeartbeat(data: unknown): boolean {
  return data === EMPTY || data === SPACE;
}

export class Heartbeat {
  private lastHeard = now();
  private unanswered = 0;
  private readonly timer = new Timer();

  /** `beat` sends a heartbeat; `dead` is called once, when too many remain unanswered. */
  constructor(
    private readonly intervalMs: number,
    private readonly beat: (text: string) => void,
    private readonly dead: () => void,
  ) {
    this.timer.start(intervalMs, this.tick);
  }

  /** Something came from the server. Called for every message: it starts no timer. */
  heard(): void {
    this.lastHeard = now();
    this.unanswered = 0;
  }

  /** Ask now: the machine may have slept, or changed networks. */
  probe(): void {
    this.unanswered = MAX_UNANSWERED;
    this.timer.start(Math.min(this.intervalMs, PROBE_TIMEOUT_MS), this.tick);
    this.beat(EMPTY);
    this.beat(SPACE);
  }

  stop(): void {
    this.timer.stop();
  }

  // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
  // hidden pages late, and those of a sleeping machine not at all.
  private readonly tick = (): void => {
    const silenceMs = now() - this.lastHeard;
    if (this.unanswered >= MAX_UNANSWERED) {
      this.dead();
    } else if (silenceMs < this.intervalMs) {
      this.timer.start(this.intervalMs - silenceMs, this.tick);
    } else {
      this.timer.start(this.intervalMs, this.tick);
      // Last, as it may find the connection broken and stop us.
      this.beat(this.unanswered++ ? SPACE : EMPTY);
    }
  };
}
