/**
 * Messages from person to person, by name. Names end with the connection: register them in
 * `connected`.
 */

import { Class } from "../class.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { createTurns, type Turns } from "../turns.js";

export interface ParticipantMessage {
  type: "message";
  sender: string;
  dest: string;
  body: any;
}

export interface Messaging extends RPCService {
  messageReceived: Signal<[message: ParticipantMessage]>;
  /** Called beside `messageReceived`. */
  onParticipantMessage?: ((message: ParticipantMessage) => void) | null;
  /** One page may have several names. */
  registerParticipant(params: { name: string }): Promise<null>;
  unregisterParticipant(params: { name: string }): Promise<null>;
  /** The names of everybody, sorted. */
  listParticipants(): Promise<string[]>;
  /** `sender` is a name of this page's own. */
  send(params: { sender: string; dest: string; body: unknown }): Promise<null>;
  /** @internal By name. */
  _turns: Turns;
}

export const Messaging = Class<RPCServiceClass<Messaging>>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messageReceived = new primitives.Signal();
    this._turns = createTurns();
    this.notificationReceived.add(receive, this);
  },

  registerParticipant(params) {
    return this._turns._take(params?.name, true, () => this.rpcCall("registerParticipant", params));
  },
  unregisterParticipant(params) {
    return this._turns._take(params?.name, false, () =>
      this.rpcCall("unregisterParticipant", params),
    );
  },
});

Messaging.addRPCMethods(["listParticipants", "send"]);

function receive(this: Messaging, notification: any): void {
  if (notification?.type !== "message") return;
  this.messageReceived.dispatch(notification);
  this.onParticipantMessage?.(notification);
}
