/**
 * One list: which subscription feeds it, and what it says of itself.
 *
 * A fetch goes by a new token. Its rows are shown at once where nothing feeds the list; else they
 * are held until their own subscription is live, and then take the place of those there are in one
 * step: what the old subscription told meanwhile may be newer than they are.
 */

import { primitives } from "../../primitives.js";
import { type Asking, createAsking } from "./asking.js";
import { effectsOfDelta } from "./classic.js";
import type { Answer } from "./fetcher.js";
import { type LiveList, type LiveOptions, type LiveStatus, ResponseError } from "./options.js";
import { namesOf } from "./order.js";
import type { Page } from "./page.js";
import { effectsOf, type Owner, subscribe, type Subscription } from "./subscription.js";
import { createView, type Effects, type View } from "./view.js";
import { createWrites, type Writes } from "./writes.js";

/** Statuses by which the web application says that there is nothing for this user. */
const REFUSALS = [401, 403, 404];
/** Rows that may be held while a source of changes is away. */
const MOST_HELD = 10_000;
/** A server that has lost its log does not know how many pages come. In milliseconds. */
const EPOCH_SPREAD = 3000;
/** Of older servers, where it is not known which list a change is for. In milliseconds. */
const CLASSIC_PAUSE = 500;

interface Candidate<Row> {
  subscription: Subscription;
  answer: Answer<Row>;
  number: number;
}

export function openList<Row>(page: Page, options: LiveOptions<Row>): LiveList<Row> {
  if (!options.url && !options.fetch) throw new TypeError("live() expects a url, or a fetch");
  if (options.window && !options.order) {
    throw new TypeError("live() expects an order where there is a window");
  }
  const changed = new primitives.Signal<[LiveList<Row>]>();
  const listeners = new Set<() => void>();

  let status: LiveStatus = "loading";
  let error: Error | null = null;
  let isLoaded = false;
  let isClosed = false;
  /** There may be something else to show. */
  let isDirty = false;
  let requestError: Error | null = null;
  let writeError: Error | null = null;

  /** What feeds the rows that are shown; null: nothing does. */
  let shown: Subscription | null = null;
  /** A fetch whose subscription is not live yet. */
  let candidate: Candidate<Row> | null = null;
  /** The number of the last fetch that is shown. */
  let fetched = 0;
  let lastToken: string | undefined;

  const writes: Writes<Row> = createWrites<Row>(options, {
    page,
    begun: () => asking.count(),
    fetched: () => fetched,
    follows: () => shown?.id !== undefined && shown.applies && !shown.refetches,
    refetches: () => !!shown?.refetches,
    has: (key) => view.has(key),
    fetch: () => (shown?.refetches ? asking.stale() : asking.due()),
    wrote(failure) {
      writeError = failure;
    },
  });
  const view: View<Row> = createView<Row>(options, writes);
  let items = view.render();

  const asking: Asking<Row> = createAsking<Row>(page, options, {
    size: view.size,
    shown: () => shown,
    waits: () => !!candidate,

    arrived(answer, question) {
      isDirty = true;
      requestError = null;
      // Answers of a refetch list are whole, and come one after the other.
      if (!shown || shown.refetches) show(answer, question.number);
      if (shown) shown.fetchedAt = question.position ?? shown.fetchedAt;
      const { token } = answer;
      if (!question.isForToken) {
        asking.succeeded();
      } else if (!token || token === lastToken) {
        asking.retry(question);
      } else {
        lastToken = token;
        const subscription = subscribe(owner, token);
        if (shown) candidate = { subscription, answer, number: question.number };
        else shown = subscription;
        page.open(subscription);
      }
    },

    failed(reason, question) {
      isDirty = true;
      requestError = reason;
      if (reason instanceof ResponseError && REFUSALS.includes(reason.status)) {
        view.replace({ rows: new Map(), complete: true });
        close();
      } else asking.retry(question);
    },
  });

  const show = (answer: Answer<Row>, number: number) => {
    writes.notice(answer.rows);
    view.replace(answer);
    fetched = number;
    isLoaded = true;
  };

  const apply = (effects: Effects) => {
    writes.notice(effects);
    view.apply(effects);
    isDirty = true;
  };

  const close = () => {
    isClosed = true;
    asking.end();
    page.close(shown);
    page.close(candidate?.subscription);
    shown = candidate = null;
    writes.end();
  };

  const statusNow = (): LiveStatus => {
    if (isClosed) return "closed";
    if (!isLoaded) return "loading";
    if (shown?.id === undefined) {
      return page.isLost() || shown?.resumes ? "reconnecting" : "catching-up";
    }
    return shown.applies && !shown.late && !(shown.refetches && requestError)
      ? "live"
      : "catching-up";
  };

  const owner: Owner = {
    opened(subscription, answer) {
      if (answer.stale) owner.stale(subscription);
      else subscription.fetchedAt = answer.position;
      if (answer.stale === false) subscription.refetches = true;
      owner.took(subscription, effectsOf(answer.changes, subscription.items));
      if (answer.refresh !== undefined) asking.dueIn(answer.refresh);
      if (subscription.applies) subscription.late = !answer.live;
      else if (answer.live) owner.wentLive(subscription);
    },

    ended(subscription, reason, afterMs) {
      if (subscription === shown) {
        page.close(candidate?.subscription);
        shown = candidate = null;
        asking.abandon();
      } else if (subscription === candidate?.subscription) {
        candidate = null;
      } else return;
      const delayMs = asking.delayMs(reason === "epoch" ? EPOCH_SPREAD : 0);
      asking.dueIn(Math.max(afterMs, delayMs));
    },

    took(subscription, effects) {
      if (subscription === shown && shown.applies) {
        if (effects.size) apply(effects);
        return;
      }
      const { held } = subscription;
      for (const [key, row] of effects) held.set(key, row);
      if (held.size <= MOST_HELD) return;
      page.close(subscription);
      owner.ended(subscription, "held", 0);
    },

    wentLive(subscription) {
      if (subscription === candidate?.subscription) {
        const { answer, number } = candidate;
        candidate = null;
        page.close(shown);
        shown = subscription;
        // Of a refetch list a later answer may be shown already.
        if (number > fetched) show(answer, number);
      }
      if (subscription !== shown) return;
      shown.applies = true;
      shown.late = false;
      asking.succeeded();
      apply(shown.held);
      shown.held = new Map();
    },

    stale(subscription) {
      subscription.refetches = true;
      if (shown) shown.refetches = true;
      asking.stale();
    },

    refresh: asking.dueIn,
    wake: asking.wake,

    connected() {
      for (const subscription of [shown, candidate?.subscription]) {
        if (subscription) page.open(subscription);
      }
    },

    dropped() {
      if (candidate) {
        candidate.subscription.ended = true;
        candidate = null;
        asking.due();
      }
      writes.dropped();
    },

    isOf: (model) => !options.model || options.model === model,

    classicDelta(delta, isAlone) {
      if (!isAlone) {
        asking.dueIn(CLASSIC_PAUSE);
        return;
      }
      const effects = effectsOfDelta(delta, namesOf(options.key));
      if (shown) owner.took(shown, effects);
      if (candidate) owner.took(candidate.subscription, effects);
    },

    render() {
      if (writes.settle()) isDirty = true;
      if (!isClosed) {
        if (!candidate && view.runsOut()) asking.due();
        asking.go();
      }
      if (!isDirty && status === statusNow()) return false;
      isDirty = false;
      const before = [items, status, error];
      items = view.render();
      status = statusNow();
      error = requestError ?? writeError;
      return [items, status, error].some((now, index) => now !== before[index]);
    },

    announce() {
      if (isClosed) page.remove(owner);
      for (const tell of [() => changed.dispatch(list), ...listeners]) {
        try {
          tell();
        } catch (problem) {
          console.error(problem); // the page's own
        }
      }
    },
  };

  const list: LiveList<Row> = {
    get items() {
      return items;
    },
    get status() {
      return status;
    },
    get error() {
      return error;
    },
    get hasMore() {
      return view.hasMore();
    },
    changed,

    subscribe(listener) {
      const tell = () => listener(items);
      listeners.add(tell);
      tell();
      return () => listeners.delete(tell);
    },

    mutate: (change, promise, how) => writes.mutate(change, promise, how),
    seen: (keys) => writes.seen(keys),
    refetch: () => fetchNow(),

    more() {
      let isEnough = isClosed;
      page.step(() => {
        isEnough = view.widen();
        isDirty = true;
      });
      return isEnough ? writes.fetched(-1) : fetchNow();
    },

    close: () => page.step(close),
  };

  const fetchNow = () => {
    const shownThen = writes.fetched();
    page.step(asking.now);
    return shownThen;
  };

  page.add(owner);
  page.step(() => {});
  return list;
}
