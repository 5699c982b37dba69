/**
 * Channels with members, and who of them is there. Memberships end with the connection: join in
 * `connected`.
 */

import { Class } from "../class.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { canonical } from "../json.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { createTurns, type Turns } from "../turns.js";

/** A channel is any JSON value, usually a string. */
export interface ChatParams {
  channel: unknown;
}

export interface ChatMessage {
  type: "message";
  /** The identity that sent it, which may be the page's own. */
  from: any;
  channel: any;
  body: any;
  /** ISO 8601, with a zone. */
  timestamp: string;
}

/** The first connection of an identity joined, or its last one left. */
export interface ChatPresence {
  type: "presence";
  from: any;
  channel: any;
  status: "joined" | "left";
  timestamp: string;
}

/** The same identity has read the channel in another window. */
export interface ChatRead {
  type: "read";
  channel: any;
  timestamp: string;
}

export interface Chat extends RPCService {
  messageReceived: Signal<[message: ChatMessage]>;
  presenceReceived: Signal<[presence: ChatPresence]>;
  readReceived: Signal<[read: ChatRead]>;
  /** Resolved with the identities that are there, one's own included. */
  join(params: ChatParams): Promise<{ members: any[] }>;
  leave(params: ChatParams): Promise<null>;
  send(params: ChatParams & { body: unknown }): Promise<null>;
  /** Tell the other windows of the same identity that it has read the channel. */
  read(params: ChatParams): Promise<null>;
  /** @internal By channel. */
  _turns: Turns;
}

export const Chat = Class<RPCServiceClass<Chat>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messageReceived = new primitives.Signal();
    this.presenceReceived = new primitives.Signal();
    this.readReceived = new primitives.Signal();
    this._turns = createTurns();
    this.notificationReceived.add(receive, this);
  },

  join(params) {
    return this._turns._take(canonical(params?.channel), true, () => this.rpcCall("join", params));
  },
  leave(params) {
    return this._turns._take(canonical(params?.channel), false, () =>
      this.rpcCall("leave", params),
    );
  },
});

Chat.addRPCMethods(["send", "read"]);

function receive(this: Chat, notification: any): void {
  switch (notification?.type) {
    case "message":
      this.messageReceived.dispatch(notification);
      break;
    case "presence":
      this.presenceReceived.dispatch(notification);
      break;
    case "read":
      this.readReceived.dispatch(notification);
      break;
  }
}
