/**
 * Channels to publish on and to subscribe to. Subscriptions outlive the connection.
 */

import { Class } from "../class.js";
import { ConnectionError, isDisconnection } from "../errors.js";
import { canonical } from "../json.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { createTurns, type Turns } from "../turns.js";

/** A channel is any JSON value, usually a string. */
export interface ChannelParams {
  channel: unknown;
}

export interface SubscribeParams extends ChannelParams {
  /**
   * A position of the channel's past: what was published after it comes by `messagePublished`, or
   * `messagesMissed` says that it cannot. "" asks for all that is kept.
   */
  since?: string;
}

export interface PublishedMessage {
  type: "message";
  channel: any;
  message: any;
  /** Where the channel has a past. */
  position?: string;
}

/** The answer for a channel that has a past, or presence; null for any other. */
export interface Subscribed {
  position?: string;
  /** Where `since` was asked for; false: `messagesMissed` has been dispatched. */
  recovered?: boolean;
  reason?: string;
  /** What was missed. It has been dispatched by `messagePublished` already. */
  messages?: PublishedMessage[];
  /** Identities; none where the channel only counts. */
  members?: any[];
  count?: number;
}

/** Messages were lost, and cannot be had any more. */
export interface MissedMessages {
  type: "missed";
  channel: any;
  /** "trimmed": away for too long. "epoch": the server has lost its past. */
  reason: "trimmed" | "epoch" | "no history" | "unknown position";
}

/** Somebody came or went, or: who is there, or how many. */
export interface ChannelPresence {
  type: "presence";
  channel: any;
  from?: any;
  status?: "joined" | "left";
  members?: any[];
  count?: number;
}

export interface PubSub extends RPCService {
  messagePublished: Signal<[message: PublishedMessage]>;
  /** A page that needs all messages should ask for their outcome anew. */
  messagesMissed: Signal<[missed: MissedMessages]>;
  presenceReceived: Signal<[presence: ChannelPresence]>;
  /** Called beside `messagePublished`. */
  onMessagePublished?: ((message: PublishedMessage) => void) | null;
  publish(params: ChannelParams & { message: unknown }): Promise<null>;
  /**
   * Lasts until `unsubscribe`, also over reconnections. Also where the connection ended before
   * the answer: then this is rejected, but the next connection makes the subscription. Where the
   * channel has a past, the next connection brings what was published meanwhile.
   */
  subscribe(params: SubscribeParams): Promise<Subscribed | null>;
  unsubscribe(params: ChannelParams): Promise<null>;
  /** The same as `subscribe`. */
  join(params: SubscribeParams): Promise<Subscribed | null>;
  /** The same as `unsubscribe`. */
  leave(params: ChannelParams): Promise<null>;
  /** Who is in a channel that tells, or how many. */
  presence(params: ChannelParams): Promise<Subscribed>;
  /** @internal Those that the page wants, by channel. */
  _subscriptions: Map<string | undefined, Subscription>;
  /** @internal By channel. */
  _turns: Turns;
}

interface Subscription {
  /** `since` is the position of what came last. */
  params: SubscribeParams;
  /**
   * `asked`: the page's own call is under way. `there`: the server has said yes. `lost`: it ended
   * with the connection and has not been made again yet. `unknown`: there was no answer.
   */
  state: "asked" | "there" | "lost" | "unknown";
  /** The answer to making it again, until the page asks for the same and gets it. */
  restoring: Promise<Subscribed | null> | null;
}

export const PubSub = Class<RPCServiceClass<PubSub>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messagePublished = new primitives.Signal();
    this.messagesMissed = new primitives.Signal();
    this.presenceReceived = new primitives.Signal();
    this._subscriptions = new Map();
    this._turns = createTurns();
    this.notificationReceived.add(receive, this);
  },

  subscribe(params) {
    return subscribe(this, "subscribe", params);
  },
  join(params) {
    return subscribe(this, "join", params);
  },
  unsubscribe(params) {
    return unsubscribe(this, "unsubscribe", params);
  },
  leave(params) {
    return unsubscribe(this, "leave", params);
  },

  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    for (const subscription of this._subscriptions.values()) {
      // What was asked is rejected, or waits in the queue for the next connection.
      if (subscription.state !== "asked") subscription.state = "lost";
      subscription.restoring = null;
    }
  },

  _connectionOpened() {
    for (const [key, subscription] of this._subscriptions) {
      if (subscription.state === "lost") restore(this, key, subscription);
    }
  },
});

PubSub.addRPCMethods(["publish", "presence"]);

function receive(this: PubSub, notification: any): void {
  const { type, channel, position } = notification ?? {};
  if (position && channel !== undefined) {
    const subscription = this._subscriptions.get(canonical(channel));
    if (subscription) subscription.params.since = position;
  }
  if (type === "mark") {
    for (const { params, state } of this._subscriptions.values()) {
      if (params.since && state === "there") params.since = position;
    }
  }
  if (type === "unsubscribed") this._subscriptions.delete(canonical(channel));
  if (type === "missed") this.messagesMissed.dispatch(notification);
  if (type === "presence") this.presenceReceived.dispatch(notification);
  if (type !== "message") return;
  this.messagePublished.dispatch(notification);
  this.onMessagePublished?.(notification);
}

function subscribe(
  service: PubSub,
  command: string,
  params?: SubscribeParams,
): Promise<Subscribed | null> {
  const key = canonical(params?.channel);
  let subscription = service._subscriptions.get(key);
  if (subscription?.restoring) {
    // Pages that subscribe whenever they are connected must not hear "Already subscribed".
    const answer = subscription.restoring;
    subscription.restoring = null;
    return answer;
  }
  if (!subscription || subscription.state === "lost" || subscription.state === "unknown") {
    const { since } = subscription?.params ?? {};
    subscription = { params: { since, ...params! }, state: "asked", restoring: null };
    service._subscriptions.set(key, subscription);
  }
  const own = subscription;
  return service._turns
    ._take(
      key,
      true,
      () =>
        new primitives.Promise<Subscribed | null>((resolve, reject) =>
          service._call(
            command,
            own.params,
            (answer) => {
              resolve(answer);
              if (answer) recover(service, own.params, answer);
            },
            reject,
          ),
        ),
    )
    .then(
      (value) => {
        own.state = "there";
        return value;
      },
      (error) => {
        if (own.state === "asked") notMade(service, key, own, error);
        throw error;
      },
    );
}

/** What was missed comes before what is published from now on. */
function recover(service: PubSub, params: SubscribeParams, answer: Subscribed): void {
  params.since = answer.position;
  for (const each of answer.messages ?? []) receive.call(service, each);
  if (answer.recovered === false) {
    receive.call(service, { type: "missed", channel: params.channel, reason: answer.reason });
  }
}

function unsubscribe(service: PubSub, command: string, params?: ChannelParams): Promise<null> {
  const key = canonical(params?.channel);
  const known = service._subscriptions.get(key);
  service._subscriptions.delete(key);
  if (known?.state === "lost") return new primitives.Promise((resolve) => resolve(null));
  return service._turns._take(key, false, () => service.rpcCall<null>(command, params));
}

/** What the page wants holds, until it unsubscribes or the server refuses. */
function notMade(
  service: PubSub,
  key: string | undefined,
  subscription: Subscription,
  error: Error,
): void {
  if (isDisconnection(error)) subscription.state = "lost";
  else if (error instanceof ConnectionError) subscription.state = "unknown";
  else if (service._subscriptions.get(key) === subscription) service._subscriptions.delete(key);
}

function restore(service: PubSub, key: string | undefined, { params }: Subscription): void {
  const answer = subscribe(service, "subscribe", params);
  const subscription = service._subscriptions.get(key)!;
  subscription.restoring = answer;
  answer.then(
    () => {},
    (error) => {
      // The page's own subscribe is a new call from now on.
      if (subscription.restoring === answer) subscription.restoring = null;
      if (isDisconnection(error)) return; // the next connection tries again
      console.error(
        `Snorky: could not subscribe again to channel ${key} of service "${service.name}":`,
        error,
      );
    },
  );
}
