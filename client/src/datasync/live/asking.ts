/**
 * When the web application is asked for one list: never twice at a time, again where that failed,
 * and not before the server said so.
 */

import { delayMsAfter } from "../../backoff.js";
import { now, Timer } from "../../timer.js";
import { type Answer, ask } from "./fetcher.js";
import type { LiveOptions } from "./options.js";
import type { Page } from "./page.js";
import type { Subscription } from "./subscription.js";

/** One question. They are numbered in the order in which they begin. */
export interface Question {
  _number: number;
  /** Its token will feed the list. Otherwise the list has one, and only its rows are wanted. */
  _isForToken: boolean;
  /** That of the connection when it began. */
  _position: string | undefined;
  _controller: AbortController;
}

interface Host<Row> {
  /** How many rows a window shows, else 0. */
  _size(): number;
  /** What feeds the list. */
  _shown(): Subscription | null;
  /** An answer waits until its subscription is live: until then there is no use for another. */
  _waits(): boolean;
  _arrived(answer: Answer<Row>, question: Question): void;
  _failed(error: Error, question: Question): void;
}

export function createAsking<Row>(page: Page, options: LiveOptions<Row>, host: Host<Row>) {
  let question: Question | null = null;
  let count = 0;
  /** The list is to be asked for with a new token, even without a connection where it is urgent. */
  let isDue = true;
  let isUrgent = false;
  /** It is to be asked for again with the token it has: only refetch lists are. */
  let isStale = false;
  const dueTimer = new Timer();
  let dueAt = Infinity;
  const pauseTimer = new Timer();
  let isPausing = false;
  /** Since the list was live. */
  let failures = 0;

  const begin = (isForToken: boolean) => {
    const controller = new AbortController();
    const current = {
      _number: ++count,
      _isForToken: isForToken,
      _position: page._position(),
      _controller: controller,
    };
    const timer = new Timer();
    timer.limit(page._snorky.options.callTimeout, () => controller.abort());
    question = current;
    isStale = false;
    if (isForToken) {
      isDue = isUrgent = false;
      stopWaiting();
      page._asks(1);
    }
    const end = (action: () => void) => {
      timer.stop();
      page._step(() => {
        if (question !== current) return; // nobody waits for it any more
        settle();
        action();
      });
    };
    ask(options, controller.signal, host._size()).then(
      (answer) => end(() => host._arrived(answer, current)),
      (error) => end(() => host._failed(error, current)),
    );
  };

  const stopWaiting = () => {
    dueTimer.stop();
    dueAt = Infinity;
  };

  const settle = () => {
    if (question?._isForToken) page._asks(-1);
    question = null;
  };

  const abandon = () => {
    question?._controller.abort();
    settle();
  };

  const wake = () => {
    pauseTimer.stop();
    isPausing = false;
  };

  const backoffMs = () => delayMsAfter(failures, page._snorky.options);

  return {
    /** How many questions have begun. */
    _count: () => count,

    /** Ask, where that is due and nothing is under way. */
    _go() {
      if (question || isPausing) return;
      const shown = host._shown();
      // Without a connection a list that will be resumed has no use for a token.
      const isForToken =
        isDue && !host._waits() && (!shown || isUrgent || page._snorky.isConnected);
      if (isForToken || (isStale && shown?._refetches)) begin(isForToken);
    },

    _due() {
      isDue = true;
    },

    _stale() {
      isStale = true;
    },

    /** The page wants it. */
    _now() {
      isDue = isUrgent = true;
      wake();
    },

    /** Of what was said before, the earlier counts. */
    _dueIn(delayMs: number) {
      const at = now() + delayMs;
      if (dueAt <= at) return;
      dueAt = at;
      dueTimer.start(delayMs, () => {
        dueAt = Infinity;
        page._step(() => (isDue = true));
      });
    },

    /** Ask the same again, after a time that grows. */
    _retry({ _isForToken: isForToken }: Question) {
      if (isForToken) isDue = true;
      else isStale = true;
      isPausing = true;
      pauseTimer.start(backoffMs(), () => page._step(wake));
      failures++;
    },

    /** How long to wait after an opening that failed: nothing for the first. Counts it. */
    _delayMs(spreadMs: number) {
      const delayMs = spreadMs
        ? Math.random() * spreadMs * 2 ** Math.min(failures, 3)
        : failures && backoffMs();
      failures++;
      return delayMs;
    },

    _succeeded() {
      failures = 0;
    },

    /** Do not wait for the next attempt. */
    _wake: wake,
    /** The answer is not wanted any more. */
    _abandon: abandon,

    _end() {
      abandon();
      stopWaiting();
      wake();
    },
  };
}

export type Asking<Row> = ReturnType<typeof createAsking<Row>>;
