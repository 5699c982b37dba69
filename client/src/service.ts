/**
 * The browser's end of one service: messages go out and come in. What they mean is up to
 * subclasses.
 */

import { Class, type ES5Class } from "./class.js";
import type { ConnectionError } from "./errors.js";
import type { Host } from "./host.js";
import type { Outgoing } from "./outbox.js";
import { primitives } from "./primitives.js";
import type { Signal } from "./signal.js";

export interface Service {
  readonly name: string;
  readonly snorky: Host;
  /** Dispatched with each message the service's other end sends. */
  packetReceived: Signal<[message: any]>;
  /** For subclasses: called once, when everything else is set up. */
  init(): void;
  /**
   * Send any JSON value. Waits in the queue while there is no connection; throws
   * ConnectionError where the queue is full.
   */
  sendMessage(message: unknown): Outgoing;

  /** @internal State belongs here, not into `init`, which users override. */
  _setUp(): void;
  /** @internal `connected` has been dispatched; the queue has not been sent yet. */
  _connectionOpened?(): void;
  /** @internal Before `disconnected` is dispatched. */
  _connectionClosed?(error: ConnectionError): void;
  /** @internal While there is to be a connection: somebody may be looking again. */
  _woke?(): void;
}

export type ServiceClass<T extends Service = Service> = ES5Class<T, [name: string, snorky: Host]>;

export const Service = Class<ServiceClass>({
  constructor(name, snorky) {
    if (!name || !snorky) throw new Error("Bad arguments for service constructor");
    Object.assign(this, { name, snorky, packetReceived: new primitives.Signal() });
    this._setUp();
    this.init();
  },

  init() {},

  sendMessage(message) {
    return this.snorky._send({ service: this.name, message });
  },

  _setUp() {},
});
