/**
 * Channels with members, and who of them is there. Memberships end with the connection: join in
 * `connected`.
 */

import { Class } from "../class.js";
import { Snorky } from "../connection.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import type { Signal } from "../signal.js";
import type { ChannelParams } from "./pubsub.js";

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
  join(params: ChannelParams): Promise<{ members: any[] }>;
  leave(params: ChannelParams): Promise<null>;
  send(params: ChannelParams & { body: unknown }): Promise<null>;
  /** Tell the other windows of the same identity that it has read the channel. */
  read(params: ChannelParams): Promise<null>;
}

export const Chat = Class<RPCServiceClass<Chat>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messageReceived = new Snorky.Signal();
    this.presenceReceived = new Snorky.Signal();
    this.readReceived = new Snorky.Signal();
    this.notificationReceived.add(receive, this);
  },
});

Chat.addRPCMethods(["join", "leave", "send", "read"]);

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
