/**
 * Tokens, which say who the page's user is: got from the page, and replaced by new ones over the
 * open connection before they end.
 *
 * How a token travels is the connection's business. Tokens are never logged, nor part of an error.
 */

import { textOf } from "./errors.js";
import { Timer } from "./timer.js";

/** A text, or a function that is asked before each attempt to connect. */
export type Token = string | (() => string | Promise<string>);

/** The close code with which the server asks for a new one. */
export const TOKEN_EXPIRED = 3002;

/** The part of its time after which a token is replaced, so that pages do not all ask at once. */
const RENEW_FROM = 0.5;
const RENEW_SPREAD = 0.2;
/** A clock that is wrong must not make us ask all the time. */
const MIN_DELAY_MS = 1000;

/** What goes into headers, subprotocols and URLs as it is. Throws where `token` does not. */
export function checked(token: unknown): string {
  if (typeof token === "string" && /^[\w.~-]+$/.test(token)) return token;
  const got = typeof token === "string" ? "another text" : typeof token;
  throw new TypeError(`expected a token of letters, digits and - . _ ~, got ${got}`);
}

/** Ask the page. The error says what it said. */
export async function ask(give: () => string | Promise<string>): Promise<string> {
  try {
    return checked(await give());
  } catch (error) {
    throw new Error(`no token: ${textOf(error)}`);
  }
}

/** How long a JSON Web Token lasts; undefined where it does not say, or is something else. */
export function secondsLeft(token: string): number | undefined {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const { exp } = JSON.parse(atob(payload));
    return typeof exp === "number" ? exp - Date.now() / 1000 : undefined;
  } catch {
    return undefined;
  }
}

interface RenewalOptions {
  give: () => string | Promise<string>;
  /** How long to wait after so many failures, in seconds. */
  retryDelay: (failures: number) => number;
  /** How long the server may take to answer, in seconds; 0 = any time. */
  answerTimeout: number;
  /** Somebody may want to know what failed. */
  log: (text: string) => void;
}

/** Brings new tokens over whichever connection is open. */
export class Renewal {
  private readonly timer = new Timer();
  /** Of the open connection. */
  private send: ((token: string) => void) | null = null;
  private token = "";
  private failures = 0;
  /** Whether the server takes new tokens; undefined: it has not been asked yet. */
  private offered: boolean | undefined;

  constructor(private readonly options: RenewalOptions) {}

  /** A connection was opened with `token`; `send` takes the next one to the server. */
  start(token: string, send: (token: string) => void): void {
    this.token = token;
    this.send = send;
    this.failures = 0;
    this.renewWithin(secondsLeft(token));
  }

  stop(): void {
    this.timer.stop();
    this.send = null;
  }

  /** The server's answer to what was sent. */
  answered(message: any): void {
    if (!this.send) return;
    this.offered = true;
    if (message.type === "response") {
      this.failures = 0;
      this.renewWithin(message.data?.expiresIn);
    } else {
      this.failed(message.message);
    }
  }

  private renewWithin(seconds: unknown): void {
    this.timer.stop();
    if (typeof seconds !== "number" || this.offered === false) return;
    const part = RENEW_FROM + Math.random() * RENEW_SPREAD;
    this.renewIn(Math.max(seconds * 1000 * part, MIN_DELAY_MS));
  }

  private renewIn(delayMs: number): void {
    this.timer.start(delayMs, () => this.renew());
  }

  private failed(why: string): void {
    this.options.log(`The token was not renewed: ${why}`);
    this.renewIn(this.options.retryDelay(this.failures++) * 1000);
  }

  private async renew(): Promise<void> {
    const { send } = this;
    try {
      const token = await ask(this.options.give);
      if (!send || this.send !== send) return; // for another connection
      if (token === this.token) throw new Error("the page gave the old one again");
      this.token = token;
      const seconds = this.options.answerTimeout || Infinity;
      this.timer.start(seconds * 1000, () => this.unanswered());
      send(token);
    } catch (error) {
      if (this.send === send) this.failed((error as Error).message);
    }
  }

  /** Where the server has no such service it says nothing: it is not asked again. */
  private unanswered(): void {
    if (this.offered) this.failed("no answer");
    else this.offered = false;
  }
}
