/**
 * Channels to publish on and to subscribe to. Subscriptions outlive the connection.
 */

import { Class } from "../class.js";
import { Snorky } from "../connection.js";
import { ConnectionError } from "../errors.js";
import { canonical } from "../json.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import type { Signal } from "../signal.js";

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
  /** Lasts until `unsubscribe`, also over reconnections. */
  subscribe(params: ChannelParams): Promise<null>;
  unsubscribe(params: ChannelParams): Promise<null>;
  /** The same as `subscribe`. */
  join(params: ChannelParams): Promise<null>;
  /** The same as `unsubscribe`. */
  leave(params: ChannelParams): Promise<null>;
  /** @internal By channel. */
  _subscriptions: Map<string | undefined, Subscription>;
}

interface Subscription {
  params: ChannelParams;
  /** It ended with the connection and has not been made again yet. */
  lost: boolean;
  /** The answer to making it again, until the page asks for the same and gets it. */
  restoring: Promise<null> | null;
}

export const PubSub = Class<RPCServiceClass<PubSub>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messagePublished = new Snorky.Signal();
    this._subscriptions = new Map();
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
      subscription.lost = true;
      subscription.restoring = null;
    }
  },

  _connectionOpened() {
    for (const [key, subscription] of this._subscriptions) {
      if (subscription.lost) restore(this, key, subscription);
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
  const known = service._subscriptions.get(key);
  if (known?.restoring) {
    // Pages that subscribe whenever they are connected must not hear "Already subscribed".
    const answer = known.restoring;
    known.restoring = null;
    return answer;
  }
  // The page is quicker than we: its own call decides.
  if (known?.lost) service._subscriptions.delete(key);
  // One promise: a refusal that the page does not handle is reported by the browser.
  return service.rpcCall<null>(command, params).then((value) => {
    service._subscriptions.set(key, { params: { ...params! }, lost: false, restoring: null });
    return value;
  });
}

function unsubscribe(service: PubSub, command: string, params?: ChannelParams): Promise<null> {
  const key = canonical(params?.channel);
  const known = service._subscriptions.get(key);
  service._subscriptions.delete(key);
  if (known?.lost) return new Snorky.Promise((resolve) => resolve(null));
  return service.rpcCall<null>(command, params).then((value) => {
    service._subscriptions.delete(key);
    return value;
  });
}

function restore(service: PubSub, key: string | undefined, subscription: Subscription): void {
  subscription.lost = false;
  const answer = service.rpcCall<null>("subscribe", subscription.params);
  subscription.restoring = answer;
  answer.then(
    () => {},
    (error) => {
      // The page's own subscribe is a new call from now on.
      if (subscription.restoring === answer) subscription.restoring = null;
      if (error.reason === "disconnected") return; // the next connection tries again
      if (!(error instanceof ConnectionError)) service._subscriptions.delete(key);
      console.error(
        `Snorky: could not subscribe again to channel ${key} of service "${service.name}":`,
        error,
      );
    },
  );
}
