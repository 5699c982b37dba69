/**
 * The connection: made at once, made again when it ends, shared by all services.
 *
 * Knows sockets, time and the envelope. What messages mean is left to the services.
 */

import { isTerminal, reconnectDelay } from "./backoff.js";
import { Class } from "./class.js";
import { CometSocket } from "./comet.js";
import { ConnectionError } from "./errors.js";
import { Heartbeat, SUBPROTOCOL } from "./heartbeat.js";
import { defaultOptions, type SnorkyOptions, type Transport } from "./options.js";
import { Outbox, type Outgoing } from "./outbox.js";
import type { Service } from "./service.js";
import { Signal, type SignalClass } from "./signal.js";
import { onWake } from "./wake.js";

/** What we use of a WebSocket, a SockJS connection or anything else with their interface. */
export interface SocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
  readonly protocol?: string;
  readonly bufferedAmount?: number;
}

export type SocketClass = new (address: string, protocols?: any) => SocketLike;
/** An ES6 class derived from a service will do. */
export type ServiceConstructor = new (name: string, snorky: Snorky) => Service;
export type ServiceClasses = Record<string, ServiceConstructor>;

/** Why a connection, or the attempt to make one, ended: handed to `disconnected`. */
export interface Disconnection {
  /** The WebSocket close code. 3500-3999 and 4500-4999: the server asks us not to come back. */
  code: number;
  reason: string;
  /** When the next attempt is made, as `Date.now()` counts; null: none is planned. */
  nextAttempt: number | null;
}

export class Snorky<S extends ServiceClasses = any> {
  // Read at each use, so that pages may replace them.
  static Signal: SignalClass = Signal;
  static Promise: PromiseConstructor = Promise;
  static Class: typeof Class = Class;

  /** Read at each attempt to connect. */
  address: string;
  /** May be undefined, as `window.WebSocket` may: then "websocket" does not work. */
  socketClass: SocketClass | undefined;
  readonly services = {} as { [Name in keyof S]: InstanceType<S[Name]> };
  readonly options: Required<SnorkyOptions>;
  debug: boolean;

  isConnected = false;
  /** A connection is being made right now. */
  isConnecting = false;
  /** When the next attempt is made, as `Date.now()` counts; null: none is planned. */
  nextAttempt: number | null = null;

  /** Dispatched at each connection, before anything queued is sent. */
  readonly connected: Signal<[]> = new Snorky.Signal();
  /** Dispatched when a connection, or an attempt to make one, has ended. */
  readonly disconnected: Signal<[Disconnection]> = new Snorky.Signal();
  /** Called beside `connected`. */
  onConnected?: (() => void) | null;
  /** Called beside `disconnected`. */
  onDisconnected?: ((disconnection: Disconnection) => void) | null;

  private readonly outbox: Outbox;
  private socket: SocketLike | null = null;
  private heartbeat: Heartbeat | null = null;
  private connectTimer: ReturnType<typeof setTimeout> | undefined;
  private reconnectTimer: ReturnType<typeof setTimeout> | undefined;
  private stopWakes: (() => void) | null = null;
  private openedAt = 0;
  /** Reconnections since the last connection that lasted. */
  private retries = 0;
  /** Attempts in a row that made no connection. */
  private failures = 0;
  private subprotocolWorks = false;
  /** The transport of this attempt, or of the next, in `options.transports`. */
  private transportIndex = 0;
  private ignoresConnect = false;

  constructor(
    SocketClass: SocketClass | undefined,
    address: string,
    services: S = {} as S,
    options: SnorkyOptions = {},
  ) {
    this.socketClass = SocketClass;
    this.address = address;
    this.options = { ...defaultOptions, ...options };
    this.debug = this.options.debug;
    this.outbox = new Outbox(this.options.maxQueuedMessages, this.options.maxQueuedBytes);
    for (const name of Object.keys(services) as (keyof S & string)[]) {
      this.services[name] = new services[name](name, this) as InstanceType<S[typeof name]>;
    }
    this.connect();
  }

  /** What it is connected by, or tries to be; null while it does neither. */
  get transport(): Transport | null {
    return this.socket && this.transports[this.transportIndex];
  }

  /** Those that can be tried. */
  private get transports(): Transport[] {
    return this.options.transports.filter((name) => name !== "websocket" || this.socketClass);
  }

  /** Connect now. Does nothing while connected or connecting. */
  connect(): void {
    if (this.isConnected || this.isConnecting) return;
    // Pages written before the client reconnected by itself connect again from `disconnected`.
    // The delay, or the wish of the server or of the page that we stay away, holds for them too.
    if (this.ignoresConnect) return;

    this.cancelReconnect();
    const socket = this.makeSocket();
    this.socket = socket;
    this.isConnecting = true;
    this.failures++;
    this.stopWakes ??= onWake(() => this.wake());

    socket.onopen = () => this.opened();
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = (event) => this.dropped(event?.code ?? 1006, event?.reason ?? "");
    socket.onerror = (event) => this.logDebug("Socket error", event);
    const { connectTimeout } = this.options;
    if (connectTimeout > 0) {
      this.connectTimer = setTimeout(
        () => this.dropped(1006, `no connection within ${connectTimeout} s`),
        connectTimeout * 1000,
      );
    }
  }

  /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
  disconnect(): void {
    this.cancelReconnect();
    this.ignoreWakes();
    if (!this.socket) return;
    this.retries = 0;
    this.release("The page disconnected");
    // Later, so that it reaches those who listen only after they called this.
    Promise.resolve().then(() => this.announceDisconnected(1000, "", true));
  }

  /** Write to the console if `debug` is set. */
  logDebug(...args: unknown[]): void {
    if (this.debug) console.log("Snorky:", ...args);
  }

  /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
  _send(envelope: { service: string; message: unknown }): Outgoing {
    const text = JSON.stringify(envelope);
    if (!this.isConnected) return this.outbox.add(text);

    const unsent = this.socket!.bufferedAmount ?? 0;
    if (unsent > this.options.maxQueuedBytes) {
      throw new ConnectionError(
        "overflow",
        `The connection is too slow: ${unsent} bytes wait to be sent ` +
          `(at most ${this.options.maxQueuedBytes})`,
      );
    }
    const outgoing: Outgoing = { text, sent: false };
    this.transmit(outgoing);
    return outgoing;
  }

  private makeSocket(): SocketLike {
    const { socketClass: SocketClass, address } = this;
    const transport = this.transports[this.transportIndex];
    if (!transport) throw new TypeError("Expected a socket class, or a transport without one");
    this.logDebug("Connecting to", address, "by", transport);
    if (transport !== "websocket" || !SocketClass) {
      return new CometSocket(
        this.options.cometAddress || cometBeside(address),
        transport === "sse",
      );
    }
    // Only the browser's own class is known to take a subprotocol there. Browsers refuse a server
    // that does not select it, and do not tell us why: so every other attempt goes without, and
    // once it has worked every fifth, in case the server was replaced by such a one.
    const period = this.subprotocolWorks ? 5 : 2;
    const asks =
      SocketClass === (globalThis.WebSocket as unknown) &&
      this.options.heartbeatInterval > 0 &&
      this.failures % period !== period - 1;
    return asks ? new SocketClass(address, SUBPROTOCOL) : new SocketClass(address);
  }

  private opened(): void {
    const { socket } = this;
    this.logDebug("Connected to", this.address);
    clearTimeout(this.connectTimer);
    this.isConnecting = false;
    this.isConnected = true;
    this.openedAt = Date.now();
    this.failures = 0;
    const { heartbeatInterval } = this.options;
    if (socket!.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
      this.subprotocolWorks = true;
      this.heartbeat = new Heartbeat(
        heartbeatInterval * 1000,
        () => socket!.send(""),
        () => this.dropped(1006, "no answer to heartbeats"),
      );
    }

    guard(() => this.connected.dispatch());
    guard(() => this.onConnected?.());
    // A listener may have disconnected.
    for (const service of this.allServices()) {
      if (this.socket === socket) guard(() => service._connectionOpened?.());
    }
    while (this.socket === socket) {
      const outgoing = this.outbox.first;
      if (!outgoing) break;
      try {
        this.transmit(outgoing);
      } catch {
        return; // it stays in the queue for the next connection
      }
      this.outbox.removeFirst();
    }
  }

  /** Throws ConnectionError where the socket refuses, and gives that socket up. */
  private transmit(outgoing: Outgoing): void {
    const { socket } = this;
    this.logDebug("Sent", outgoing.text);
    outgoing.sent = true; // first, as a socket may close while it is sending
    try {
      socket!.send(outgoing.text);
    } catch (error) {
      outgoing.sent = false;
      const why = `could not send: ${error}`;
      if (this.socket === socket) this.dropped(1006, why);
      throw new ConnectionError("disconnected", why);
    }
    outgoing.onSent?.();
  }

  private received(data: any): void {
    this.heartbeat?.heard();
    if (data === "") return; // a heartbeat
    this.logDebug("Received", data);
    let envelope: any;
    try {
      envelope = JSON.parse(data);
    } catch (error) {
      console.error("Snorky: the server sent something that is not JSON:", data, error);
      return;
    }
    const name = envelope?.service;
    if (typeof name !== "string" || !Object.hasOwn(envelope, "message")) {
      console.error("Snorky: the server sent a malformed message:", envelope);
    } else if (!Object.hasOwn(this.services, name)) {
      console.error(`Snorky: the server sent a message for unknown service "${name}":`, envelope);
    } else {
      guard(() => this.services[name].packetReceived.dispatch(envelope.message));
    }
  }

  /** The connection, or the attempt to make one, has ended without `disconnect`. */
  private dropped(code: number, reason: string): void {
    if (this.isConnected && Date.now() - this.openedAt >= this.options.maxReconnectDelay * 1000) {
      this.retries = 0;
    }
    const tries = this.isConnecting;
    this.release(`The connection was lost (${code}${reason && `: ${reason}`})`);

    const fallsBack = tries && this.fallBack(code);
    const comesBack = fallsBack || (this.options.reconnect && !isTerminal(code));
    if (fallsBack) this.scheduleConnect(0);
    else if (comesBack) this.scheduleReconnect();
    else this.ignoreWakes();
    if (isTerminal(code)) {
      console.error(`Snorky: the server closed the connection for good (${code}: ${reason})`);
    }
    this.announceDisconnected(code, reason, comesBack || isTerminal(code));
  }

  /** Let go of the socket: nothing it does from now on concerns us. */
  private release(why: string): void {
    this.logDebug(why);
    const socket = this.socket!;
    this.socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // closing a socket that is connecting may be an error to it
    socket.close();
    clearTimeout(this.connectTimer);
    this.heartbeat?.stop();
    this.heartbeat = null;

    const wasConnected = this.isConnected;
    this.isConnected = this.isConnecting = false;
    if (!wasConnected) return;
    const error = new ConnectionError("disconnected", why);
    for (const service of this.allServices()) guard(() => service._connectionClosed?.(error));
  }

  private announceDisconnected(code: number, reason: string, decided: boolean): void {
    const disconnection = { code, reason, nextAttempt: this.nextAttempt };
    this.ignoresConnect = decided;
    guard(() => this.disconnected.dispatch(disconnection));
    guard(() => this.onDisconnected?.(disconnection));
    this.ignoresConnect = false;
  }

  /**
   * An attempt has failed: move on to the next transport. False where all have been tried; then
   * all are again. What has worked is the first to be tried after it ends.
   */
  private fallBack(code: number): boolean {
    const isLast = this.transportIndex + 1 >= this.transports.length;
    this.transportIndex = isLast ? 0 : this.transportIndex + 1;
    return !isLast && !isTerminal(code);
  }

  private scheduleReconnect(): void {
    const { minReconnectDelay, maxReconnectDelay } = this.options;
    const delayMs = reconnectDelay(this.retries++, minReconnectDelay, maxReconnectDelay) * 1000;
    this.scheduleConnect(delayMs);
  }

  private scheduleConnect(delayMs: number): void {
    this.nextAttempt = Math.round(Date.now() + delayMs);
    this.reconnectTimer = setTimeout(() => this.connect(), delayMs);
  }

  private cancelReconnect(): void {
    clearTimeout(this.reconnectTimer);
    this.nextAttempt = null;
  }

  private wake(): void {
    if (this.nextAttempt !== null) this.connect();
    else this.heartbeat?.probe();
  }

  private ignoreWakes(): void {
    this.stopWakes?.();
    this.stopWakes = null;
  }

  private allServices(): Service[] {
    return Object.values(this.services);
  }
}

/** The address of Comet beside that of the WebSocket. */
function cometBeside(address: string): string {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
  return url.href;
}

/** Run code of the page: its errors are its own and must not stop ours. */
function guard(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    console.error(error);
  }
}
