/**
 * Tokens, which say who the page's user is: got from the page, and replaced by new ones over the
 * open connection before they end.
 *
 * How a token travels is the connection's business. Tokens are never logged, nor part of an error.
 */

import { delayMsAfter } from "./backoff.js";
import { textOf } from "./errors.js";
import type { SnorkyOptions } from "./options.js";
import { Timer } from "./timer.js";

/** The close code with which the server asks for a new one. */
export const TOKEN_EXPIRED = 3002;

/** The part of its time after which a token is replaced, so that pages do not all ask at once. */
const RENEW_FROM = 0.5;
const RENEW_SPREAD = 0.2;
/** A clock that is wrong must not make us ask all the time. */
const MIN_DELAY_MS = 1000;
/** What servers say that have no such service, or one of that name that is something else. */
const NOT_OFFERED = ["Unknown service", "Unknown command"];

/** What goes into headers, subprotocols and URLs as it is. Throws where `token` does not. */
export function checked(token: unknown): string {
  if (typeof token === "string" && /^[\w.~-]+$/.test(token)) return token;
  throw new TypeError(`expected a token of letters, digits and - . _ ~, got ${typeof token}`);
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

/** Whose tokens are renewed. */
interface Page {
  readonly options: Required<SnorkyOptions>;
  logDebug(text: string): void;
}

/** Brings new tokens over whichever connection is open. */
export function createRenewal(page: Page) {
  const timer = new Timer();
  /** Of the open connection. */
  let send: ((token: string) => void) | null = null;
  let current = "";
  let failures = 0;
  /** Whether the server takes new tokens; undefined: it has not been asked yet. */
  let offered: boolean | undefined;

  const renewWithin = (seconds: unknown) => {
    timer.stop();
    if (typeof seconds !== "number" || offered === false) return;
    const part = RENEW_FROM + Math.random() * RENEW_SPREAD;
    timer.start(Math.max(seconds * 1000 * part, MIN_DELAY_MS), renew);
  };

  const failed = (why: string) => {
    page.logDebug(`The token was not renewed: ${why}`);
    timer.start(delayMsAfter(failures++, page.options), renew);
  };

  const renew = async () => {
    const sendNow = send;
    const { token: give, callTimeout } = page.options;
    try {
      const token = await ask(give as () => string);
      if (!sendNow || send !== sendNow) return; // for another connection
      if (token === current) throw new Error("the page gave the old one again");
      current = token;
      timer.limit(callTimeout, unanswered);
      sendNow(token);
    } catch (error) {
      if (send === sendNow) failed((error as Error).message);
    }
  };

  /** Older servers say nothing where they have no such service: they are not asked again. */
  const unanswered = () => {
    if (offered) failed("no answer");
    else offered = false;
  };

  return {
    /** A connection was opened with `token`; `send` takes the next one to the server. */
    _start(token: string, sendNext: (token: string) => void): void {
      current = token;
      send = sendNext;
      failures = 0;
      renewWithin(secondsLeft(token));
    },

    _stop(): void {
      timer.stop();
      send = null;
    },

    /** The server's answer to what was sent. */
    _answered(message: any): void {
      if (!send) return;
      offered = !NOT_OFFERED.includes(message.message);
      if (message.type === "response" || !offered) {
        failures = 0;
        renewWithin(message.data?.expiresIn);
      } else {
        failed(message.message);
      }
    },
  };
}
