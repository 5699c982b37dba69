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
  private _lastHeard = now();
  private _unanswered = 0;
  private readonly _timer = new Timer();

  /** `beat` sends a heartbeat; `dead` is called once, when too many remain unanswered. */
  constructor(
    private readonly _intervalMs: number,
    private readonly _beat: (text: string) => void,
    private readonly _dead: () => void,
  ) {
    this._timer.start(_intervalMs, this._tick);
  }

  /** Something came from the server. Called for every message: it starts no timer. */
  heard(): void {
    this._lastHeard = now();
    this._unanswered = 0;
  }

  /** Ask now: the machine may have slept, or changed networks. */
  probe(): void {
    this._unanswered = MAX_UNANSWERED;
    this._timer.start(Math.min(this._intervalMs, PROBE_TIMEOUT_MS), this._tick);
    this._beat(EMPTY);
    this._beat(SPACE);
  }

  stop(): void {
    this._timer.stop();
  }

  // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
  // hidden pages late, and those of a sleeping machine not at all.
  private readonly _tick = (): void => {
    const silenceMs = now() - this._lastHeard;
    if (this._unanswered >= MAX_UNANSWERED) {
      this._dead();
    } else if (silenceMs < this._intervalMs) {
      this._timer.start(this._intervalMs - silenceMs, this._tick);
    } else {
      this._timer.start(this._intervalMs, this._tick);
      // Last, as it may find the connection broken and stop us.
      this._beat(this._unanswered++ ? SPACE : EMPTY);
    }
  };
}
