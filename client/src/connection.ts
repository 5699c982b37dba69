/**
 * The connection: made at once, made again when it ends, shared by all services.
 *
 * Knows sockets, time and the envelope. What messages mean is left to the services.
 */

import { delayMsAfter, isTerminal } from "./backoff.js";
import type { Class } from "./class.js";
import { ConnectionError, guard, textOf } from "./errors.js";
import { EMPTY, Heartbeat, isHeartbeat, SPACE, SUBPROTOCOL } from "./heartbeat.js";
import type { Disconnection, Host } from "./host.js";
import { defaultOptions, type SnorkyOptions, type Transport } from "./options.js";
import { Outbox, type Outgoing } from "./outbox.js";
import { type Primitives, primitives } from "./primitives.js";
import type { Service } from "./service.js";
import type { Signal, SignalClass } from "./signal.js";
import type { SocketClass, SocketLike } from "./socket.js";
import { now, Timer } from "./timer.js";
import { ask, checked, createRenewal, TOKEN_EXPIRED } from "./token.js";
import { known, type Transports } from "./transports.js";
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

  private readonly _outbox: Outbox;
  /** The one in use: of the class given, or like it. */
  private socket: SocketLike | null = null;
  private _heartbeat: Heartbeat | null = null;
  private readonly _connectTimer = new Timer();
  private readonly _reconnectTimer = new Timer();
  private _stopWakes: (() => void) | null = null;
  private _openedAt = 0;
  /** Reconnections since the last connection that lasted. */
  private _retries = 0;
  private readonly _transports: Transports;
  private _ignoresConnect = false;
  /** The attempt for which the page is asked for a token. */
  private _asking: object | null = null;
  private readonly _renewal = createRenewal(this);

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
    this._transports = new known._transports(this);
    this._outbox = new Outbox(this.options.maxQueuedMessages, this.options.maxQueuedBytes);
    for (const [name, Made] of Object.entries(services)) {
      if (typeof Made !== "function") {
        throw new TypeError(`Service "${name}": expected a class, got ${typeof Made}`);
      }
      (this.services as any)[name] = new Made(name, this);
    }
    this._attempt();
  }

  /** What it is connected by, or tries to be; null while it does neither. */
  get transport(): Transport | null {
    return this.isConnecting || this.isConnected ? this._transports._current! : null;
  }

  /** Connect now. Does nothing while connected or connecting. */
  connect(): void {
    if (this.isConnected || this.isConnecting) return;
    // Pages written before the client reconnected by itself connect again from `disconnected`.
    // The delay, or the wish of the server or of the page that we stay away, holds for them too.
    if (this._ignoresConnect) return;
    this._transports._reset();
    this._attemptAgain();
  }

  /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
  disconnect(): void {
    this._cancelReconnect();
    this._ignoreWakes();
    if (!this.isConnecting && !this.isConnected) return;
    this._retries = 0;
    this._release("disconnect()");
    // Later, so that it reaches those who listen only after they called this.
    Promise.resolve().then(() => this._announceDisconnected(1000, "", true));
  }

  /** Write to the console if `debug` is set. */
  logDebug(...args: unknown[]): void {
    if (this.debug) console.log("Snorky:", ...args);
  }

  /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
  _send(envelope: { service: string; message: unknown }): Outgoing {
    const text = JSON.stringify(envelope);
    // A socket that is closing says nothing of what it does not send any more.
    if (!this.isConnected || this.socket!.readyState! > 1) return this._outbox.add(text);

    const unsent = this.socket!.bufferedAmount ?? 0;
    if (unsent > this.options.maxQueuedBytes) {
      throw new ConnectionError(
        "overflow",
        `No room: ${unsent} bytes not sent (at most ${this.options.maxQueuedBytes})`,
      );
    }
    const outgoing: Outgoing = { text, sent: false };
    this._transmit(outgoing);
    return outgoing;
  }

  /** Throws where the page has made a mistake in what it gave us. */
  private _attempt(): void {
    this._cancelReconnect();
    const { token } = this.options;
    if (typeof token === "function") this._askAndOpen(token);
    else this._open(token ? checked(token) : "");
  }

  private _attemptAgain(): void {
    this._guarded(() => this._attempt());
  }

  /** A socket class may throw where it did not before. That is a failure like those of networks. */
  private _guarded(attempt: () => void): void {
    try {
      attempt();
    } catch (error) {
      this.isConnecting = true; // it has been tried
      this._dropped(1006, textOf(error));
    }
  }

  private _askAndOpen(give: () => string | Promise<string>): void {
    const asking = (this._asking = {});
    this._beginAttempt("no token", this.options.connectTimeout);
    ask(give).then(
      (token) => {
        if (this._asking !== asking) return;
        this._asking = null;
        this._guarded(() => this._open(token));
      },
      (error) => {
        if (this._asking === asking) this._dropped(1006, error.message);
      },
    );
  }

  private _open(token: string): void {
    const transports = this._transports;
    this.logDebug("Tries", transports._current, this.address);
    const socket = (this.socket = transports._make(token));
    this._beginAttempt("no connection", transports._timeLimit);

    socket.onopen = () => {
      if (socket.protocol !== SUBPROTOCOL || transports._isLast) return this._opened(token);
      // Some networks let the handshake pass and nothing after it. Where something else is left to
      // try, connected is what has brought a first message. Of these two one may be lost.
      this._beat(EMPTY);
      this._beat(SPACE);
    };
    socket.onmessage = ({ data }) => {
      if (!this.isConnected) this._opened(token);
      if (this.socket === socket) this._received(data);
    };
    socket.onclose = (event) => {
      const { code = 1006, reason = "", refused } = event ?? {};
      this._dropped(code, reason, refused);
    };
    socket.onerror = (event) => this.logDebug("Error", event?.message);
  }

  private _beginAttempt(failure: string, seconds: number): void {
    this.isConnecting = true;
    this._stopWakes ??= onWake((isRestored) => this._wake(isRestored));
    this._connectTimer.limit(seconds, () => this._dropped(1006, `${failure} within ${seconds} s`));
  }

  private _beat(text: string): void {
    try {
      if (this.socket) this._transmit({ text, sent: false });
    } catch {
      // The socket has been given up.
    }
  }

  private _opened(token: string): void {
    const socket = this.socket;
    this._transports._opened(socket!);
    this.logDebug("Connected");
    this._connectTimer.stop();
    this.isConnecting = false;
    this.isConnected = true;
    this._openedAt = now();
    const { heartbeatInterval, identityService, token: give } = this.options;
    if (socket!.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
      this._heartbeat = new Heartbeat(
        heartbeatInterval * 1000,
        (text) => this._beat(text),
        () => this._dropped(1006, "no answer to heartbeats"),
      );
    }

    if (identityService && typeof give === "function") {
      this._renewal._start(token, (next) => {
        if (socket!._token) socket!._token = next;
        const message = { command: "refresh", params: { token: next }, callId: RENEWAL };
        const text = JSON.stringify({ service: identityService, message });
        this._transmit({ text, sent: false }, "(a new token)");
      });
    }

    guard(() => this.connected.dispatch());
    guard(() => this.onConnected?.());
    // A listener may have disconnected.
    for (const service of this._allServices()) {
      if (this.socket === socket) guard(() => service._connectionOpened?.());
    }
    const { _outbox: outbox } = this;
    try {
      while (this.socket === socket && outbox.first) {
        this._transmit(outbox.first);
        outbox.removeFirst();
      }
    } catch {
      // It stays in the queue for the next connection.
    }
  }

  /** Throws ConnectionError where the socket refuses, and gives that socket up. */
  private _transmit(outgoing: Outgoing, shown = outgoing.text): void {
    const socket = this.socket;
    this.logDebug("Sent", shown);
    outgoing.sent = true; // first, as a socket may close while it is sending
    try {
      socket!.send(outgoing.text);
    } catch (error) {
      outgoing.sent = false;
      const why = `could not send: ${error}`;
      if (this.socket === socket) this._dropped(1006, why);
      throw new ConnectionError("disconnected", why);
    }
    outgoing.onSent?.();
  }

  private _received(data: any): void {
    this._heartbeat?.heard();
    if (isHeartbeat(data)) return;
    this.logDebug("Received", data);
    let envelope: any;
    try {
      envelope = JSON.parse(data);
    } catch {
      // It has no service either.
    }
    const { service: name, message } = envelope ?? {};
    if (name === this.options.identityService && message?.callId === RENEWAL) {
      this._renewal._answered(message);
    } else if (
      typeof name === "string" &&
      Object.hasOwn(this.services, name) &&
      message !== undefined
    ) {
      guard(() => this.services[name].packetReceived.dispatch(message));
    } else {
      console.error("Snorky: malformed, or for an unknown service:", data);
    }
  }

  /** The connection, or the attempt to make one, has ended without `disconnect`. */
  private _dropped(code: number, reason: string, refused?: number): void {
    if (this.isConnected && now() - this._openedAt >= this.options.maxReconnectDelay * 1000) {
      this._retries = 0;
    }
    const tries = this.isConnecting && !this._asking;
    this._release(`The connection was lost (${code}${reason && `: ${reason}`})`);

    const fallsBack = tries && this._transports._failed(refused);
    if (refused && this._transports._staysAway(refused)) code = NOT_AUTHENTICATED;
    const { token } = this.options;
    const needsToken = code === TOKEN_EXPIRED && token && typeof token === "string";
    const isFinal = isTerminal(code) || !!needsToken;
    const comesBack = !isFinal && (fallsBack || this.options.reconnect);
    if (comesBack)
      this._scheduleConnect(fallsBack ? 0 : delayMsAfter(this._retries++, this.options));
    else this._ignoreWakes();
    if (isFinal) {
      console.error(`Snorky: the server closed the connection for good (${code}: ${reason})`);
    }
    this._announceDisconnected(code, reason, comesBack || isFinal);
  }

  /** Let go of the socket: nothing it does from now on concerns us. */
  private _release(why: string): void {
    this.logDebug(why);
    const socket = this.socket;
    this.socket = this._asking = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // closing a socket that is connecting may be an error to it
      socket.close();
    }
    this._connectTimer.stop();
    this._renewal._stop();
    this._heartbeat?.stop();
    this._heartbeat = null;

    const wasConnected = this.isConnected;
    this.isConnected = this.isConnecting = false;
    if (!wasConnected) return;
    this._transports._closed();
    const error = new ConnectionError("disconnected", why);
    for (const service of this._allServices()) guard(() => service._connectionClosed?.(error));
  }

  private _announceDisconnected(code: number, reason: string, decided: boolean): void {
    const disconnection = { code, reason, nextAttempt: this.nextAttempt };
    this._ignoresConnect = decided;
    guard(() => this.disconnected.dispatch(disconnection));
    guard(() => this.onDisconnected?.(disconnection));
    this._ignoresConnect = false;
  }

  private _scheduleConnect(delayMs: number): void {
    this.nextAttempt = Math.round(Date.now() + delayMs);
    this._reconnectTimer.start(delayMs, () => this._attemptAgain());
  }

  private _cancelReconnect(): void {
    this._reconnectTimer.stop();
    this.nextAttempt = null;
  }

  private _wake(isRestored: boolean): void {
    if (isRestored && this.socket) this._dropped(1006, "the page was away");
    if (this.nextAttempt !== null) this._attemptAgain();
    else this._heartbeat?.probe();
    for (const service of this._allServices()) guard(() => service._woke?.());
  }

  private _ignoreWakes(): void {
    this._stopWakes?.();
    this._stopWakes = null;
  }

  private _allServices(): Service[] {
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
