/**
 * When the web application is asked for one list: never twice at a time, again where that failed,
 * and not before the server said so.
 */

import { reconnectDelay } from "../../backoff.js";
import { now } from "../../timer.js";
import { type Answer, ask } from "./fetcher.js";
import type { LiveOptions } from "./options.js";
import type { Page } from "./page.js";
import type { Subscription } from "./subscription.js";

/** One question. They are numbered in the order in which they begin. */
export interface Question {
  number: number;
  /** Its token will feed the list. Otherwise the list has one, and only its rows are wanted. */
  isForToken: boolean;
  /** That of the connection when it began. */
  position: string | undefined;
  controller: AbortController;
}

interface Host<Row> {
  /** How many rows a window shows, else 0. */
  size(): number;
  /** What feeds the list. */
  shown(): Subscription | null;
  /** An answer waits until its subscription is live: until then there is no use for another. */
  waits(): boolean;
  arrived(answer: Answer<Row>, question: Question): void;
  failed(error: Error, question: Question): void;
}

type Timer = ReturnType<typeof setTimeout>;

export function createAsking<Row>(page: Page, options: LiveOptions<Row>, host: Host<Row>) {
  const { callTimeout, minReconnectDelay, maxReconnectDelay } = page.options;
  let question: Question | null = null;
  let count = 0;
  /** The list is to be asked for with a new token, even without a connection where it is urgent. */
  let isDue = true;
  let isUrgent = false;
  /** It is to be asked for again with the token it has: only refetch lists are. */
  let isStale = false;
  let dueTimer: Timer | undefined;
  let dueAt = 0;
  let retryTimer: Timer | undefined;
  /** Since the list was live. */
  let failures = 0;

  const begin = (isForToken: boolean) => {
    const controller = new AbortController();
    const current = { number: ++count, isForToken, position: page.position(), controller };
    const timer = callTimeout && setTimeout(() => controller.abort(), callTimeout * 1000);
    question = current;
    isStale = false;
    if (isForToken) {
      isDue = isUrgent = false;
      stopWaiting();
      page.asks(1);
    }
    const end = (action: () => void) => {
      clearTimeout(timer || undefined);
      page.step(() => {
        if (question !== current) return; // nobody waits for it any more
        abandon();
        action();
      });
    };
    ask(options, controller.signal, host.size()).then(
      (answer) => end(() => host.arrived(answer, current)),
      (error) => end(() => host.failed(error, current)),
    );
  };

  const stopWaiting = () => {
    clearTimeout(dueTimer);
    dueTimer = undefined;
  };

  const abandon = () => {
    if (!question) return;
    if (question.isForToken) page.asks(-1);
    question.controller.abort();
    question = null;
  };

  const wake = () => {
    clearTimeout(retryTimer);
    retryTimer = undefined;
  };

  const backoffMs = () => reconnectDelay(failures, minReconnectDelay, maxReconnectDelay) * 1000;

  return {
    /** How many questions have begun. */
    count: () => count,

    /** Ask, where that is due and nothing is under way. */
    go() {
      if (question || retryTimer) return;
      const shown = host.shown();
      // Without a connection a list that will be resumed has no use for a token.
      const isForToken = isDue && !host.waits() && (!shown || isUrgent || page.isConnected());
      if (isForToken || (isStale && shown?.refetches)) begin(isForToken);
    },

    due() {
      isDue = true;
    },

    stale() {
      isStale = true;
    },

    /** The page wants it. */
    now() {
      isDue = isUrgent = true;
      wake();
    },

    /** Of what was said before, the earlier counts. */
    dueIn(delayMs: number) {
      const at = now() + delayMs;
      if (dueTimer && dueAt <= at) return;
      stopWaiting();
      dueAt = at;
      dueTimer = setTimeout(() => {
        dueTimer = undefined;
        page.step(() => (isDue = true));
      }, delayMs);
    },

    /** Ask the same again, after a time that grows. */
    retry({ isForToken }: Question) {
      if (isForToken) isDue = true;
      else isStale = true;
      retryTimer = setTimeout(() => page.step(wake), backoffMs());
      failures++;
    },

    /** How long to wait after an opening that failed: nothing for the first. Counts it. */
    delayMs(spreadMs: number) {
      const delayMs = spreadMs
        ? Math.random() * spreadMs * 2 ** Math.min(failures, 3)
        : failures && backoffMs();
      failures++;
      return delayMs;
    },

    succeeded() {
      failures = 0;
    },

    /** Do not wait for the next attempt. */
    wake,
    /** The answer is not wanted any more. */
    abandon,

    end() {
      abandon();
      stopWaiting();
      wake();
    },
  };
}

export type Asking<Row> = ReturnType<typeof createAsking<Row>>;
