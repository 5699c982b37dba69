/**
 * The connection: made at once, made again when it ends, shared by all services.
 *
 * Knows sockets, time and the envelope. What messages mean is left to the services.
 */

import { isTerminal, reconnectDelay } from "./backoff.js";
import type { Class } from "./class.js";
import { CometSocket } from "./comet.js";
import { ConnectionError, textOf } from "./errors.js";
import { EMPTY, Heartbeat, isHeartbeat, SPACE, SUBPROTOCOL } from "./heartbeat.js";
import type { Disconnection, Host } from "./host.js";
import { defaultOptions, type SnorkyOptions, type Transport } from "./options.js";
import { Outbox, type Outgoing } from "./outbox.js";
import { type Primitives, primitives } from "./primitives.js";
import type { Service } from "./service.js";
import type { Signal, SignalClass } from "./signal.js";
import type { SocketClass, SocketLike } from "./socket.js";
import { cometSocket, webSocket } from "./sockets.js";
import { now, Timer } from "./timer.js";
import { ask, checked, Renewal, TOKEN_EXPIRED } from "./token.js";
import { onWake } from "./wake.js";

/** An ES6 class derived from a service will do. */
export type ServiceConstructor = new (name: string, snorky: Snorky<any>) => Service;
export type ServiceClasses = Record<string, ServiceConstructor>;

/** Of the calls that bring new tokens; those of the page's services are numbers. */
const RENEWAL = "renewal";
/** The server does not know the page's user: the code that its own handler closes with. */
const NOT_AUTHENTICATED = 3501;

export class Snorky<S extends ServiceClasses = any> implements Host {
  // Pages may replace them: see below.
  declare static Signal: SignalClass;
  declare static Promise: PromiseConstructor;
  declare static Class: typeof Class;

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
  readonly connected: Signal<[]> = new primitives.Signal();
  /** Dispatched when a connection, or an attempt to make one, has ended. */
  readonly disconnected: Signal<[Disconnection]> = new primitives.Signal();
  /** Called beside `connected`. */
  onConnected?: (() => void) | null;
  /** Called beside `disconnected`. */
  onDisconnected?: ((disconnection: Disconnection) => void) | null;

  private readonly outbox: Outbox;
  private socket: SocketLike | null = null;
  private heartbeat: Heartbeat | null = null;
  private readonly connectTimer = new Timer();
  private readonly reconnectTimer = new Timer();
  private stopWakes: (() => void) | null = null;
  private openedAt = 0;
  /** Reconnections since the last connection that lasted. */
  private retries = 0;
  /** Attempts in a row that made no connection. */
  private failures = 0;
  private subprotocolWorks = false;
  /** The transport of this attempt, or of the next, in `options.transports`. */
  private transportIndex = 0;
  /** What opened last: it gets more time than the others. */
  private worked: Transport | undefined;
  private websocketWorks = false;
  /** Those that the server has refused for good, until the page connects again. */
  private readonly refused = new Set<Transport>();
  private ignoresConnect = false;
  /** The attempt for which the page is asked for a token. */
  private asking: object | null = null;
  private readonly renewal: Renewal;

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
    this.renewal = new Renewal({
      give: () => (this.options.token as () => string)(),
      retryDelay: (failures) => this.delayAfter(failures),
      answerTimeout: this.options.callTimeout,
      log: (text) => this.logDebug(text),
    });
    for (const name of Object.keys(services) as (keyof S & string)[]) {
      if (typeof services[name] !== "function") {
        throw new TypeError(`Service "${name}": expected a class, got ${typeof services[name]}`);
      }
      this.services[name] = new services[name](name, this) as InstanceType<S[typeof name]>;
    }
    this.attempt();
  }

  /** What it is connected by, or tries to be; null while it does neither. */
  get transport(): Transport | null {
    return this.isConnecting || this.isConnected ? this.candidate! : null;
  }

  /** Those that can be tried. */
  private get transports(): Transport[] {
    return this.options.transports.filter(
      (name) => !this.refused.has(name) && (name !== "websocket" || this.socketClass),
    );
  }

  private get candidate(): Transport | undefined {
    return this.transports[this.transportIndex];
  }

  /** Connect now. Does nothing while connected or connecting. */
  connect(): void {
    if (this.isConnected || this.isConnecting) return;
    // Pages written before the client reconnected by itself connect again from `disconnected`.
    // The delay, or the wish of the server or of the page that we stay away, holds for them too.
    if (this.ignoresConnect) return;
    this.refused.clear();
    this.attemptAgain();
  }

  /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
  disconnect(): void {
    this.cancelReconnect();
    this.ignoreWakes();
    if (!this.isConnecting && !this.isConnected) return;
    this.retries = 0;
    this.release("disconnect()");
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
        `Too slow: ${unsent} bytes not sent yet ` + `(at most ${this.options.maxQueuedBytes})`,
      );
    }
    const outgoing: Outgoing = { text, sent: false };
    this.transmit(outgoing);
    return outgoing;
  }

  /** Throws where the page has made a mistake in what it gave us. */
  private attempt(): void {
    this.cancelReconnect();
    const { token } = this.options;
    if (typeof token === "function") this.askAndOpen(token);
    else this.open(token ? checked(token) : "");
  }

  private attemptAgain(): void {
    this.guarded(() => this.attempt());
  }

  /** A socket class may throw where it did not before. That is a failure like those of networks. */
  private guarded(attempt: () => void): void {
    try {
      attempt();
    } catch (error) {
      this.isConnecting = true; // it has been tried
      this.dropped(1006, textOf(error));
    }
  }

  private askAndOpen(give: () => string | Promise<string>): void {
    const asking = (this.asking = {});
    this.beginAttempt("no token", this.options.connectTimeout);
    ask(give).then(
      (token) => {
        if (this.asking !== asking) return;
        this.asking = null;
        this.guarded(() => this.open(token));
      },
      (error) => {
        if (this.asking === asking) this.dropped(1006, error.message);
      },
    );
  }

  private open(token: string): void {
    const socket = this.makeSocket(token);
    this.socket = socket;
    this.failures++;
    this.beginAttempt("no connection", this.timeLimit());

    socket.onopen = () => {
      if (socket.protocol !== SUBPROTOCOL || this.isLast) return this.opened(token);
      // Some networks let the handshake pass and nothing after it. Where something else is left to
      // try, connected is what has brought a first message. Of these two one may be lost.
      this.beat(EMPTY);
      this.beat(SPACE);
    };
    socket.onmessage = ({ data }) => {
      if (!this.isConnected) this.opened(token);
      if (this.socket === socket) this.received(data);
    };
    socket.onclose = (event) => {
      const { code = 1006, reason = "", refused } = event ?? {};
      this.dropped(code, reason, refused);
    };
    socket.onerror = (event) => this.logDebug("Error", event?.message);
  }

  private beginAttempt(failure: string, seconds: number): void {
    this.isConnecting = true;
    this.stopWakes ??= onWake((isRestored) => this.wake(isRestored));
    this.connectTimer.start((seconds || Infinity) * 1000, () =>
      this.dropped(1006, `${failure} within ${seconds} s`),
    );
  }

  private beat(text: string): void {
    try {
      if (this.socket) this.transmit({ text, sent: false });
    } catch {
      // The socket has been given up.
    }
  }

  /** For the transport that is tried now; 0 = any time. */
  private timeLimit(): number {
    const { connectTimeout, fallbackTimeout } = this.options;
    if (this.isLast || this.worked === this.candidate || !fallbackTimeout) return connectTimeout;
    return Math.min(connectTimeout || Infinity, fallbackTimeout);
  }

  private makeSocket(token: string): SocketLike {
    const { socketClass, address, options } = this;
    const transport = this.candidate;
    if (!transport) throw new TypeError("Expected a socket class");
    this.logDebug("Tries", address, "by", transport);
    if (transport !== "websocket" || !socketClass) {
      return cometSocket(options.cometAddress, address, transport === "sse", token);
    }
    // Browsers refuse a server that does not select the subprotocol, and do not tell us why: so
    // every other attempt goes without, and once it has worked every fifth, in case the server was
    // replaced by such a one.
    const period = this.subprotocolWorks ? 5 : 2;
    const asks = options.heartbeatInterval > 0 && this.failures % period !== period - 1;
    return webSocket(socketClass, address, asks, token);
  }

  private opened(token: string): void {
    const { socket } = this;
    this.worked = this.candidate;
    this.websocketWorks ||= this.worked === "websocket";
    this.logDebug("Connected");
    this.connectTimer.stop();
    this.isConnecting = false;
    this.isConnected = true;
    this.openedAt = now();
    this.failures = 0;
    const { heartbeatInterval } = this.options;
    if (socket!.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
      this.subprotocolWorks = true;
      this.heartbeat = new Heartbeat(
        heartbeatInterval * 1000,
        (text) => this.beat(text),
        () => this.dropped(1006, "no answer to heartbeats"),
      );
    }

    const { identityService } = this.options;
    if (identityService && typeof this.options.token === "function") {
      this.renewal.start(token, (next) => {
        if (socket instanceof CometSocket) socket.token = next;
        const message = { command: "refresh", params: { token: next }, callId: RENEWAL };
        const text = JSON.stringify({ service: identityService, message });
        this.transmit({ text, sent: false }, "(a new token)");
      });
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
  private transmit(outgoing: Outgoing, shown = outgoing.text): void {
    const { socket } = this;
    this.logDebug("Sent", shown);
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
    if (isHeartbeat(data)) return;
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
    } else if (name === this.options.identityService && envelope.message?.callId === RENEWAL) {
      this.renewal.answered(envelope.message);
    } else if (!Object.hasOwn(this.services, name)) {
      console.error(`Snorky: the server sent a message for unknown service "${name}":`, envelope);
    } else {
      guard(() => this.services[name].packetReceived.dispatch(envelope.message));
    }
  }

  /** The connection, or the attempt to make one, has ended without `disconnect`. */
  private dropped(code: number, reason: string, refused?: number): void {
    if (this.isConnected && now() - this.openedAt >= this.options.maxReconnectDelay * 1000) {
      this.retries = 0;
    }
    const tries = this.isConnecting && !this.asking;
    this.release(`The connection was lost (${code}${reason && `: ${reason}`})`);

    const fallsBack = tries && this.fallBack(refused);
    if (refused && this.staysAway(refused)) code = NOT_AUTHENTICATED;
    const { token } = this.options;
    const needsToken = code === TOKEN_EXPIRED && token && typeof token === "string";
    const isFinal = isTerminal(code) || !!needsToken;
    const comesBack = !isFinal && (fallsBack || this.options.reconnect);
    if (comesBack) this.scheduleConnect(fallsBack ? 0 : this.delayAfter(this.retries++) * 1000);
    else this.ignoreWakes();
    if (isFinal) {
      console.error(`Snorky: the server closed the connection for good (${code}: ${reason})`);
    }
    this.announceDisconnected(code, reason, comesBack || isFinal);
  }

  /**
   * Whether to stay away after this answer to an attempt by plain HTTP. Not while a WebSocket may get through
   * that did so before: then a proxy may have answered. Nor where the page gives another token.
   */
  private staysAway(status: number): boolean {
    const { transports } = this;
    if (transports.length === 0) return true;
    if (status === 404 || (this.websocketWorks && transports.includes("websocket"))) return false;
    return status === 403 || typeof this.options.token !== "function";
  }

  /** Let go of the socket: nothing it does from now on concerns us. */
  private release(why: string): void {
    this.logDebug(why);
    const { socket } = this;
    this.socket = this.asking = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // closing a socket that is connecting may be an error to it
      socket.close();
    }
    this.connectTimer.stop();
    this.renewal.stop();
    this.heartbeat?.stop();
    this.heartbeat = null;

    const wasConnected = this.isConnected;
    this.isConnected = this.isConnecting = false;
    if (!wasConnected) return;
    if (this.websocketWorks) {
      this.transportIndex = Math.max(0, this.transports.indexOf("websocket"));
    }
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
   * all are again. When a connection ends, a WebSocket is tried first if one has ever worked,
   * else what worked.
   */
  private fallBack(refused?: number): boolean {
    const { isLast } = this;
    const isGone = refused && (refused === 404 || this.websocketWorks);
    if (isGone) this.refused.add(this.candidate!);
    if (isLast) this.transportIndex = 0;
    else if (!isGone) this.transportIndex++;
    return !isLast;
  }

  /** No other transport is left to try in this round. */
  private get isLast(): boolean {
    return this.transportIndex + 1 >= this.transports.length;
  }

  private delayAfter(failures: number): number {
    const { minReconnectDelay, maxReconnectDelay } = this.options;
    return reconnectDelay(failures, minReconnectDelay, maxReconnectDelay);
  }

  private scheduleConnect(delayMs: number): void {
    this.nextAttempt = Math.round(Date.now() + delayMs);
    this.reconnectTimer.start(delayMs, () => this.attemptAgain());
  }

  private cancelReconnect(): void {
    this.reconnectTimer.stop();
    this.nextAttempt = null;
  }

  private wake(isRestored: boolean): void {
    if (isRestored && this.socket) this.dropped(1006, "the page was away");
    if (this.nextAttempt !== null) this.attemptAgain();
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

/** Signals and promises are read at each use. */
for (const name of Object.keys(primitives) as (keyof Primitives)[]) {
  Object.defineProperty(Snorky, name, {
    get: () => primitives[name],
    set: (value) => (primitives[name] = value),
    enumerable: true,
    configurable: true,
  });
}

/** Run code of the page: its errors are its own and must not stop ours. */
function guard(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    console.error(error);
  }
}
