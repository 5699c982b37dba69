/**
 * All lists of one service on one connection: opened in one call, resumed in one call, told of each
 * frame in one step.
 *
 * Knows the wire and positions. What a change means is left to the lists.
 */

import { isDisconnection } from "../../errors.js";
import type { RPCService } from "../../rpc.js";
import { effectsOf, type Opening, type Owner, type Subscription } from "./subscription.js";

/** The server takes no more in one call. */
const MOST_AT_ONCE = 32;
/** How long a list that could be opened waits for those that still ask for their rows. */
const GATHER_MS = 50;

/** What an older server would say of a subscription that is acquired: it follows from now on. */
const ACQUIRED = { recovered: true, items: [], position: "", live: true, changes: [] } as const;

interface Waiting {
  _keys: readonly string[];
  /** `known`: the frames of everything up to these keys have come. */
  _done: (known: boolean) => void;
}

export interface Page extends ReturnType<typeof createPage> {}

export function createPage(service: RPCService) {
  const { snorky } = service;
  const lists = new Set<Owner>();
  const byId = new Map<unknown, Subscription>();
  const waiting = new Set<Waiting>();
  let queue: Subscription[] = [];
  let gathering: ReturnType<typeof setTimeout> | undefined;
  /** Requests for tokens that are under way. */
  let asking = 0;
  let position: string | undefined;
  let isLost = false;
  /** The server has no `openSubscriptions`. */
  let isClassic = false;
  let depth = 0;

  /** Do something to the lists. What they tell they tell afterwards, when all of it is done. */
  const step = (action: () => void) => {
    depth++;
    try {
      action();
    } finally {
      if (!--depth) {
        if (queue.length) gather();
        for (const list of [...lists].filter((each) => each._render())) list._announce();
      }
    }
  };

  const call = (
    command: string,
    params: object,
    resolve: (data: any) => void = () => {},
    reject: (error: Error) => void = () => {},
  ) => {
    // The answer must be taken at once: frames may follow it in the same turn.
    service._call(
      command,
      params,
      (data) => step(() => resolve(data)),
      (error) => {
        // Else it is asked again on the next connection.
        if (!isDisconnection(error)) step(() => reject(error));
      },
    );
  };

  const end = (subscription: Subscription, reason: string, afterMs = 0) => {
    if (subscription._ended) return;
    subscription._ended = true;
    byId.delete(subscription._id);
    subscription._owner._ended(subscription, reason, afterMs);
  };

  const requestOf = ({ _token, _since, _applies }: Subscription) => ({
    token: _token,
    since: _since,
    live: _applies || undefined,
  });

  const send = (all: Subscription[]) => {
    if (isClassic) {
      for (const one of all) acquire(one);
      return;
    }
    call(
      "openSubscriptions",
      { subscriptions: all.map(requestOf) },
      (answers: Opening[]) => all.forEach((each, index) => answered(each, answers[index])),
      (error) => {
        isClassic = error.message === "Unknown command";
        if (isClassic) send(all.filter((each) => !each._ended));
        else for (const each of all) end(each, error.message);
      },
    );
  };

  const acquire = (subscription: Subscription) => {
    const token = subscription._token;
    call(
      "acquireSubscription",
      { token },
      () => answered(subscription, { ...ACQUIRED, subscription: token, token }),
      (error) => end(subscription, error.message),
    );
  };

  const answered = (subscription: Subscription, answer: Opening) => {
    if (!answer.recovered) {
      end(subscription, answer.reason, answer.after_ms);
      return;
    }
    position = answer.position;
    if (subscription._ended) {
      close(answer.subscription);
      return;
    }
    subscription._id = answer.subscription;
    subscription._token = answer.token;
    subscription._items = new Set(answer.items);
    byId.set(subscription._id, subscription);
    subscription._owner._opened(subscription, answer);
  };

  const close = (id: unknown) => {
    if (isClassic) call("cancelSubscription", { token: id });
    else call("closeSubscriptions", { subscriptions: [id] });
  };

  const flush = () => {
    clearTimeout(gathering);
    gathering = undefined;
    if (!snorky.isConnected) return;
    const all = [...new Set(queue)].filter((each) => !each._ended);
    queue = [];
    while (all.length) send(all.splice(0, MOST_AT_ONCE));
  };

  const gather = () => {
    if (!asking) flush();
    else gathering ??= setTimeout(flush, GATHER_MS);
  };

  const awaitKeys = (one: Waiting) => {
    if (isClassic) return settle(one, false);
    call(
      "awaitKeys",
      { keys: one._keys },
      () => settle(one, true),
      () => settle(one, false),
    );
  };

  const settle = (one: Waiting, known: boolean) => {
    if (waiting.delete(one)) one._done(known);
  };

  /** Those of the subscriptions concerned that this page knows. */
  const each = (frame: any, action: (subscription: Subscription) => void) => {
    for (const id of frame.subscriptions) {
      const subscription = byId.get(id);
      if (subscription) action(subscription);
    }
  };

  const frames: Record<string, (frame: any) => void> = {
    changes(frame) {
      for (const subscription of byId.values()) {
        const effects = effectsOf(frame.changes, subscription._items);
        if (effects.size) subscription._owner._took(subscription, effects);
      }
    },
    live: (frame) => each(frame, (one) => one._owner._wentLive(one)),
    late: (frame) => each(frame, (one) => (one._late = true)),
    stale: (frame) => each(frame, (one) => one._owner._stale(one)),
    refresh: (frame) => each(frame, (one) => one._owner._refresh(frame.after_ms)),
    resync: (frame) =>
      frame.subscriptions && each(frame, (one) => end(one, frame.reason, frame.after_ms)),
    mark(frame) {
      for (const [id, subscription] of byId) {
        subscription._token = frame.tokens?.[String(id)] ?? subscription._token;
      }
    },
    delta(frame) {
      if (!isClassic) return;
      // Only where one list alone can be meant it is known which.
      const meant = [...lists].filter((list) => list._isOf(frame.delta.model));
      for (const list of meant) list._classicDelta(frame.delta, meant.length === 1);
    },
  };

  return {
    _snorky: snorky,
    _step: step,
    /** The last one that came in a frame or in an answer to an opening on this connection. */
    _position: () => position,
    /** There was a connection, and it has gone. */
    _isLost: () => isLost,

    _add(list: Owner) {
      lists.add(list);
    },

    _remove(list: Owner) {
      lists.delete(list);
    },

    /** The page is looked at again, or the network is back. */
    _wake() {
      step(() => {
        for (const list of lists) list._wake();
      });
    },

    /** A list begins (1), or ends (-1), to ask the web application for a token. */
    _asks(difference: number) {
      asking += difference;
    },

    /** Open it as soon as there is a connection: each list says so again when there is one. */
    _open(subscription: Subscription | null) {
      if (subscription) queue.push(subscription);
    },

    _close(subscription: Subscription | null | undefined) {
      if (!subscription || subscription._ended) return;
      subscription._ended = true;
      if (byId.delete(subscription._id)) close(subscription._id);
    },

    _awaitKeys(keys: readonly string[], done: (known: boolean) => void): () => void {
      const one = { _keys: keys, _done: done };
      waiting.add(one);
      if (snorky.isConnected) awaitKeys(one);
      return () => waiting.delete(one);
    },

    _frame(message: any) {
      const { type, position: at } = message ?? {};
      if (!Object.hasOwn(frames, type)) return;
      step(() => {
        position = at ?? position;
        frames[type](message);
      });
    },

    _connectionOpened() {
      isLost = isClassic = false;
      queue = [];
      step(() => {
        for (const list of lists) list._connected();
        flush();
        for (const one of waiting) awaitKeys(one);
      });
    },

    _connectionClosed() {
      isLost = true;
      queue = [];
      step(() => {
        for (const subscription of byId.values()) {
          subscription._since = subscription._refetches ? subscription._fetchedAt : position;
          subscription._id = undefined;
        }
        byId.clear();
        position = undefined;
        for (const list of lists) list._dropped();
      });
    },
  };
}
