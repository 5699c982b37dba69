/** The connection as its services see it. */

import type { SnorkyOptions, Transport } from "./options.js";
import type { Outgoing } from "./outbox.js";
import type { Signal } from "./signal.js";

/** Why a connection, or the attempt to make one, ended: handed to `disconnected`. */
export interface Disconnection {
  /** The WebSocket close code. 3500-3999 and 4500-4999: the server asks us not to come back. */
  code: number;
  reason: string;
  /** When the next attempt is made, as `Date.now()` counts; null: none is planned. */
  nextAttempt: number | null;
}

/** What a service calls `this.snorky`. */
export interface Host {
  readonly services: Record<string, any>;
  readonly options: Required<SnorkyOptions>;
  readonly isConnected: boolean;
  readonly isConnecting: boolean;
  readonly transport: Transport | null;
  readonly nextAttempt: number | null;
  readonly connected: Signal<[]>;
  readonly disconnected: Signal<[Disconnection]>;
  connect(): void;
  disconnect(): void;
  logDebug(...args: unknown[]): void;
  /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
  _send(envelope: { service: string; message: unknown }): Outgoing;
}
