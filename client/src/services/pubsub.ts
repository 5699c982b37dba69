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

export interface PublishedMessage {
  type: "message";
  channel: any;
  message: any;
}

export interface PubSub extends RPCService {
  messagePublished: Signal<[message: PublishedMessage]>;
  /** Called beside `messagePublished`. */
  onMessagePublished?: ((message: PublishedMessage) => void) | null;
  publish(params: ChannelParams & { message: unknown }): Promise<null>;
  /**
   * Lasts until `unsubscribe`, also over reconnections. Also where the connection ended before
   * the answer: then this is rejected, but the next connection makes the subscription.
   */
  subscribe(params: ChannelParams): Promise<null>;
  unsubscribe(params: ChannelParams): Promise<null>;
  /** The same as `subscribe`. */
  join(params: ChannelParams): Promise<null>;
  /** The same as `unsubscribe`. */
  leave(params: ChannelParams): Promise<null>;
  /** @internal Those that the page wants, by channel. */
  _subscriptions: Map<string | undefined, Subscription>;
  /** @internal By channel. */
  _turns: Turns;
}

interface Subscription {
  params: ChannelParams;
  /**
   * `asked`: the page's own call is under way. `there`: the server has said yes. `lost`: it ended
   * with the connection and has not been made again yet. `unknown`: there was no answer.
   */
  state: "asked" | "there" | "lost" | "unknown";
  /** The answer to making it again, until the page asks for the same and gets it. */
  restoring: Promise<null> | null;
}

export const PubSub = Class<RPCServiceClass<PubSub>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messagePublished = new primitives.Signal();
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

PubSub.addRPCMethods(["publish"]);

function receive(this: PubSub, notification: any): void {
  if (notification?.type !== "message") return;
  this.messagePublished.dispatch(notification);
  this.onMessagePublished?.(notification);
}

function subscribe(service: PubSub, command: string, params?: ChannelParams): Promise<null> {
  const key = canonical(params?.channel);
  let subscription = service._subscriptions.get(key);
  if (subscription?.restoring) {
    // Pages that subscribe whenever they are connected must not hear "Already subscribed".
    const answer = subscription.restoring;
    subscription.restoring = null;
    return answer;
  }
  if (!subscription || subscription.state === "lost" || subscription.state === "unknown") {
    subscription = { params: { ...params! }, state: "asked", restoring: null };
    service._subscriptions.set(key, subscription);
  }
  const own = subscription;
  return service._turns
    ._take(key, true, () => service.rpcCall<null>(command, params))
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
