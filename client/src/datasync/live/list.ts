/**
 * One list: which subscription feeds it, and what it says of itself.
 *
 * A fetch goes by a new token. Its rows are shown at once where nothing feeds the list; else they
 * are held until their own subscription is live, and then take the place of those there are in one
 * step: what the old subscription told meanwhile may be newer than they are.
 */

import { guard } from "../../errors.js";
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

export function openList<Row>(page: Page, options: LiveOptions<Row>): LiveList<Row> {
  if ((!options.url && !options.fetch) || (options.window && !options.order)) {
    throw new TypeError("live() expects a url or fetch, and an order beside a window");
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
  let candidate: Subscription | null = null;
  /** What it has brought, and its number. */
  let waiting: [Answer<Row>, number] | undefined;
  /** The number of the last fetch that is shown. */
  let fetched = 0;
  let lastToken: string | undefined;

  const writes: Writes<Row> = createWrites<Row>(options, {
    _page: page,
    _begun: () => asking._count(),
    _fetched: () => fetched,
    _follows: () => shown?._id !== undefined && !!shown._applies && !shown._refetches,
    _refetches: () => !!shown?._refetches,
    _has: (key) => view._has(key),
    _fetch: () => (shown?._refetches ? asking._stale() : asking._due()),
    _wrote(failure) {
      writeError = failure;
    },
  });
  const view: View<Row> = createView<Row>(options, writes);
  let items = view._render();

  const asking: Asking<Row> = createAsking<Row>(page, options, {
    _size: view._size,
    _shown: () => shown,
    _waits: () => !!candidate,

    _arrived(answer, question) {
      isDirty = true;
      requestError = null;
      // Answers of a refetch list are whole, and come one after the other.
      if (!shown || shown._refetches) show(answer, question._number);
      if (shown) shown._fetchedAt = question._position ?? shown._fetchedAt;
      const token = answer._token;
      if (!question._isForToken) {
        asking._succeeded();
      } else if (!token || token === lastToken) {
        asking._retry(question);
      } else {
        lastToken = token;
        const subscription = subscribe(owner, token);
        if (!shown) shown = subscription;
        else {
          candidate = subscription;
          waiting = [answer, question._number];
        }
        page._open(subscription);
      }
    },

    _failed(reason, question) {
      isDirty = true;
      requestError = reason;
      if (reason instanceof ResponseError && REFUSALS.includes(reason.status)) {
        view._replace({ _rows: new Map(), _complete: true });
        close();
      } else asking._retry(question);
    },
  });

  const show = (answer: Answer<Row>, number: number) => {
    writes._notice(answer._rows);
    view._replace(answer);
    fetched = number;
    isLoaded = true;
  };

  const apply = (effects: Effects) => {
    writes._notice(effects);
    view._apply(effects);
    isDirty = true;
  };

  const close = () => {
    isClosed = true;
    asking._end();
    page._close(shown);
    page._close(candidate);
    shown = candidate = null;
    writes._end();
  };

  const statusNow = (): LiveStatus => {
    if (isClosed) return "closed";
    if (!isLoaded) return "loading";
    if (shown?._id === undefined) {
      return page._isLost() || shown?._since !== undefined ? "reconnecting" : "catching-up";
    }
    return shown._applies && !shown._late && !(shown._refetches && requestError)
      ? "live"
      : "catching-up";
  };

  const owner: Owner = {
    _opened(subscription, answer) {
      if (answer.stale) owner._stale(subscription);
      else subscription._fetchedAt = answer.position;
      if (answer.stale === false) subscription._refetches = true;
      owner._took(subscription, effectsOf(answer.changes, subscription._items));
      if (answer.refresh !== undefined) asking._dueIn(answer.refresh);
      if (subscription._applies) subscription._late = !answer.live;
      else if (answer.live) owner._wentLive(subscription);
    },

    _ended(subscription, reason, afterMs) {
      if (subscription === shown) {
        page._close(candidate);
        shown = candidate = null;
        asking._abandon();
      } else if (subscription === candidate) {
        candidate = null;
      } else return;
      const delayMs = asking._delayMs(reason === "epoch" ? EPOCH_SPREAD : 0);
      asking._dueIn(Math.max(afterMs, delayMs));
    },

    _took(subscription, effects) {
      if (subscription === shown && shown._applies) {
        if (effects.size) apply(effects);
        return;
      }
      const held = subscription._held;
      for (const [key, row] of effects) held.set(key, row);
      if (held.size <= MOST_HELD) return;
      page._close(subscription);
      owner._ended(subscription, "held", 0);
    },

    _wentLive(subscription) {
      if (subscription === candidate) {
        candidate = null;
        page._close(shown);
        shown = subscription;
        // Of a refetch list a later answer may be shown already.
        if (waiting![1] > fetched) show(...waiting!);
      }
      if (subscription !== shown) return;
      shown._applies = true;
      shown._late = false;
      asking._succeeded();
      apply(shown._held);
      shown._held = new Map();
    },

    _stale(subscription) {
      subscription._refetches = true;
      if (shown) shown._refetches = true;
      asking._stale();
    },

    _refresh: asking._dueIn,
    _wake: asking._wake,

    _connected() {
      page._open(shown);
      page._open(candidate);
    },

    _dropped() {
      if (candidate) {
        candidate._ended = true;
        candidate = null;
        asking._due();
      }
      writes._dropped();
    },

    _isOf: (model) => !options.model || options.model === model,

    _classicDelta(delta, isAlone) {
      if (!isAlone) {
        asking._dueIn(CLASSIC_PAUSE);
        return;
      }
      const effects = effectsOfDelta(delta, namesOf(options.key));
      if (shown) owner._took(shown, effects);
      if (candidate) owner._took(candidate, effects);
    },

    _render() {
      if (writes._settle()) isDirty = true;
      if (!isClosed) {
        if (!candidate && view._runsOut()) asking._due();
        asking._go();
      }
      if (!isDirty && status === statusNow()) return false;
      isDirty = false;
      const before = [items, status, error];
      items = view._render();
      status = statusNow();
      error = requestError ?? writeError;
      return [items, status, error].some((now, index) => now !== before[index]);
    },

    _announce() {
      if (isClosed) page._remove(owner);
      for (const tell of [() => changed.dispatch(list), ...listeners]) guard(tell);
    },
  };

  const fetchNow = () => {
    const shownThen = writes._fetched();
    page._step(asking._now);
    return shownThen;
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
      return view._hasMore();
    },
    changed,

    subscribe(listener) {
      const tell = () => listener(items);
      listeners.add(tell);
      tell();
      return () => listeners.delete(tell);
    },

    mutate: writes._mutate,
    seen: writes._seen,
    refetch: fetchNow,

    more() {
      isDirty = true;
      // What is under way was asked for before, and will take the place of what there is.
      const isEnough = view._widen() && asking._count() === fetched;
      return isEnough ? writes._fetched(-1) : fetchNow();
    },

    close: () => page._step(close),
  };

  page._add(owner);
  page._step(() => {});
  return list;
}
