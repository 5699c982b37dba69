/*! Snorky 1.0.0-dev.0 | MPL-2.0 */
"use strict";
(() => {
  // src/backoff.ts
  var SHORTEST_DELAY = 0.1;
  function reconnectDelay(attempt, minDelay, maxDelay, random = Math.random) {
    const bound = Math.min(maxDelay, minDelay * 2 ** attempt) || SHORTEST_DELAY;
    const shortest = Math.min(SHORTEST_DELAY, bound);
    return shortest + random() * (bound - shortest);
  }
  function delayMsAfter(failures, options) {
    const { minReconnectDelay, maxReconnectDelay } = options;
    return reconnectDelay(failures, minReconnectDelay, maxReconnectDelay) * 1e3;
  }
  function isTerminal(code) {
    return code >= 3500 && code < 5e3 && code % 1e3 >= 500;
  }

  // src/errors.ts
  var ConnectionError = class extends Error {
    constructor(reason, message) {
      super(message);
      this.reason = reason;
      this.name = "ConnectionError";
    }
  };
  function isDisconnection(error) {
    return error instanceof ConnectionError && error.reason === "disconnected";
  }
  function textOf(error) {
    return `${error?.message ?? error}`;
  }
  function guard(callback) {
    try {
      callback();
    } catch (error) {
      console.error(error);
    }
  }

  // src/timer.ts
  var LONGEST_MS = 2 ** 31 - 1;
  function now() {
    return (globalThis.performance ?? Date).now();
  }
  var Timer = class {
    /** Call `done` after so long, and not what was asked for before. Infinity: never. */
    start(delayMs, done) {
      this.stop();
      if (delayMs <= LONGEST_MS) {
        this._handle = setTimeout(done, delayMs);
      } else if (delayMs < Infinity) {
        this._handle = setTimeout(() => this.start(delayMs - LONGEST_MS, done), LONGEST_MS);
      }
    }
    /** The same for a limit in seconds that the page has set. 0: never. */
    limit(seconds, done) {
      this.start((seconds || Infinity) * 1e3, done);
    }
    stop() {
      clearTimeout(this._handle);
    }
  };

  // src/heartbeat.ts
  var SUBPROTOCOL = "snorky";
  var MAX_UNANSWERED = 2;
  var PROBE_TIMEOUT_MS = 5e3;
  var EMPTY = "";
  var SPACE = " ";
  function isHeartbeat(data) {
    return data === EMPTY || data === SPACE;
  }
  var Heartbeat = class {
    /** `beat` sends a heartbeat; `dead` is called once, when too many remain unanswered. */
    constructor(_intervalMs, _beat, _dead) {
      this._intervalMs = _intervalMs;
      this._beat = _beat;
      this._dead = _dead;
      this._lastHeard = now();
      this._unanswered = 0;
      this._timer = new Timer();
      // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
      // hidden pages late, and those of a sleeping machine not at all.
      this._tick = () => {
        const silenceMs = now() - this._lastHeard;
        if (this._unanswered >= MAX_UNANSWERED) {
          this._dead();
        } else if (silenceMs < this._intervalMs) {
          this._timer.start(this._intervalMs - silenceMs, this._tick);
        } else {
          this._timer.start(this._intervalMs, this._tick);
          this._beat(this._unanswered++ ? SPACE : EMPTY);
        }
      };
      this._timer.start(_intervalMs, this._tick);
    }
    /** Something came from the server. Called for every message: it starts no timer. */
    heard() {
      this._lastHeard = now();
      this._unanswered = 0;
    }
    /** Ask now: the machine may have slept, or changed networks. */
    probe() {
      this._unanswered = MAX_UNANSWERED;
      this._timer.start(Math.min(this._intervalMs, PROBE_TIMEOUT_MS), this._tick);
      this._beat(EMPTY);
      this._beat(SPACE);
    }
    stop() {
      this._timer.stop();
    }
  };

  // src/options.ts
  var defaultOptions = {
    debug: false,
    transports: ["websocket"],
    cometAddress: "",
    token: "",
    identityService: "identity",
    reconnect: true,
    minReconnectDelay: 0.5,
    maxReconnectDelay: 20,
    connectTimeout: 20,
    fallbackTimeout: 5,
    callTimeout: 90,
    heartbeatInterval: 25,
    maxQueuedMessages: 1e3,
    maxQueuedBytes: 1024 * 1024
  };

  // src/outbox.ts
  var Outbox = class {
    constructor(_maxMessages, _maxBytes) {
      this._maxMessages = _maxMessages;
      this._maxBytes = _maxBytes;
      this._messages = [];
      this._bytes = 0;
    }
    /** Keep a message for later. Throws ConnectionError where it does not fit. */
    add(text2) {
      const { _maxMessages: maxMessages, _maxBytes: maxBytes } = this;
      const bytes = byteLength(text2);
      if (this._messages.length >= maxMessages || this._bytes + bytes > maxBytes) {
        throw new ConnectionError(
          "overflow",
          `No room: ${this._messages.length} messages (at most ${maxMessages}) and ${this._bytes} + ${bytes} bytes (at most ${maxBytes})`
        );
      }
      const outgoing = { text: text2, sent: false };
      this._messages.push(outgoing);
      this._bytes += bytes;
      return outgoing;
    }
    /** The oldest message; undefined when there is none. */
    get first() {
      return this._messages[0];
    }
    /** Drop the oldest message. */
    removeFirst() {
      const outgoing = this._messages.shift();
      if (outgoing) this._bytes -= byteLength(outgoing.text);
    }
  };
  function byteLength(text2) {
    return encodeURIComponent(text2).replace(/%../g, "x").length;
  }

  // src/class.ts
  function Class(...parts2) {
    const body = parts2.pop();
    const Base = parts2.shift();
    const made = constructorFrom(body, Base ?? Object);
    if (Base) {
      Object.setPrototypeOf(made, Base);
      made.Super = Base;
    }
    made.prototype = Object.create((Base ?? Object).prototype, {
      constructor: { value: made, writable: true, configurable: true }
    });
    define(made.prototype, body, (name) => name !== "constructor" && name !== "STATIC");
    for (const mixin of parts2) {
      addMissing(made.prototype, typeof mixin === "function" ? mixin.prototype : mixin);
    }
    define(made, body.STATIC ?? {}, () => true);
    return made;
  }
  function constructorFrom(body, Base) {
    const own2 = Object.hasOwn(body, "constructor") ? body.constructor : null;
    if (own2 && Object.hasOwn(own2, "prototype")) return own2;
    if (own2) {
      return function(...args) {
        return own2.apply(this, args);
      };
    }
    return function(...args) {
      return new.target ? Reflect.construct(Base, args, new.target) : Base.apply(this, args);
    };
  }
  function define(target, members, wanted) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(members))) {
      if (wanted(name)) Object.defineProperty(target, name, descriptor);
    }
  }
  function addMissing(target, mixin) {
    for (let from = mixin; from && from !== Object.prototype; from = Object.getPrototypeOf(from)) {
      define(target, from, (name) => !(name in target));
    }
  }

  // src/signal.ts
  var SignalBinding = class {
    constructor(_signal, _listener, _once, context, priority) {
      this._signal = _signal;
      this._listener = _listener;
      this._once = _once;
      this.context = context;
      this.priority = priority;
      /** Set it to false to leave this listener out. */
      this.active = true;
      /** Arguments put before those of each dispatch. */
      this.params = null;
    }
    /** Call the listener, as the signal does, and return what it returns. */
    execute(args) {
      if (!this.active || !this.isBound()) return void 0;
      if (this._once) this.detach();
      const all = this.params ? [...this.params, ...args] : args;
      return this._listener.apply(this.context, all);
    }
    /** Take the listener off its signal. Returns the listener, null if it was off already. */
    detach() {
      return this.isBound() ? this._signal.remove(this._listener, this.context) : null;
    }
    isBound() {
      return this._signal._bindings.includes(this);
    }
    isOnce() {
      return this._once;
    }
    getListener() {
      return this._listener;
    }
    getSignal() {
      return this._signal;
    }
  };
  var Signal = Class({
    active: true,
    memorize: false,
    constructor() {
      this._bindings = [];
      this._memorized = null;
      this._halted = false;
      const { dispatch } = this;
      this.dispatch = (...args) => dispatch.apply(this, args);
    },
    add(listener, context, priority = 0) {
      return bind(this, listener, context, priority, false);
    },
    addOnce(listener, context, priority = 0) {
      return bind(this, listener, context, priority, true);
    },
    remove(listener, context) {
      requireFunction(listener, "remove");
      const removed = find(this, listener, context);
      this._bindings = this._bindings.filter((binding) => binding !== removed);
      return listener;
    },
    removeAll() {
      this._bindings = [];
    },
    has(listener, context) {
      return find(this, listener, context) !== void 0;
    },
    getNumListeners() {
      return this._bindings.length;
    },
    halt() {
      this._halted = true;
    },
    dispatch(...args) {
      if (!this.active) return;
      if (this.memorize) this._memorized = args;
      this._halted = false;
      for (const binding of this._bindings) {
        if (binding.execute(args) === false || this._halted) break;
      }
    },
    forget() {
      this._memorized = null;
    },
    dispose() {
      this.removeAll();
      this.forget();
    }
  });
  function bind(signal, listener, context, priority, once) {
    requireFunction(listener, once ? "addOnce" : "add");
    let binding = find(signal, listener, context);
    if (binding && binding._once !== once) {
      throw new Error("A listener is added once, or for good: remove it first.");
    }
    if (!binding) {
      binding = new SignalBinding(signal, listener, once, context, priority);
      signal._bindings = [...signal._bindings, binding].sort((a, b) => b.priority - a.priority);
    }
    if (signal.memorize && signal._memorized) binding.execute(signal._memorized);
    return binding;
  }
  function find(signal, listener, context) {
    return signal._bindings.find(
      (binding) => binding._listener === listener && binding.context === context
    );
  }
  function requireFunction(listener, method) {
    if (typeof listener !== "function") {
      throw new Error(`${method}() expects a function as listener, got ${typeof listener}`);
    }
  }

  // src/primitives.ts
  var primitives = { Signal, Promise, Class };

  // src/token.ts
  var TOKEN_EXPIRED = 3002;
  var RENEW_FROM = 0.5;
  var RENEW_SPREAD = 0.2;
  var MIN_DELAY_MS = 1e3;
  var NOT_OFFERED = ["Unknown service", "Unknown command"];
  function checked(token) {
    if (typeof token === "string" && /^[\w.~-]+$/.test(token)) return token;
    throw new TypeError(`expected a token of letters, digits and - . _ ~, got ${typeof token}`);
  }
  async function ask(give) {
    try {
      return checked(await give());
    } catch (error) {
      throw new Error(`no token: ${textOf(error)}`);
    }
  }
  function secondsLeft(token) {
    try {
      const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
      const { exp } = JSON.parse(atob(payload));
      return typeof exp === "number" ? exp - Date.now() / 1e3 : void 0;
    } catch {
      return void 0;
    }
  }
  function createRenewal(page2) {
    const timer = new Timer();
    let send = null;
    let current = "";
    let failures = 0;
    let offered;
    const renewWithin = (seconds) => {
      timer.stop();
      if (typeof seconds !== "number" || offered === false) return;
      const part = RENEW_FROM + Math.random() * RENEW_SPREAD;
      timer.start(Math.max(seconds * 1e3 * part, MIN_DELAY_MS), renew);
    };
    const failed = (why) => {
      page2.logDebug(`The token was not renewed: ${why}`);
      timer.start(delayMsAfter(failures++, page2.options), renew);
    };
    const renew = async () => {
      const sendNow = send;
      const { token: give, callTimeout } = page2.options;
      try {
        const token = await ask(give);
        if (!sendNow || send !== sendNow) return;
        if (token === current) throw new Error("the page gave the old one again");
        current = token;
        timer.limit(callTimeout, unanswered);
        sendNow(token);
      } catch (error) {
        if (send === sendNow) failed(error.message);
      }
    };
    const unanswered = () => {
      if (offered) failed("no answer");
      else offered = false;
    };
    return {
      /** A connection was opened with `token`; `send` takes the next one to the server. */
      _start(token, sendNext) {
        current = token;
        send = sendNext;
        failures = 0;
        renewWithin(secondsLeft(token));
      },
      _stop() {
        timer.stop();
        send = null;
      },
      /** The server's answer to what was sent. */
      _answered(message) {
        if (!send) return;
        offered = !NOT_OFFERED.includes(message.message);
        if (message.type === "response" || !offered) {
          failures = 0;
          renewWithin(message.data?.expiresIn);
        } else {
          failed(message.message);
        }
      }
    };
  }

  // src/address.ts
  function withQuery(address, name, value) {
    return value ? `${address}${address.includes("?") ? "&" : "?"}${name}=${value}` : address;
  }

  // src/web_socket.ts
  var TOKEN_SUBPROTOCOL = "snorky.jwt.";
  function webSocket(SocketClass, address, asksSubprotocol, token) {
    const takes = takesSubprotocols(SocketClass);
    if (token && takes) return new SocketClass(address, [SUBPROTOCOL, TOKEN_SUBPROTOCOL + token]);
    if (token) return socketWithQuery(SocketClass, address, token);
    return takes && asksSubprotocol ? new SocketClass(address, SUBPROTOCOL) : new SocketClass(address);
  }
  function takesSubprotocols(SocketClass) {
    return SocketClass === globalThis.WebSocket || "protocol" in (SocketClass.prototype ?? SocketClass);
  }
  function socketWithQuery(SocketClass, address, token) {
    try {
      return new SocketClass(withQuery(address, "token", token));
    } catch (error) {
      throw new TypeError(`${error}`.split(token).join("..."));
    }
  }

  // src/transports.ts
  var Transports = class {
    constructor(_page) {
      this._page = _page;
      /** Attempts in a row that made no connection. */
      this._failures = 0;
      this._subprotocolWorks = false;
      this._check();
    }
    /** Throws where a transport is wanted that nobody has imported. */
    _check() {
      const unknown = this._page.options.transports.find((each) => each !== "websocket");
      if (unknown) throw new TypeError(`Transport "${unknown}" needs: import "snorky/comet"`);
    }
    /** What is tried, or has worked. Undefined where nothing can be. */
    get _current() {
      return this._page.socketClass && "websocket";
    }
    /** No other is left to try in this round. */
    get _isLast() {
      return true;
    }
    /** How long an attempt may take, in seconds; 0 = any time. */
    get _timeLimit() {
      return this._page.options.connectTimeout;
    }
    /** Begin an attempt. `token` may be "". */
    _make(token) {
      const { socketClass, address, options } = this._page;
      if (!socketClass) throw new TypeError("Expected a socket class");
      const period = this._subprotocolWorks ? 5 : 2;
      const asks = options.heartbeatInterval > 0 && this._failures % period !== period - 1;
      this._failures++;
      return webSocket(socketClass, address, asks, token);
    }
    _opened({ protocol }) {
      this._failures = 0;
      this._subprotocolWorks || (this._subprotocolWorks = protocol === SUBPROTOCOL);
    }
    /** A connection has ended that was open. */
    _closed() {
    }
    /**
     * An attempt has failed, with this status of HTTP if it was refused: whether another transport is
     * next.
     */
    _failed(_refused) {
      return false;
    }
    /** Whether to stay away after this refusal. */
    _staysAway(_refused) {
      return true;
    }
    /** The page connects again: nothing is refused any longer. */
    _reset() {
    }
  };
  var known = { _transports: Transports };

  // src/wake.ts
  function onWake(wake) {
    const { document } = globalThis;
    const events = [
      [globalThis, "online", () => wake(false)],
      [globalThis, "pageshow", ({ persisted }) => persisted && wake(true)],
      [document, "visibilitychange", () => !document.hidden && wake(false)],
      [document, "resume", () => wake(false)]
    ];
    const all = (method) => {
      for (const [target, name, listener] of events) target?.[method]?.(name, listener);
    };
    all("addEventListener");
    return () => all("removeEventListener");
  }

  // src/connection.ts
  var RENEWAL = "renewal";
  var NOT_AUTHENTICATED = 3501;
  var Snorky = class {
    constructor(SocketClass, address, services = {}, options = {}) {
      this.services = {};
      this.isConnected = false;
      /** A connection is being made right now. */
      this.isConnecting = false;
      /** When the next attempt is made, as `Date.now()` counts; null: none is planned. */
      this.nextAttempt = null;
      /** Dispatched at each connection, before anything queued is sent. */
      this.connected = new primitives.Signal();
      /** Dispatched when a connection, or an attempt to make one, has ended. */
      this.disconnected = new primitives.Signal();
      /** The one in use: of the class given, or like it. */
      this.socket = null;
      this._heartbeat = null;
      this._connectTimer = new Timer();
      this._reconnectTimer = new Timer();
      this._stopWakes = null;
      this._openedAt = 0;
      /** Reconnections since the last connection that lasted. */
      this._retries = 0;
      this._ignoresConnect = false;
      /** The attempt for which the page is asked for a token. */
      this._asking = null;
      this._renewal = createRenewal(this);
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
        this.services[name] = new Made(name, this);
      }
      this._attempt();
    }
    /** What it is connected by, or tries to be; null while it does neither. */
    get transport() {
      return this.isConnecting || this.isConnected ? this._transports._current : null;
    }
    /** Connect now. Does nothing while connected or connecting. */
    connect() {
      if (this.isConnected || this.isConnecting) return;
      if (this._ignoresConnect) return;
      this._transports._reset();
      this._attemptAgain();
    }
    /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
    disconnect() {
      this._cancelReconnect();
      this._ignoreWakes();
      if (!this.isConnecting && !this.isConnected) return;
      this._retries = 0;
      this._release("disconnect()");
      Promise.resolve().then(() => this._announceDisconnected(1e3, "", true));
    }
    /** Write to the console if `debug` is set. */
    logDebug(...args) {
      if (this.debug) console.log("Snorky:", ...args);
    }
    /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
    _send(envelope) {
      const text2 = JSON.stringify(envelope);
      if (!this.isConnected || this.socket.readyState > 1) return this._outbox.add(text2);
      const unsent = this.socket.bufferedAmount ?? 0;
      if (unsent > this.options.maxQueuedBytes) {
        throw new ConnectionError(
          "overflow",
          `No room: ${unsent} bytes not sent (at most ${this.options.maxQueuedBytes})`
        );
      }
      const outgoing = { text: text2, sent: false };
      this._transmit(outgoing);
      return outgoing;
    }
    /** Throws where the page has made a mistake in what it gave us. */
    _attempt() {
      this._cancelReconnect();
      const { token } = this.options;
      if (typeof token === "function") this._askAndOpen(token);
      else this._open(token ? checked(token) : "");
    }
    _attemptAgain() {
      this._guarded(() => this._attempt());
    }
    /** A socket class may throw where it did not before. That is a failure like those of networks. */
    _guarded(attempt) {
      try {
        attempt();
      } catch (error) {
        this.isConnecting = true;
        this._dropped(1006, textOf(error));
      }
    }
    _askAndOpen(give) {
      const asking = this._asking = {};
      this._beginAttempt("no token", this.options.connectTimeout);
      ask(give).then(
        (token) => {
          if (this._asking !== asking) return;
          this._asking = null;
          this._guarded(() => this._open(token));
        },
        (error) => {
          if (this._asking === asking) this._dropped(1006, error.message);
        }
      );
    }
    _open(token) {
      const transports = this._transports;
      this.logDebug("Tries", transports._current, this.address);
      const socket = this.socket = transports._make(token);
      this._beginAttempt("no connection", transports._timeLimit);
      socket.onopen = () => {
        if (socket.protocol !== SUBPROTOCOL || transports._isLast) return this._opened(token);
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
    _beginAttempt(failure, seconds) {
      this.isConnecting = true;
      this._stopWakes ?? (this._stopWakes = onWake((isRestored) => this._wake(isRestored)));
      this._connectTimer.limit(seconds, () => this._dropped(1006, `${failure} within ${seconds} s`));
    }
    _beat(text2) {
      try {
        if (this.socket) this._transmit({ text: text2, sent: false });
      } catch {
      }
    }
    _opened(token) {
      const socket = this.socket;
      this._transports._opened(socket);
      this.logDebug("Connected");
      this._connectTimer.stop();
      this.isConnecting = false;
      this.isConnected = true;
      this._openedAt = now();
      const { heartbeatInterval, identityService, token: give } = this.options;
      if (socket.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
        this._heartbeat = new Heartbeat(
          heartbeatInterval * 1e3,
          (text2) => this._beat(text2),
          () => this._dropped(1006, "no answer to heartbeats")
        );
      }
      if (identityService && typeof give === "function") {
        this._renewal._start(token, (next) => {
          if (socket._token) socket._token = next;
          const message = { command: "refresh", params: { token: next }, callId: RENEWAL };
          const text2 = JSON.stringify({ service: identityService, message });
          this._transmit({ text: text2, sent: false }, "(a new token)");
        });
      }
      guard(() => this.connected.dispatch());
      guard(() => this.onConnected?.());
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
      }
    }
    /** Throws ConnectionError where the socket refuses, and gives that socket up. */
    _transmit(outgoing, shown = outgoing.text) {
      const socket = this.socket;
      this.logDebug("Sent", shown);
      outgoing.sent = true;
      try {
        socket.send(outgoing.text);
      } catch (error) {
        outgoing.sent = false;
        const why = `could not send: ${error}`;
        if (this.socket === socket) this._dropped(1006, why);
        throw new ConnectionError("disconnected", why);
      }
      outgoing.onSent?.();
    }
    _received(data) {
      this._heartbeat?.heard();
      if (isHeartbeat(data)) return;
      this.logDebug("Received", data);
      let envelope;
      try {
        envelope = JSON.parse(data);
      } catch {
      }
      const { service: name, message } = envelope ?? {};
      if (name === this.options.identityService && message?.callId === RENEWAL) {
        this._renewal._answered(message);
      } else if (typeof name === "string" && Object.hasOwn(this.services, name) && message !== void 0) {
        guard(() => this.services[name].packetReceived.dispatch(message));
      } else {
        console.error("Snorky: malformed, or for an unknown service:", data);
      }
    }
    /** The connection, or the attempt to make one, has ended without `disconnect`. */
    _dropped(code, reason, refused) {
      if (this.isConnected && now() - this._openedAt >= this.options.maxReconnectDelay * 1e3) {
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
    _release(why) {
      this.logDebug(why);
      const socket = this.socket;
      this.socket = this._asking = null;
      if (socket) {
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.onerror = () => {
        };
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
    _announceDisconnected(code, reason, decided) {
      const disconnection = { code, reason, nextAttempt: this.nextAttempt };
      this._ignoresConnect = decided;
      guard(() => this.disconnected.dispatch(disconnection));
      guard(() => this.onDisconnected?.(disconnection));
      this._ignoresConnect = false;
    }
    _scheduleConnect(delayMs) {
      this.nextAttempt = Math.round(Date.now() + delayMs);
      this._reconnectTimer.start(delayMs, () => this._attemptAgain());
    }
    _cancelReconnect() {
      this._reconnectTimer.stop();
      this.nextAttempt = null;
    }
    _wake(isRestored) {
      if (isRestored && this.socket) this._dropped(1006, "the page was away");
      if (this.nextAttempt !== null) this._attemptAgain();
      else this._heartbeat?.probe();
      for (const service of this._allServices()) guard(() => service._woke?.());
    }
    _ignoreWakes() {
      this._stopWakes?.();
      this._stopWakes = null;
    }
    _allServices() {
      return Object.values(this.services);
    }
  };
  for (const name of Object.keys(primitives)) {
    Object.defineProperty(Snorky, name, {
      get: () => primitives[name],
      set: (value) => primitives[name] = value,
      enumerable: true,
      configurable: true
    });
  }

  // src/comet_socket.ts
  var MAX_MESSAGES = 100;
  var MAX_CHARACTERS = 1e5;
  var MIN_PAUSE_MS = 100;
  var MAX_PAUSE_MS = 2e3;
  var WAITING_POST_MS = 1e3;
  var Rejected = class extends Error {
  };
  var CometSocket = class {
    /**
     * Throws where `address` is none. `token`, if there is one, goes along with each request: a new
     * one may take its place.
     */
    constructor(address, _streaming, _token = "") {
      this._streaming = _streaming;
      this._token = _token;
      this.onopen = null;
      this.onmessage = null;
      this.onclose = null;
      this.onerror = null;
      this.bufferedAmount = 0;
      this._closing = new AbortController();
      this._session = "";
      /** The last message of the server's that came. */
      this._after = 0;
      /** The last message of ours that the server has. */
      this._received = 0;
      this._unsent = [];
      this._posting = false;
      /** Give up the request by which we hear. */
      this._letGo = null;
      /** A POST under way that we have let go of it for. */
      this._waitedFor = null;
      this._isOpen = false;
      this._silenceMs = 2e4;
      this._patienceMs = 0;
      this._address = new URL(address, globalThis.location?.href);
      void this._run();
    }
    send(text2) {
      this._unsent.push(text2);
      this.bufferedAmount += text2.length;
      if (!this._posting) void this._post();
    }
    close() {
      if (this._closing.signal.aborted) return;
      this._closing.abort();
      if (this._session) this._sayGoodbye();
    }
    _sayGoodbye() {
      const headers = this._headers();
      const request = { method: "POST", headers, credentials: "include", keepalive: true };
      fetch(this._url("/close"), request).catch(() => {
      });
    }
    async _run() {
      try {
        const opened = await this._request("", { method: "POST" }, (answer) => answer.json());
        this._session = opened.session;
        if (this._closing.signal.aborted) {
          this._sayGoodbye();
          return;
        }
        this._silenceMs = opened.heartbeatInterval * 2e3;
        this._patienceMs = opened.disconnectDelay * 1e3;
        if (!this._streaming) this._opened();
        await this._insist((progress) => this._hear(progress), true);
      } catch (error) {
        this._failed(error);
      }
    }
    async _hear(progress) {
      await this._waitedFor;
      try {
        await (this._streaming ? this._stream(progress) : this._poll(progress));
      } catch (error) {
        if (!this._waitedFor || error instanceof Rejected) throw error;
      }
    }
    _opened() {
      this._isOpen = true;
      this.onopen?.({});
    }
    _failed(error) {
      const reason = textOf(error);
      const isExpired = this._token && reason === "401 Token expired";
      const refused = !isExpired && !this._session && /^40[134] /.test(reason) && parseInt(reason);
      this._ended(isExpired ? TOKEN_EXPIRED : 1006, reason, refused || 0);
    }
    /** `refused`: the status with which we were not let in. */
    _ended(code, reason, refused = 0) {
      if (this._closing.signal.aborted) return;
      this.close();
      this.onclose?.({ code, reason, refused });
    }
    /** One response that goes on; what comes is parsed as it comes. */
    _stream(progress) {
      return this._request(`/events`, { after: this._after }, async (answer, alive) => {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let pending = "";
        for (; ; ) {
          const { done, value } = await reader.read();
          if (done) return;
          alive();
          progress();
          const events = (pending + value).split("\n\n");
          pending = events.pop();
          for (const event of events) this._heard(event);
        }
      });
    }
    _heard(event) {
      const fields = {};
      for (const line of event.split("\n")) {
        const colon = line.indexOf(":");
        fields[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (fields.event === "open") {
        if (!this._isOpen) this._opened();
      } else if (fields.event === "close") {
        const [code, reason] = JSON.parse(fields.data);
        this._ended(code, reason);
      } else if (fields.id !== void 0) {
        this._message(Number(fields.id), fields.data);
      }
    }
    async _poll(progress) {
      const answer = await this._request(`/poll`, { after: this._after }, (a) => a.json());
      progress();
      const first = answer.after - answer.messages.length + 1;
      answer.messages.forEach((message, index) => {
        this._message(first + index, JSON.stringify(message));
      });
      if (answer.close) this._ended(answer.close[0], answer.close[1]);
    }
    _message(number, data) {
      if (this._closing.signal.aborted || number <= this._after) return;
      this._after = number;
      this.onmessage?.({ data });
    }
    /** Send what waits, one request after the other: the order is ours to keep. */
    async _post() {
      this._posting = true;
      try {
        while (this._unsent.length > 0 && !this._closing.signal.aborted) {
          const messages = this._batch();
          await this._deliver(messages);
          this._received += messages.length;
          this._unsent.splice(0, messages.length);
          for (const { length } of messages) this.bufferedAmount -= length;
        }
      } catch (error) {
        this._failed(error);
      }
      this._posting = false;
    }
    async _deliver(messages) {
      const delivered = this._insist(async () => {
        const after = this._after;
        const body = JSON.stringify({ first: this._received + 1, after, messages });
        await this._request("/messages", { method: "POST", body }, (answer) => answer.text());
      });
      const waiting = new Timer();
      waiting.start(WAITING_POST_MS, () => {
        this._waitedFor = delivered.catch(() => {
        });
        this._letGo?.();
      });
      try {
        await delivered;
      } finally {
        waiting.stop();
        this._waitedFor = null;
      }
    }
    _batch() {
      let count = 1;
      let characters = this._unsent[0].length;
      while (count < Math.min(this._unsent.length, MAX_MESSAGES)) {
        characters += this._unsent[count].length;
        if (characters > MAX_CHARACTERS) break;
        count++;
      }
      return this._unsent.slice(0, count);
    }
    /** Attempt until it succeeds (again and again: `forever`), or has failed for too long. */
    async _insist(attempt, forever = false) {
      let failingSince = 0;
      let pauseMs = MIN_PAUSE_MS;
      const progress = () => {
        failingSince = 0;
        pauseMs = MIN_PAUSE_MS;
      };
      while (!this._closing.signal.aborted) {
        try {
          await attempt(progress);
          if (!forever) return;
        } catch (error) {
          if (this._closing.signal.aborted) return;
          failingSince || (failingSince = now());
          const tooLong = now() - failingSince > this._patienceMs;
          if (error instanceof Rejected || !this._isOpen || tooLong) throw error;
          const delayMs = pauseMs * (0.5 + Math.random() / 2);
          pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
          await new Promise((resolve) => setTimeout(resolve, delayMs));
        }
      }
    }
    /** One request, given up when nothing comes for too long; `alive` says that something did. */
    async _request(path, { after, ...init }, read) {
      const giveUp2 = new AbortController();
      const abort = () => giveUp2.abort();
      this._closing.signal.addEventListener("abort", abort);
      const timer = new Timer();
      const alive = () => timer.start(this._silenceMs, abort);
      alive();
      if (after !== void 0) this._letGo = abort;
      try {
        const answer = await fetch(this._url(path, after), {
          ...init,
          headers: this._headers(init.body),
          // As with a WebSocket.
          credentials: "include",
          cache: "no-store",
          signal: giveUp2.signal
        });
        if (!answer.ok) {
          const text2 = `${answer.status} ${await answer.text()}`;
          throw answer.status < 500 ? new Rejected(text2) : new Error(text2);
        }
        return await read(answer, alive);
      } finally {
        timer.stop();
        this._closing.signal.removeEventListener("abort", abort);
      }
    }
    /** Without a token they need no preflight. */
    _headers(body) {
      const headers = body ? { "Content-Type": "text/plain" } : {};
      if (this._token) headers.Authorization = `Bearer ${this._token}`;
      return headers;
    }
    _url(path, after) {
      const url = new URL(this._address);
      url.pathname = url.pathname.replace(/\/$/, "") + path;
      if (this._session) url.searchParams.set("session", this._session);
      if (after !== void 0) url.searchParams.set("after", String(after));
      return url;
    }
  };

  // src/fallbacks.ts
  var Fallbacks = class extends Transports {
    constructor() {
      super(...arguments);
      /** Of the attempt under way, or of the next, in `_candidates`. */
      this._index = 0;
      this._webSocketWorks = false;
      /** Those that the server has refused for good, until the page connects again. */
      this._refused = /* @__PURE__ */ new Set();
    }
    _check() {
    }
    /** Those that can be tried. */
    get _candidates() {
      const { options, socketClass } = this._page;
      return options.transports.filter(
        (name) => !this._refused.has(name) && (name !== "websocket" || socketClass)
      );
    }
    get _current() {
      return this._candidates[this._index];
    }
    get _isLast() {
      return this._index + 1 >= this._candidates.length;
    }
    get _timeLimit() {
      const { connectTimeout, fallbackTimeout } = this._page.options;
      if (this._isLast || this._worked === this._current || !fallbackTimeout) return connectTimeout;
      return Math.min(connectTimeout || Infinity, fallbackTimeout);
    }
    _make(token) {
      const { address, options } = this._page;
      const name = this._current;
      return !name || name === "websocket" ? super._make(token) : new CometSocket(options.cometAddress || cometBeside(address), name === "sse", token);
    }
    _opened(socket) {
      super._opened(socket);
      this._worked = this._current;
      this._webSocketWorks || (this._webSocketWorks = this._worked === "websocket");
    }
    _closed() {
      if (this._webSocketWorks) this._index = Math.max(0, this._candidates.indexOf("websocket"));
    }
    /** Where all have been tried, all are again. */
    _failed(refused) {
      const isLast = this._isLast;
      const isGone = refused && (refused === 404 || this._webSocketWorks);
      if (isGone) this._refused.add(this._current);
      if (isLast) this._index = 0;
      else if (!isGone) this._index++;
      return !isLast;
    }
    /**
     * Not while a WebSocket may get through that did so before: then a proxy may have answered. Nor
     * where the page gives another token.
     */
    _staysAway(status) {
      const candidates = this._candidates;
      if (candidates.length === 0) return true;
      if (status === 404 || this._webSocketWorks && candidates.includes("websocket")) return false;
      return status === 403 || typeof this._page.options.token !== "function";
    }
    _reset() {
      this._refused.clear();
    }
  };
  function cometBeside(address) {
    const url = new URL(address, globalThis.location?.href);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
    return url.href;
  }

  // src/comet.ts
  known._transports = Fallbacks;

  // src/datasync/collection.ts
  var Collection = Class({
    insert: () => missing("insert"),
    getIterator: () => missing("getIterator")
  });
  var Iterator = Class({
    hasNext: () => missing("hasNext"),
    next: () => missing("next"),
    remove: () => missing("remove"),
    update: () => missing("update")
  });
  function missing(method) {
    throw new Error(`The subclass should have a method ${method}()`);
  }
  var Position = class {
    constructor(_length) {
      this._length = _length;
      this.index = -1;
      this._deleted = false;
    }
    hasNext() {
      return this.index + 1 < this._length();
    }
    advance() {
      if (!this.hasNext()) throw new Error("Busted iterator");
      this._deleted = false;
      return ++this.index;
    }
    /** The index of the current item. Throws where there is none. */
    current() {
      if (this._deleted) throw new Error("Iterator pointing to a deleted item! (call next())");
      if (this.index < 0) throw new Error("Iterator not pointing to an item! (call next())");
      return this.index;
    }
    /** The current item has been removed: the next one is in its place. */
    removed() {
      this._deleted = true;
      this.index--;
    }
  };

  // src/datasync/array_collection.ts
  var ArrayCollection = Class(Collection, {
    constructor(array, options) {
      this.array = array;
      if (options?.transformItem) this.transformItem = options.transformItem;
    },
    transformItem(value) {
      return value;
    },
    insert(value) {
      this.array.push(this.transformItem(value));
    },
    getIterator() {
      return new ArrayIterator(this);
    }
  });
  var ArrayIterator = Class(
    Iterator,
    {
      constructor(collection) {
        Object.assign(this, { collection });
        this._position = new Position(() => collection.array.length);
      },
      hasNext() {
        return this._position.hasNext();
      },
      next() {
        return this.collection.array[this._position.advance()];
      },
      remove() {
        this.collection.array.splice(this._position.current(), 1);
        this._position.removed();
      },
      update(value) {
        const { collection } = this;
        collection.array.splice(this._position.current(), 1, collection.transformItem(value));
      }
    }
  );

  // src/json.ts
  function canonical(value) {
    return JSON.stringify(
      value,
      (_key, inner) => typeof inner === "object" && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => a < b ? -1 : 1)) : inner
    );
  }

  // src/datasync/delta_processor.ts
  var CollectionDeltaProcessor = Class({
    constructor(collections, options) {
      this.collections = collections ?? {};
      if (options?.itemsAreEqual) this.itemsAreEqual = options.itemsAreEqual;
    },
    itemsAreEqual(item, other, delta) {
      if (other?.id != null) return item?.id != null && item.id == other.id;
      return delta.type !== "insert" && canonical(item) === canonical(other);
    },
    processDelta(delta) {
      const collection = collectionFor(this.collections, delta);
      if (!collection) {
        console.error("Snorky: received a delta for an unknown model or tag:", delta);
        return;
      }
      switch (delta.type) {
        case "insert": {
          const present = find2(this, collection, delta.data, delta);
          if (present) present.update(delta.data);
          else collection.insert(delta.data);
          break;
        }
        case "update":
          find2(this, collection, delta.oldData, delta)?.update(delta.newData);
          break;
        case "delete":
          find2(this, collection, delta.data, delta)?.remove();
          break;
        default:
          console.error("Snorky: received a delta of an unknown type:", delta);
      }
    }
  });
  function collectionFor(collections, delta) {
    const entry = own(collections, delta?.model);
    if (entry === void 0 || isCollection(entry)) return entry;
    const tagged = own(entry, delta.tag);
    return isCollection(tagged) ? tagged : void 0;
  }
  function own(entries, key) {
    return key !== void 0 && Object.hasOwn(entries, key) ? entries[key] : void 0;
  }
  function isCollection(value) {
    return typeof value?.insert === "function" && typeof value.getIterator === "function";
  }
  function find2(processor, collection, row, delta) {
    const iterator = collection.getIterator();
    while (iterator.hasNext()) {
      if (processor.itemsAreEqual(iterator.next(), row, delta)) return iterator;
    }
    return void 0;
  }

  // src/service.ts
  var Service = Class({
    constructor(name, snorky) {
      if (!name || !snorky) throw new Error("Bad arguments for service constructor");
      Object.assign(this, { name, snorky, packetReceived: new primitives.Signal() });
      this._setUp();
      this.init();
    },
    init() {
    },
    sendMessage(message) {
      return this.snorky._send({ service: this.name, message });
    },
    _setUp() {
    }
  });

  // src/rpc.ts
  var RPCService = Class(Service, {
    _setUp() {
      this.notificationReceived = new primitives.Signal();
      this._calls = /* @__PURE__ */ new Map();
      this._nextCallId = 0;
      this.packetReceived.add(receive, this);
    },
    rpcCall(command, params = {}) {
      return new primitives.Promise(
        (resolve, reject) => this._call(command, params, resolve, reject)
      );
    },
    _call(command, params, resolve, reject) {
      const callId = this._nextCallId++;
      const { callTimeout } = this.snorky.options;
      const call2 = { _resolve: resolve, _reject: reject };
      this._calls.set(callId, call2);
      try {
        call2._outgoing = this.sendMessage({ command, params, callId });
      } catch (error) {
        this._calls.delete(callId);
        reject(error);
        return;
      }
      const startTimeout = () => {
        if (!this._calls.has(callId)) return;
        call2._timer = new Timer();
        call2._timer.limit(callTimeout, () => {
          const text2 = `No answer to "${command}" of "${this.name}" within ${callTimeout} s`;
          close(this, callId)?._reject(new ConnectionError("timeout", text2));
        });
      };
      if (call2._outgoing?.sent ?? true) startTimeout();
      else call2._outgoing.onSent = startTimeout;
    },
    _connectionClosed(error) {
      for (const [callId, call2] of this._calls) {
        if (call2._outgoing?.sent ?? true) close(this, callId)?._reject(error);
      }
    },
    STATIC: {
      addRPCMethods(names) {
        for (const name of names) {
          if (name in this.prototype) {
            throw new Error(`Refusing to overwrite method "${name}"`);
          }
          this.prototype[name] = function(params) {
            return this.rpcCall(name, params);
          };
        }
      }
    }
  });
  function receive(message) {
    const type = message?.type;
    if (type !== "response" && type !== "error") {
      this.notificationReceived.dispatch(message);
      return;
    }
    const call2 = close(this, message.callId);
    if (!call2) {
      console.error(`Snorky: an answer with unknown callId in service "${this.name}":`, message);
    } else if (type === "response") {
      call2._resolve(message.data);
    } else {
      call2._reject(new Error(message.message));
    }
  }
  function close(service, callId) {
    const call2 = service._calls.get(callId);
    if (call2) {
      service._calls.delete(callId);
      call2._timer?.stop();
    }
    return call2;
  }

  // src/turns.ts
  function createTurns() {
    const lines = /* @__PURE__ */ new Map();
    const go = (key, line, ask4) => {
      line._underWay++;
      return ask4().then(
        (value) => {
          done(key, line);
          return value;
        },
        (error) => {
          done(key, line, error);
          throw error;
        }
      );
    };
    const done = (key, line, error) => {
      if (--line._underWay > 0) return;
      const { _waiting: waiting } = line;
      if (isDisconnection(error)) {
        for (const one of waiting.splice(0)) {
          if (one._wants) one._reject(error);
          else one._resolve(null);
        }
      }
      if (!waiting.length) lines.delete(key);
      else line._wants = waiting[0]._wants;
      while (waiting[0]?._wants === line._wants) {
        const one = waiting.shift();
        go(key, line, one._ask).then(one._resolve, one._reject);
      }
    };
    return {
      /**
       * Call `ask`, at once where its opposite is not under way. `key` says what is wanted.
       *
       * Where the connection ends before its turn nothing is asked: what was wanted has failed with
       * it, and what was not wanted has ended with it.
       */
      _take(key, wants, ask4) {
        const line = lines.get(key) ?? { _wants: wants, _underWay: 0, _waiting: [] };
        lines.set(key, line);
        if (!line._waiting.length && line._wants === wants) return go(key, line, ask4);
        return new primitives.Promise((resolve, reject) => {
          line._waiting.push({ _wants: wants, _ask: ask4, _resolve: resolve, _reject: reject });
        });
      }
    };
  }

  // src/datasync/live/order.ts
  var namesOf = (key) => [key ?? "id"].flat();
  var keyText = (key) => JSON.stringify(key);
  function keyOf(row, names) {
    const values = names.map((name) => row?.[name]);
    if (values.some((value) => value == null)) return void 0;
    return keyText(values.length > 1 ? values : values[0]);
  }
  var INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/;
  var plain = (field) => field.replace(/^-/, "");
  function sortable(value) {
    if (value == null) return [2, 0, ""];
    if (typeof value !== "string") return [0, +value, ""];
    const [, second, fraction = "", zone] = INSTANT.exec(value) ?? [];
    return second ? [1, Date.parse(second + zone), fraction.replace(/0+$/, "")] : [1, 0, value];
  }
  function comparer(order, names) {
    if (typeof order === "function") return order;
    if (!order?.length) return void 0;
    const fields = [order].flat();
    fields.push(...names.filter((name) => !fields.some((field) => plain(field) === name)));
    const known2 = /* @__PURE__ */ new WeakMap();
    const valuesOf = (row) => {
      let values = known2.get(row);
      if (!values) {
        known2.set(row, values = fields.map((field) => sortable(row[plain(field)])));
      }
      return values;
    };
    return (a, b) => {
      const [left, right] = [valuesOf(a), valuesOf(b)];
      for (let index = 0; index < fields.length; index++) {
        const result = compareParts(left[index], right[index]);
        if (result) return fields[index][0] === "-" ? -result : result;
      }
      return 0;
    };
  }
  var compareParts = (a, b) => a[0] - b[0] || a[1] - b[1] || compareTexts(a[2], b[2]);
  function compareTexts(a, b) {
    if (a === b) return 0;
    let index = 0;
    while (a[index] === b[index]) index++;
    return (a.codePointAt(index) ?? -1) - (b.codePointAt(index) ?? -1);
  }

  // src/datasync/live/options.ts
  var ResponseError = class extends Error {
    constructor(response) {
      super(`Expected a success, got ${response.status} from ${response.url}`);
      this.response = response;
      this.name = "ResponseError";
    }
    get status() {
      return this.response.status;
    }
  };

  // src/datasync/live/fetcher.ts
  var limitFor = (size, window) => size + Math.ceil(window / 2);
  async function ask2(options, signal, size) {
    const { headers, url, window, single } = options;
    const limit = window && limitFor(size, window);
    const request = {
      headers: {
        Accept: "application/json",
        ...typeof headers === "function" ? headers() : headers,
        "X-Snorky": "Subscribe"
      },
      // An answer kept by the browser would be older than its token.
      cache: "no-store",
      signal
    };
    const response = await (options.fetch ? options.fetch({ ...request, limit }) : fetch(typeof url === "function" ? url(limit) : withQuery(url, "limit", limit), request));
    if (!response.ok) throw new ResponseError(response);
    const json = await response.json();
    const names = namesOf(options.key);
    const rows = /* @__PURE__ */ new Map();
    const all = options.rows ? options.rows(json) : single ? json : json?.results ?? json;
    for (const row of [all].flat()) {
      const key = keyOf(row, names);
      if (!key) throw new TypeError(`Expected rows with "${names}", got ${JSON.stringify(row)}`);
      rows.set(key, row);
    }
    const { next } = json;
    const token = (name) => response.headers.get(name);
    return {
      _rows: rows,
      _token: token("X-Subscription-Token") ?? token("X-Subscription"),
      // Where it sends a page of its own size instead it tells whether there is a next one.
      _complete: next === null || !next && rows.size < size
    };
  }

  // src/datasync/live/asking.ts
  function createAsking(page2, options, host) {
    let question = null;
    let count = 0;
    let isDue = true;
    let isUrgent = false;
    let isStale = false;
    const dueTimer = new Timer();
    let dueAt = Infinity;
    const pauseTimer = new Timer();
    let isPausing = false;
    let failures = 0;
    const begin = (isForToken) => {
      const controller = new AbortController();
      const current = {
        _number: ++count,
        _isForToken: isForToken,
        _position: page2._position(),
        _controller: controller
      };
      const timer = new Timer();
      timer.limit(page2._snorky.options.callTimeout, () => controller.abort());
      question = current;
      isStale = false;
      if (isForToken) {
        isDue = isUrgent = false;
        stopWaiting();
        page2._asks(1);
      }
      const end2 = (action) => {
        timer.stop();
        page2._step(() => {
          if (question !== current) return;
          settle();
          action();
        });
      };
      ask2(options, controller.signal, host._size()).then(
        (answer) => end2(() => host._arrived(answer, current)),
        (error) => end2(() => host._failed(error, current))
      );
    };
    const stopWaiting = () => {
      dueTimer.stop();
      dueAt = Infinity;
    };
    const settle = () => {
      if (question?._isForToken) page2._asks(-1);
      question = null;
    };
    const abandon = () => {
      question?._controller.abort();
      settle();
    };
    const wake = () => {
      pauseTimer.stop();
      isPausing = false;
    };
    const backoffMs = () => delayMsAfter(failures, page2._snorky.options);
    return {
      /** How many questions have begun. */
      _count: () => count,
      /** Ask, where that is due and nothing is under way. */
      _go() {
        if (question || isPausing) return;
        const shown = host._shown();
        const isForToken = isDue && !host._waits() && (!shown || isUrgent || page2._snorky.isConnected);
        if (isForToken || isStale && shown?._refetches) begin(isForToken);
      },
      _due() {
        isDue = true;
      },
      _stale() {
        isStale = true;
      },
      /** The page wants it. */
      _now() {
        isDue = isUrgent = true;
        wake();
      },
      /** Of what was said before, the earlier counts. */
      _dueIn(delayMs) {
        const at = now() + delayMs;
        if (dueAt <= at) return;
        dueAt = at;
        dueTimer.start(delayMs, () => {
          dueAt = Infinity;
          page2._step(() => isDue = true);
        });
      },
      /** Ask the same again, after a time that grows. */
      _retry({ _isForToken: isForToken }) {
        if (isForToken) isDue = true;
        else isStale = true;
        isPausing = true;
        pauseTimer.start(backoffMs(), () => page2._step(wake));
        failures++;
      },
      /** How long to wait after an opening that failed: nothing for the first. Counts it. */
      _delayMs(spreadMs) {
        const delayMs = spreadMs ? Math.random() * spreadMs * 2 ** Math.min(failures, 3) : failures && backoffMs();
        failures++;
        return delayMs;
      },
      _succeeded() {
        failures = 0;
      },
      /** Do not wait for the next attempt. */
      _wake: wake,
      /** The answer is not wanted any more. */
      _abandon: abandon,
      _end() {
        abandon();
        stopWaiting();
        wake();
      }
    };
  }

  // src/datasync/live/classic.ts
  function effectsOfDelta(delta, names) {
    const effects = /* @__PURE__ */ new Map();
    const set = (row, now2) => {
      const key = keyOf(row, names);
      if (key) effects.set(key, now2);
    };
    if (delta.type === "update") {
      set(delta.oldData, null);
      set(delta.newData, delta.newData);
    } else {
      set(delta.data, delta.type === "insert" ? delta.data : null);
    }
    return effects;
  }

  // src/datasync/live/subscription.ts
  var subscribe = (owner, token) => ({
    _owner: owner,
    _token: token,
    _items: /* @__PURE__ */ new Set(),
    _held: /* @__PURE__ */ new Map()
  });
  function effectsOf(changes, items) {
    const effects = /* @__PURE__ */ new Map();
    const isOurs = (item) => items.has(item);
    for (const change of changes) {
      const key = keyText(change.key);
      if (change.in.some(isOurs)) effects.set(key, change.data);
      else if (change.out.some(isOurs) && !effects.has(key)) effects.set(key, null);
    }
    return effects;
  }

  // src/datasync/live/equal.ts
  function equal(a, b) {
    if (a === b) return true;
    if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
    const names = Object.keys(a);
    return Array.isArray(a) === Array.isArray(b) && names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && equal(a[name], b[name]));
  }

  // src/datasync/live/view.ts
  function createView(options, writes) {
    const { window = 0 } = options;
    const compare = comparer(options.order, namesOf(options.key));
    let rows = /* @__PURE__ */ new Map();
    let items = [];
    let size = window;
    let bound;
    let fetched = 0;
    const isKnown = (row) => !bound || compare(row, bound) <= 0;
    const sorted = (all) => compare ? all.sort(compare) : all;
    const enough = () => limitFor(size, window >> 1);
    const put = (into, key, row) => {
      into.set(key, [writes._shown(key), rows.get(key)].find((old) => equal(old, row)) ?? row);
    };
    const discard2 = () => {
      const kept = sorted([...rows.values()]).slice(0, limitFor(size, window));
      bound = kept[kept.length - 1];
      const keep = new Set(kept);
      for (const [key, row] of rows) if (!keep.has(row)) rows.delete(key);
    };
    return {
      _has: (key) => rows.has(key),
      /** How many rows a window shows, else 0. */
      _size: () => size,
      /** Take what the web application answered instead of what there is. */
      _replace(answer) {
        const next = /* @__PURE__ */ new Map();
        for (const [key, row] of answer._rows) put(next, key, row);
        rows = next;
        fetched = rows.size;
        bound = window && !answer._complete ? sorted([...rows.values()]).pop() : void 0;
      },
      _apply(effects) {
        for (const [key, row] of effects) {
          if (row && isKnown(row)) put(rows, key, row);
          else rows.delete(key);
        }
      },
      /** So many rows have left that the next ones must be asked for. */
      _runsOut: () => bound && rows.size < Math.min(enough(), fetched),
      /** Show another window. False: the rows for it must be asked for. */
      _widen() {
        size += window;
        return !bound || rows.size >= enough();
      },
      _hasMore: () => !!window && (!!bound || rows.size > size),
      /** What is to be shown now: the same array as before where nothing is different. */
      _render() {
        if (window && rows.size > 2 * limitFor(size, window)) discard2();
        let next = sorted([...writes._overlay(rows).values()]);
        if (window) next = next.filter(isKnown).slice(0, size);
        if (next.length !== items.length || next.some((row, index) => row !== items[index])) {
          items = next;
        }
        return items;
      }
    };
  }

  // src/datasync/live/writes.ts
  var MOST_OTHERS = 1e4;
  var temporaryKeys = 0;
  var keysIn = (keys) => (typeof keys === "string" ? keys.match(/[^\s,]+/g) : keys) ?? [];
  var rowOf = async (answer) => typeof answer?.clone === "function" ? answer.clone().json() : answer;
  function createWrites(options, host) {
    const page2 = host._page;
    const names = namesOf(options.key);
    let writes = [];
    let isOver = false;
    let isChanged = false;
    let overlaid = /* @__PURE__ */ new Map();
    const add = (write, start) => new primitives.Promise((resolve) => {
      const added = {
        _change: null,
        _others: /* @__PURE__ */ new Set(),
        _keys: [],
        _after: Infinity,
        _resolve: resolve,
        ...write
      };
      if (isOver) return resolve();
      page2._step(() => {
        writes.push(added);
        start(added);
      });
    });
    const fieldsOf = (write) => Object.keys(write._change).filter((each) => !names.includes(each));
    const collide = (a, b) => a._change && b._change && a._key === b._key && (a._remove || b._remove || fieldsOf(a).some((field) => field in b._change));
    const fetchOnce = (write) => {
      if (host._begun() <= write._after) host._fetch();
    };
    const awaitKeys = (write) => {
      write._arrived = false;
      if (!write._keys.length) fetchOnce(write);
      else {
        write._forget = page2._awaitKeys(write._keys, (known2) => {
          write._arrived = known2;
          if (!known2 || host._refetches()) fetchOnce(write);
        });
      }
    };
    const fail = (write, error) => {
      if (!writes.includes(write)) return;
      writes = writes.filter((each) => each !== write);
      host._wrote(error instanceof Error ? error : new Error(String(error)));
      finish(write);
    };
    const accepted = async (write, answer) => {
      if (answer?.ok === false) throw new ResponseError(answer);
      write._after = host._begun();
      const row = write._isNew && await rowOf(answer).catch(() => null);
      page2._step(() => {
        if (!writes.includes(write)) return;
        if (keyOf(row, names)) rename(write, row);
        write._keys = keysIn(answer?.headers?.get?.("X-Snorky-Keys"));
        awaitKeys(write);
      });
    };
    const rename = (write, row) => {
      const key = write._key;
      const own2 = Object.fromEntries(names.map((name) => [name, row[name]]));
      for (const each of writes) {
        if (each._key !== key) continue;
        each._change = { ...each._change, ...own2 };
        each._key = keyOf(row, names);
      }
      write._isNamed = isChanged = true;
      write._hadIt = write._others.has(write._key);
    };
    const notice = (effects) => {
      for (const write of writes) {
        if (!write._isNew) continue;
        if (!write._isNamed) compareWith(write, effects);
        else if (effects.has(write._key)) write._hadIt = true;
      }
    };
    const compareWith = (write, effects) => {
      for (const [key, row] of effects) {
        if (row && host._has(key)) continue;
        if (write._others.size < MOST_OTHERS) write._others.add(key);
        const isIt = (field) => equal(row[field], write._change[field]);
        if (!row || write._hadIt || writes.some((one) => one._twin === key)) continue;
        if (fieldsOf(write).every(isIt)) {
          write._hadIt = true;
          write._twin = key;
        }
      }
    };
    return {
      _notice: notice,
      _mutate(change, promise, { remove = false } = {}) {
        const answer = Promise.resolve(promise);
        answer.catch(() => {
        });
        const isNew = keyOf(change, names) === void 0;
        const missing2 = names.filter((name) => change[name] == null);
        const temporary = `temporary-${++temporaryKeys}`;
        const complete = {
          ...change,
          ...Object.fromEntries(missing2.map((name) => [name, temporary]))
        };
        const key = keyOf(complete, names);
        return add({ _change: complete, _key: key, _remove: remove, _isNew: isNew }, (write) => {
          host._wrote(null);
          isChanged = true;
          answer.then((value) => accepted(write, value)).catch((error) => page2._step(() => fail(write, error)));
        });
      },
      _seen: (keys) => add({ _after: host._begun(), _keys: keysIn(keys) }, awaitKeys),
      /** Resolves when a fetch is shown that begins after so many. */
      _fetched: (after = host._begun()) => add({ _after: after }, () => {
      }),
      /** What had arrived on the old connection, and was not shown yet, must arrive anew. */
      _dropped() {
        for (const write of writes) if (write._arrived) awaitKeys(write);
      },
      /** Let go of those that the list contains. Whether there is something else to show. */
      _settle() {
        const earlier = [];
        for (const write of writes) {
          const isIn = host._fetched() > write._after || write._arrived && host._follows();
          if (!isIn || earlier.some((one) => collide(one, write))) earlier.push(write);
          else finish(write);
        }
        writes = earlier;
        const before = isChanged;
        isChanged = false;
        return before;
      },
      _overlay(rows) {
        if (!writes.length && !overlaid.size) return rows;
        const all = new Map(rows);
        const changed = /* @__PURE__ */ new Map();
        for (const write of writes) {
          if (!write._change) continue;
          const key = write._key;
          const row = all.get(key);
          if (write._remove) all.delete(key);
          else if (write._isNew ? !row && !write._hadIt : row) {
            const now2 = { ...row, ...write._change };
            all.set(key, now2);
            changed.set(key, now2);
          }
        }
        for (const [key, now2] of changed) {
          const same = [rows.get(key), overlaid.get(key)].find((old) => equal(old, now2)) ?? now2;
          changed.set(key, same);
          if (all.has(key)) all.set(key, same);
        }
        overlaid = changed;
        return all;
      },
      /** The object that shows this row, with writes over it. */
      _shown: (key) => overlaid.get(key),
      /** The list is closed. */
      _end() {
        isOver = true;
        for (const write of writes.splice(0)) finish(write);
      }
    };
    function finish(write) {
      isChanged = true;
      write._forget?.();
      write._resolve();
    }
  }

  // src/datasync/live/list.ts
  var REFUSALS = [401, 403, 404];
  var MOST_HELD = 1e4;
  var EPOCH_SPREAD = 3e3;
  var CLASSIC_PAUSE = 500;
  function openList(page2, options) {
    if (!options.url && !options.fetch || options.window && !options.order) {
      throw new TypeError("live() expects a url or fetch, and an order beside a window");
    }
    const changed = new primitives.Signal();
    const listeners = /* @__PURE__ */ new Set();
    let status = "loading";
    let error = null;
    let isLoaded = false;
    let isClosed = false;
    let isDirty = false;
    let requestError = null;
    let writeError = null;
    let shown = null;
    let candidate = null;
    let waiting;
    let fetched = 0;
    let lastToken;
    const writes = createWrites(options, {
      _page: page2,
      _begun: () => asking._count(),
      _fetched: () => fetched,
      _follows: () => shown?._id !== void 0 && !!shown._applies && !shown._refetches,
      _refetches: () => !!shown?._refetches,
      _has: (key) => view._has(key),
      _fetch: () => shown?._refetches ? asking._stale() : asking._due(),
      _wrote(failure) {
        writeError = failure;
      }
    });
    const view = createView(options, writes);
    let items = view._render();
    const asking = createAsking(page2, options, {
      _size: view._size,
      _shown: () => shown,
      _waits: () => !!candidate,
      _arrived(answer, question) {
        isDirty = true;
        requestError = null;
        if (!shown || shown._refetches) show(answer, question._number);
        if (shown) shown._fetchedAt = question._position ?? shown._fetchedAt;
        const token = answer._token;
        if (!question._isForToken) {
          asking._succeeded();
        } else if (!token || token === lastToken) {
          asking._retry(question);
        } else {
          lastToken = token;
          const subscription = subscribe(owner, token);
          if (!shown) shown = subscription;
          else {
            candidate = subscription;
            waiting = [answer, question._number];
          }
          page2._open(subscription);
        }
      },
      _failed(reason, question) {
        isDirty = true;
        requestError = reason;
        if (reason instanceof ResponseError && REFUSALS.includes(reason.status)) {
          view._replace({ _rows: /* @__PURE__ */ new Map(), _complete: true });
          close2();
        } else asking._retry(question);
      }
    });
    const show = (answer, number) => {
      writes._notice(answer._rows);
      view._replace(answer);
      fetched = number;
      isLoaded = true;
    };
    const apply = (effects) => {
      writes._notice(effects);
      view._apply(effects);
      isDirty = true;
    };
    const close2 = () => {
      isClosed = true;
      asking._end();
      page2._close(shown);
      page2._close(candidate);
      shown = candidate = null;
      writes._end();
    };
    const statusNow = () => {
      if (isClosed) return "closed";
      if (!isLoaded) return "loading";
      if (shown?._id === void 0) {
        return page2._isLost() || shown?._since !== void 0 ? "reconnecting" : "catching-up";
      }
      return shown._applies && !shown._late && !(shown._refetches && requestError) ? "live" : "catching-up";
    };
    const owner = {
      _opened(subscription, answer) {
        if (answer.stale) owner._stale(subscription);
        else subscription._fetchedAt = answer.position;
        if (answer.stale === false) subscription._refetches = true;
        owner._took(subscription, effectsOf(answer.changes, subscription._items));
        if (answer.refresh !== void 0) asking._dueIn(answer.refresh);
        if (subscription._applies) subscription._late = !answer.live;
        else if (answer.live) owner._wentLive(subscription);
      },
      _ended(subscription, reason, afterMs) {
        if (subscription === shown) {
          page2._close(candidate);
          shown = candidate = null;
          asking._abandon();
        } else if (subscription === candidate) {
          candidate = null;
        } else return;
        const delayMs = asking._delayMs(reason === "epoch" ? EPOCH_SPREAD : 0);
        asking._dueIn(Math.max(afterMs, delayMs));
      },
      _took(subscription, effects) {
        if (subscription === shown && shown._applies) {
          if (effects.size) apply(effects);
          return;
        }
        const held = subscription._held;
        for (const [key, row] of effects) held.set(key, row);
        if (held.size <= MOST_HELD) return;
        page2._close(subscription);
        owner._ended(subscription, "held", 0);
      },
      _wentLive(subscription) {
        if (subscription === candidate) {
          candidate = null;
          page2._close(shown);
          shown = subscription;
          if (waiting[1] > fetched) show(...waiting);
        }
        if (subscription !== shown) return;
        shown._applies = true;
        shown._late = false;
        asking._succeeded();
        apply(shown._held);
        shown._held = /* @__PURE__ */ new Map();
      },
      _stale(subscription) {
        subscription._refetches = true;
        if (shown) shown._refetches = true;
        asking._stale();
      },
      _refresh: asking._dueIn,
      _wake: asking._wake,
      _connected() {
        page2._open(shown);
        page2._open(candidate);
      },
      _dropped() {
        if (candidate) {
          candidate._ended = true;
          candidate = null;
          asking._due();
        }
        writes._dropped();
      },
      _isOf: (model) => !options.model || options.model === model,
      _classicDelta(delta, isAlone) {
        if (!isAlone) {
          asking._dueIn(CLASSIC_PAUSE);
          return;
        }
        const effects = effectsOfDelta(delta, namesOf(options.key));
        if (shown) owner._took(shown, effects);
        if (candidate) owner._took(candidate, effects);
      },
      _render() {
        if (writes._settle()) isDirty = true;
        if (!isClosed) {
          if (!candidate && view._runsOut()) asking._due();
          asking._go();
        }
        if (!isDirty && status === statusNow()) return false;
        isDirty = false;
        const before = [items, status, error];
        items = view._render();
        status = statusNow();
        error = requestError ?? writeError;
        return [items, status, error].some((now2, index) => now2 !== before[index]);
      },
      _announce() {
        if (isClosed) page2._remove(owner);
        for (const tell of [() => changed.dispatch(list), ...listeners]) guard(tell);
      }
    };
    const fetchNow = () => {
      const shownThen = writes._fetched();
      page2._step(asking._now);
      return shownThen;
    };
    const list = {
      get items() {
        return items;
      },
      get status() {
        return status;
      },
      get error() {
        return error;
      },
      get hasMore() {
        return view._hasMore();
      },
      changed,
      subscribe(listener) {
        const tell = () => listener(items);
        listeners.add(tell);
        tell();
        return () => listeners.delete(tell);
      },
      mutate: writes._mutate,
      seen: writes._seen,
      refetch: fetchNow,
      more() {
        isDirty = true;
        const isEnough = view._widen() && asking._count() === fetched;
        return isEnough ? writes._fetched(-1) : fetchNow();
      },
      close: () => page2._step(close2)
    };
    page2._add(owner);
    page2._step(() => {
    });
    return list;
  }

  // src/datasync/live/page.ts
  var MOST_AT_ONCE = 32;
  var GATHER_MS = 50;
  var ACQUIRED = { recovered: true, items: [], position: "", live: true, changes: [] };
  function createPage(service) {
    const { snorky } = service;
    const lists = /* @__PURE__ */ new Set();
    const byId = /* @__PURE__ */ new Map();
    const waiting = /* @__PURE__ */ new Set();
    let queue = [];
    let gathering;
    let asking = 0;
    let position;
    let isLost = false;
    let isClassic = false;
    let depth = 0;
    const step2 = (action) => {
      depth++;
      try {
        action();
      } finally {
        if (!--depth) {
          if (queue.length) gather();
          for (const list of [...lists].filter((each2) => each2._render())) list._announce();
        }
      }
    };
    const call2 = (command, params, resolve = () => {
    }, reject = () => {
    }) => {
      service._call(
        command,
        params,
        (data) => step2(() => resolve(data)),
        (error) => {
          if (!isDisconnection(error)) step2(() => reject(error));
        }
      );
    };
    const end2 = (subscription, reason, afterMs = 0) => {
      if (subscription._ended) return;
      subscription._ended = true;
      byId.delete(subscription._id);
      subscription._owner._ended(subscription, reason, afterMs);
    };
    const requestOf = ({ _token, _since, _applies }) => ({
      token: _token,
      since: _since,
      live: _applies || void 0
    });
    const send = (all) => {
      if (isClassic) {
        for (const one of all) acquire(one);
        return;
      }
      call2(
        "openSubscriptions",
        { subscriptions: all.map(requestOf) },
        (answers) => all.forEach((each2, index) => answered2(each2, answers[index])),
        (error) => {
          isClassic = error.message === "Unknown command";
          if (isClassic) send(all.filter((each2) => !each2._ended));
          else for (const each2 of all) end2(each2, error.message);
        }
      );
    };
    const acquire = (subscription) => {
      const token = subscription._token;
      call2(
        "acquireSubscription",
        { token },
        () => answered2(subscription, { ...ACQUIRED, subscription: token, token }),
        (error) => end2(subscription, error.message)
      );
    };
    const answered2 = (subscription, answer) => {
      if (!answer.recovered) {
        end2(subscription, answer.reason, answer.after_ms);
        return;
      }
      position = answer.position;
      if (subscription._ended) {
        close2(answer.subscription);
        return;
      }
      subscription._id = answer.subscription;
      subscription._token = answer.token;
      subscription._items = new Set(answer.items);
      byId.set(subscription._id, subscription);
      subscription._owner._opened(subscription, answer);
    };
    const close2 = (id) => {
      if (isClassic) call2("cancelSubscription", { token: id });
      else call2("closeSubscriptions", { subscriptions: [id] });
    };
    const flush = () => {
      clearTimeout(gathering);
      gathering = void 0;
      if (!snorky.isConnected) return;
      const all = [...new Set(queue)].filter((each2) => !each2._ended);
      queue = [];
      while (all.length) send(all.splice(0, MOST_AT_ONCE));
    };
    const gather = () => {
      if (!asking) flush();
      else gathering ?? (gathering = setTimeout(flush, GATHER_MS));
    };
    const awaitKeys = (one) => {
      if (isClassic) return settle(one, false);
      call2(
        "awaitKeys",
        { keys: one._keys },
        () => settle(one, true),
        () => settle(one, false)
      );
    };
    const settle = (one, known2) => {
      if (waiting.delete(one)) one._done(known2);
    };
    const each = (frame, action) => {
      for (const id of frame.subscriptions) {
        const subscription = byId.get(id);
        if (subscription) action(subscription);
      }
    };
    const frames = {
      changes(frame) {
        for (const subscription of byId.values()) {
          const effects = effectsOf(frame.changes, subscription._items);
          if (effects.size) subscription._owner._took(subscription, effects);
        }
      },
      live: (frame) => each(frame, (one) => one._owner._wentLive(one)),
      late: (frame) => each(frame, (one) => one._late = true),
      stale: (frame) => each(frame, (one) => one._owner._stale(one)),
      refresh: (frame) => each(frame, (one) => one._owner._refresh(frame.after_ms)),
      resync: (frame) => frame.subscriptions && each(frame, (one) => end2(one, frame.reason, frame.after_ms)),
      mark(frame) {
        for (const [id, subscription] of byId) {
          subscription._token = frame.tokens?.[String(id)] ?? subscription._token;
        }
      },
      delta(frame) {
        if (!isClassic) return;
        const meant = [...lists].filter((list) => list._isOf(frame.delta.model));
        for (const list of meant) list._classicDelta(frame.delta, meant.length === 1);
      }
    };
    return {
      _snorky: snorky,
      _step: step2,
      /** The last one that came in a frame or in an answer to an opening on this connection. */
      _position: () => position,
      /** There was a connection, and it has gone. */
      _isLost: () => isLost,
      _add(list) {
        lists.add(list);
      },
      _remove(list) {
        lists.delete(list);
      },
      /** The page is looked at again, or the network is back. */
      _wake() {
        step2(() => {
          for (const list of lists) list._wake();
        });
      },
      /** A list begins (1), or ends (-1), to ask the web application for a token. */
      _asks(difference) {
        asking += difference;
      },
      /** Open it as soon as there is a connection: each list says so again when there is one. */
      _open(subscription) {
        if (subscription) queue.push(subscription);
      },
      _close(subscription) {
        if (!subscription || subscription._ended) return;
        subscription._ended = true;
        if (byId.delete(subscription._id)) close2(subscription._id);
      },
      _awaitKeys(keys, done) {
        const one = { _keys: keys, _done: done };
        waiting.add(one);
        if (snorky.isConnected) awaitKeys(one);
        return () => waiting.delete(one);
      },
      _frame(message) {
        const { type, position: at } = message ?? {};
        if (!Object.hasOwn(frames, type)) return;
        step2(() => {
          position = at ?? position;
          frames[type](message);
        });
      },
      _connectionOpened() {
        isLost = isClassic = false;
        queue = [];
        step2(() => {
          for (const list of lists) list._connected();
          flush();
          for (const one of waiting) awaitKeys(one);
        });
      },
      _connectionClosed() {
        isLost = true;
        queue = [];
        step2(() => {
          for (const subscription of byId.values()) {
            subscription._since = subscription._refetches ? subscription._fetchedAt : position;
            subscription._id = void 0;
          }
          byId.clear();
          position = void 0;
          for (const list of lists) list._dropped();
        });
      }
    };
  }

  // src/datasync/service.ts
  var DataSync = Class(RPCService, {
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.deltaReceived = new primitives.Signal();
      this.resyncNeeded = new primitives.Signal();
      this._tokens = /* @__PURE__ */ new Map();
      this._turns = createTurns();
      this.notificationReceived.add(receive2, this);
    },
    acquireSubscription(params) {
      const token = params?.token;
      const became = (state) => {
        if (this._tokens.get(token) !== "asked") return;
        if (state) this._tokens.set(token, state);
        else this._tokens.delete(token);
      };
      if (this._tokens.get(token) !== "acquired") this._tokens.set(token, "asked");
      return this._turns._take(
        token,
        true,
        () => this.rpcCall("acquireSubscription", params).then(
          (value) => {
            became("acquired");
            return value;
          },
          (error) => {
            became(isDisconnection(error) ? "lost" : void 0);
            throw error;
          }
        )
      );
    },
    cancelSubscription(params) {
      const token = params?.token;
      this._tokens.delete(token);
      return this._turns._take(token, false, () => this.rpcCall("cancelSubscription", params));
    },
    live(options) {
      return openList(this._page ?? (this._page = createPage(this)), options);
    },
    _connectionClosed(error) {
      RPCService.prototype._connectionClosed.call(this, error);
      this._page?._connectionClosed();
      for (const [token, state] of this._tokens) {
        if (state === "acquired") this._tokens.set(token, "lost");
      }
    },
    _woke() {
      this._page?._wake();
    },
    _connectionOpened() {
      this._page?._connectionOpened();
      for (const [token, state] of this._tokens) {
        if (state !== "lost") continue;
        this._tokens.delete(token);
        this.resyncNeeded.dispatch({ reason: "lost", token });
      }
    }
  });
  function receive2(notification) {
    this._page?._frame(notification);
    if (notification?.type === "delta") {
      this.deltaReceived.dispatch(notification.delta);
      this.onDelta?.(notification.delta);
    } else if (notification?.type === "resync" && this._tokens.get(notification.token) === "acquired") {
      const { reason, token, after_ms } = notification;
      this._tokens.delete(token);
      this.resyncNeeded.dispatch({ reason, token, after_ms });
    }
  }

  // src/datasync/single_item_collection.ts
  var SingleItemCollection = Class(
    Collection,
    {
      constructor(readHandler, updateHandler, removeHandler) {
        Object.assign(this, { readHandler, updateHandler, removeHandler });
      },
      insert() {
        console.error("Received insert() request in SingleItemCollection");
      },
      getIterator() {
        return new SingleItemIterator(this);
      }
    }
  );
  var SingleItemIterator = Class(Iterator, {
    constructor(collection) {
      Object.assign(this, { collection });
      this._position = new Position(() => collection.readHandler() == null ? 0 : 1);
    },
    hasNext() {
      return this._position.hasNext();
    },
    next() {
      this._position.advance();
      return this.collection.readHandler();
    },
    remove() {
      this._position.current();
      this.collection.removeHandler?.();
      this._position.removed();
    },
    update(value) {
      this._position.current();
      this.collection.updateHandler(value);
    }
  });

  // src/datasync/statics.ts
  Object.assign(DataSync, {
    CollectionDeltaProcessor,
    Collection,
    Iterator,
    ArrayCollection,
    ArrayIterator,
    SingleItemCollection,
    SingleItemIterator
  });

  // src/services/chat.ts
  var Chat = Class(RPCService, {
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.messageReceived = new primitives.Signal();
      this.presenceReceived = new primitives.Signal();
      this.readReceived = new primitives.Signal();
      this._turns = createTurns();
      this.notificationReceived.add(receive3, this);
    },
    join(params) {
      return this._turns._take(canonical(params?.channel), true, () => this.rpcCall("join", params));
    },
    leave(params) {
      return this._turns._take(
        canonical(params?.channel),
        false,
        () => this.rpcCall("leave", params)
      );
    }
  });
  Chat.addRPCMethods(["send", "read"]);
  function receive3(notification) {
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

  // src/services/cursors_document.ts
  var KEYS = ["position", "status"];
  var Cursor = Class({
    isMine: false,
    publicHandle: void 0,
    constructor(document, { position, status }) {
      Object.assign(this, { document, position, status });
    }
  });
  var ForeignCursor = Class(Cursor, {
    constructor(document, data) {
      Cursor.call(this, document, data);
      this.publicHandle = data.publicHandle;
      this.owner = data.owner;
    }
  });
  var OwnCursor = Class(Cursor, {
    isMine: true,
    constructor(document, privateHandle, place) {
      Cursor.call(this, document, place);
      this.privateHandle = privateHandle;
      this.removed = false;
      this.pendingPromiseCount = 0;
      this._sent = { position: text(place.position), status: text(place.status) };
      this._accepted = { ...this._sent };
    },
    update(newData) {
      const changes = {};
      const texts = {};
      for (const key of Object.keys(newData ?? {})) {
        if (!KEYS.includes(key)) throw new Error(`Can't update '${key}' of cursor.`);
        const value = newData[key] ?? null;
        if (text(value) === this._sent[key]) continue;
        changes[key] = value;
        texts[key] = text(value);
      }
      if (Object.keys(changes).length === 0)
        return new primitives.Promise((resolve) => resolve(null));
      Object.assign(this, changes);
      Object.assign(this._sent, texts);
      return answered(
        this,
        call(this, "updateCursor", { newData: changes }),
        () => Object.assign(this._accepted, texts),
        () => takeBack(this, texts)
      );
    },
    remove() {
      discard(this);
      return answered(this, call(this, "removeCursor"));
    },
    isSynchronized() {
      return this.pendingPromiseCount === 0;
    }
  });
  var privateHandles = 0;
  var Document = Class({
    constructor(service, name) {
      Object.assign(this, { service, name, cursors: [] });
      this.cursorAdded = new primitives.Signal();
      this.cursorUpdated = new primitives.Signal();
      this.cursorRemoved = new primitives.Signal();
    },
    createCursor({ position = null, status = null } = {}) {
      const cursor = new OwnCursor(this, privateHandles++, { position, status });
      this.cursors.push(cursor);
      const answer = answered(
        cursor,
        call(cursor, "createCursor", { document: this.name, position, status }),
        (publicHandle) => {
          cursor.publicHandle = publicHandle;
        },
        () => discard(cursor)
      );
      return [cursor, answer];
    }
  });
  function discard(cursor) {
    const { cursors } = cursor.document;
    const index = cursors.indexOf(cursor);
    if (index >= 0) cursors.splice(index, 1);
    cursor.removed = true;
  }
  function call(cursor, command, params = {}) {
    const { privateHandle, document } = cursor;
    return document.service.rpcCall(command, { privateHandle, ...params });
  }
  function answered(cursor, answer, accepted = () => {
  }, refused = () => {
  }) {
    cursor.pendingPromiseCount++;
    return answer.then(
      (value) => {
        cursor.pendingPromiseCount--;
        accepted(value);
        return value;
      },
      (error) => {
        cursor.pendingPromiseCount--;
        refused();
        throw error;
      }
    );
  }
  function takeBack(cursor, texts) {
    for (const key of KEYS) {
      if (texts[key] === void 0 || texts[key] !== cursor._sent[key]) continue;
      cursor._sent[key] = cursor._accepted[key];
      cursor[key] = JSON.parse(cursor._accepted[key]);
    }
  }
  function text(value) {
    return canonical(value ?? null);
  }

  // src/services/cursors.ts
  var Cursors = Class(RPCService, {
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.cursorAdded = new primitives.Signal();
      this.cursorUpdated = new primitives.Signal();
      this.cursorRemoved = new primitives.Signal();
      this._documents = /* @__PURE__ */ new Map();
      this._joining = /* @__PURE__ */ new Map();
      this._turns = createTurns();
      this.packetReceived.add(joined, this, 1);
      this.notificationReceived.add(receive4, this);
    },
    join(params) {
      return this._turns._take(canonical(params?.document), true, () => {
        const callId = this._nextCallId;
        const document = new Document(this, params?.document);
        this._joining.set(callId, document);
        return this.rpcCall("join", params).then(
          () => document,
          (error) => {
            this._joining.delete(callId);
            throw error;
          }
        );
      });
    },
    leave(params) {
      const key = canonical(params?.document);
      end(this, key);
      return this._turns._take(key, false, () => {
        end(this, key);
        return this.rpcCall("leave", params);
      });
    },
    _connectionClosed(error) {
      RPCService.prototype._connectionClosed.call(this, error);
      for (const key of this._documents.keys()) end(this, key);
    },
    STATIC: { Document, Cursor, ForeignCursor, OwnCursor }
  });
  function joined(message) {
    const document = this._joining.get(message?.callId);
    if (!document || message.type !== "response") return;
    this._joining.delete(message.callId);
    for (const data of message.data.cursors) {
      document.cursors.push(new ForeignCursor(document, data));
    }
    this._documents.set(canonical(document.name), document);
  }
  function receive4(notification) {
    const data = notification?.cursor;
    const document = this._documents.get(canonical(data?.document));
    if (!document) return;
    const { cursors } = document;
    if (notification.type === "cursorAdded") {
      const cursor2 = new ForeignCursor(document, data);
      cursors.push(cursor2);
      announce(this, "cursorAdded", cursor2);
      return;
    }
    const cursor = cursors.find(
      (each) => !each.isMine && each.publicHandle === data.publicHandle
    );
    if (!cursor) return;
    if (notification.type === "cursorUpdated") {
      cursor.position = data.position;
      cursor.status = data.status;
      announce(this, "cursorUpdated", cursor);
    } else if (notification.type === "cursorRemoved") {
      cursors.splice(cursors.indexOf(cursor), 1);
      announce(this, "cursorRemoved", cursor);
    }
  }
  function announce(service, signal, cursor) {
    cursor.document[signal].dispatch(cursor);
    service[signal].dispatch(cursor);
  }
  function end(service, key) {
    const document = service._documents.get(key);
    service._documents.delete(key);
    for (const cursor of [...document?.cursors ?? []]) {
      if (cursor.isMine) discard(cursor);
    }
  }

  // src/services/events.ts
  var MAX_PATHS = 100;
  var MAX_CHARACTERS2 = 8e3;
  var Refused = class extends Error {
  };
  var Outdated = class extends Error {
  };
  var Events = Class(RPCService, {
    connectUrl: "/events/connect/{id}",
    disconnectUrl: null,
    headers: {},
    csrfCookie: "csrftoken",
    csrfHeader: "X-CSRFToken",
    requestTimeout: 20,
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.updateReceived = new primitives.Signal();
      this.reconnected = new primitives.Signal();
      this.refused = new primitives.Signal();
      this.unavailable = new primitives.Signal();
      this.headers = { ...this.headers };
      this._paths = /* @__PURE__ */ new Map();
      this._leaving = /* @__PURE__ */ new Map();
      this._epoch = 0;
      this._isWorking = this._isWanted = false;
      this._returning = false;
      this.notificationReceived.add(receive5, this);
    },
    connect(path, callback) {
      return new primitives.Promise((resolve, reject) => {
        if (typeof path !== "string" || typeof callback !== "function") {
          throw new TypeError("Expected a path and a function");
        }
        let connection = this._paths.get(path);
        if (!connection) {
          connection = { callbacks: [], connected: false, wasConnected: false, waiting: [] };
          this._paths.set(path, connection);
        }
        if (!connection.callbacks.includes(callback)) connection.callbacks.push(callback);
        if (connection.connected) resolve(null);
        else connection.waiting.push({ resolve, reject });
        work(this);
      });
    },
    disconnect(path, callback) {
      return new primitives.Promise((resolve, reject) => {
        const connection = this._paths.get(path);
        if (connection) {
          const { callbacks } = connection;
          connection.callbacks = callback ? callbacks.filter((each) => each !== callback) : [];
        }
        if (!connection || connection.callbacks.length > 0) {
          resolve(null);
          return;
        }
        this._paths.delete(path);
        for (const waiting of connection.waiting) waiting.resolve(null);
        if (!this.snorky.isConnected) {
          resolve(null);
          return;
        }
        this._leaving.set(path, [...this._leaving.get(path) ?? [], { resolve, reject }]);
        work(this);
      });
    },
    _connectionClosed(error) {
      RPCService.prototype._connectionClosed.call(this, error);
      this._epoch++;
      for (const connection of this._paths.values()) {
        connection.wasConnected || (connection.wasConnected = connection.connected);
        connection.connected = false;
        this._returning || (this._returning = connection.wasConnected);
      }
      for (const settles of this._leaving.values()) for (const { resolve } of settles) resolve(null);
      this._leaving.clear();
    },
    _connectionOpened() {
      if (this._paths.size > 0) work(this);
      else this._returning = false;
    }
  });
  function receive5(update) {
    if (update?.type !== "update") return;
    announce2(this.updateReceived, update);
    for (const callback of this._paths.get(update.pattern ?? update.path)?.callbacks ?? []) {
      try {
        callback(update.message, update.path);
      } catch (error) {
        console.error(error);
      }
    }
  }
  async function work(service) {
    service._isWanted = true;
    if (service._isWorking) return;
    service._isWorking = true;
    let failures = 0;
    while (service._isWanted) {
      await null;
      service._isWanted = false;
      const epoch = service._epoch;
      try {
        if (!await step(service)) continue;
        failures = 0;
      } catch (error) {
        if (service._epoch === epoch) {
          announce2(service.unavailable, error);
          const { minReconnectDelay, maxReconnectDelay } = service.snorky.options;
          const seconds = reconnectDelay(failures++, minReconnectDelay, maxReconnectDelay);
          await new Promise((resolve) => setTimeout(resolve, seconds * 1e3));
        }
      }
      service._isWanted = true;
    }
    service._isWorking = false;
  }
  async function step(service) {
    const epoch = service._epoch;
    if (!service.snorky.isConnected) return false;
    const leaving = someOf(service._leaving.keys());
    if (leaving.length > 0) {
      await leave(service, epoch, leaving);
      return true;
    }
    const missing2 = [...service._paths].filter(([, { connected }]) => !connected);
    const asked = someOf(missing2.map(([path]) => path));
    if (asked.length > 0) {
      const id = await service.rpcCall("getId");
      await ask3(service, epoch, id, asked);
      return true;
    }
    if (service._returning) {
      service._returning = false;
      announce2(service.reconnected);
    }
    return false;
  }
  function someOf(paths) {
    const some = [];
    let characters = 0;
    for (const path of paths) {
      characters += path.length;
      if (some.length === MAX_PATHS || some.length > 0 && characters > MAX_CHARACTERS2) break;
      some.push(path);
    }
    return some;
  }
  async function ask3(service, epoch, id, paths) {
    try {
      await post(service, epoch, service.connectUrl, id, paths);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (paths.length > 1) {
        const half = Math.ceil(paths.length / 2);
        await ask3(service, epoch, id, paths.slice(0, half));
        await ask3(service, epoch, id, paths.slice(half));
      } else {
        giveUp(service, paths[0], error);
      }
      return;
    }
    for (const path of paths) {
      const connection = service._paths.get(path);
      if (!connection || service._leaving.has(path)) continue;
      connection.connected = true;
      for (const { resolve } of connection.waiting.splice(0)) resolve(null);
    }
  }
  function giveUp(service, path, error) {
    const connection = service._paths.get(path);
    if (!connection || service._leaving.has(path)) return;
    service._paths.delete(path);
    for (const { reject } of connection.waiting) reject(error);
    if (connection.wasConnected) {
      announce2(service.refused, { path, error });
      console.error(`Snorky: could not connect again to path "${path}":`, error);
    }
  }
  async function leave(service, epoch, paths) {
    const settles = paths.flatMap((path) => service._leaving.get(path));
    for (const path of paths) service._leaving.delete(path);
    try {
      if (service.disconnectUrl === null) {
        await service.rpcCall("leave", { path: paths });
      } else {
        const id = await service.rpcCall("getId");
        await post(service, epoch, service.disconnectUrl, id, paths);
      }
    } catch (error) {
      if (service._epoch === epoch) for (const { reject } of settles) reject(error);
    }
    for (const { resolve } of settles) resolve(null);
  }
  async function post(service, epoch, template, id, paths) {
    if (service._epoch !== epoch) throw new Outdated("The connection was lost");
    const giveUp2 = new AbortController();
    const timer = new Timer();
    timer.start((service.requestTimeout || Infinity) * 1e3, () => giveUp2.abort());
    try {
      const answer = await fetch(addressOf(template, id), {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json", ...csrf(service), ...service.headers },
        body: JSON.stringify(paths),
        signal: giveUp2.signal
      });
      if (service._epoch !== epoch) throw new Outdated("The connection was lost");
      if (answer.redirected) {
        throw new Refused(
          `Refused by the web application: ${paths.join(", ")}: sent to ${answer.url}`
        );
      }
      if (answer.ok) return;
      const text2 = `${paths.join(", ")}: ${answer.status} ${reasonIn(await answer.text())}`;
      const passes = answer.status >= 500 || [408, 410, 425, 429].includes(answer.status);
      throw passes ? new Error(text2) : new Refused(`Refused by the web application: ${text2}`);
    } finally {
      timer.stop();
    }
  }
  function announce2(signal, ...args) {
    try {
      signal.dispatch(...args);
    } catch (error) {
      console.error(error);
    }
  }
  function addressOf(template, id) {
    if (template.includes("{id}")) return template.replace("{id}", encodeURIComponent(id));
    return `${template}${template.includes("?") ? "&" : "?"}id=${encodeURIComponent(id)}`;
  }
  function reasonIn(body) {
    try {
      return String(JSON.parse(body).error ?? "");
    } catch {
      return body.startsWith("<") || body.includes("\n") ? "" : body.slice(0, 200);
    }
  }
  function csrf(service) {
    const { document } = globalThis;
    const cookie = document?.cookie.split("; ").find((each) => each.startsWith(`${service.csrfCookie}=`))?.slice(service.csrfCookie.length + 1);
    const field = document?.querySelector("input[name=csrfmiddlewaretoken]");
    const token = cookie === void 0 ? field?.value : decodeURIComponent(cookie);
    return token ? { [service.csrfHeader]: token } : {};
  }

  // src/services/messaging.ts
  var Messaging = Class(RPCService, {
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.messageReceived = new primitives.Signal();
      this._turns = createTurns();
      this.notificationReceived.add(receive6, this);
    },
    registerParticipant(params) {
      return this._turns._take(params?.name, true, () => this.rpcCall("registerParticipant", params));
    },
    unregisterParticipant(params) {
      return this._turns._take(
        params?.name,
        false,
        () => this.rpcCall("unregisterParticipant", params)
      );
    }
  });
  Messaging.addRPCMethods(["listParticipants", "send"]);
  function receive6(notification) {
    if (notification?.type !== "message") return;
    this.messageReceived.dispatch(notification);
    this.onParticipantMessage?.(notification);
  }

  // src/services/pubsub.ts
  var PubSub = Class(RPCService, {
    _setUp() {
      RPCService.prototype._setUp.call(this);
      this.messagePublished = new primitives.Signal();
      this.messagesMissed = new primitives.Signal();
      this.presenceReceived = new primitives.Signal();
      this._subscriptions = /* @__PURE__ */ new Map();
      this._turns = createTurns();
      this.notificationReceived.add(receive7, this);
    },
    subscribe(params) {
      return subscribe2(this, "subscribe", params);
    },
    join(params) {
      return subscribe2(this, "join", params);
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
        if (subscription.state !== "asked") subscription.state = "lost";
        subscription.restoring = null;
      }
    },
    _connectionOpened() {
      for (const [key, subscription] of this._subscriptions) {
        if (subscription.state === "lost") restore(this, key, subscription);
      }
    }
  });
  PubSub.addRPCMethods(["publish", "presence"]);
  function receive7(notification) {
    const { type, channel, position } = notification ?? {};
    if (position && channel !== void 0) {
      const subscription = this._subscriptions.get(canonical(channel));
      if (subscription) subscription.params.since = position;
    }
    if (type === "mark") {
      for (const { params, state } of this._subscriptions.values()) {
        if (params.since && state === "there") params.since = position;
      }
    }
    if (type === "unsubscribed") this._subscriptions.delete(canonical(channel));
    if (type === "missed") this.messagesMissed.dispatch(notification);
    if (type === "presence") this.presenceReceived.dispatch(notification);
    if (type !== "message") return;
    this.messagePublished.dispatch(notification);
    this.onMessagePublished?.(notification);
  }
  function subscribe2(service, command, params) {
    const key = canonical(params?.channel);
    let subscription = service._subscriptions.get(key);
    if (subscription?.restoring) {
      const answer = subscription.restoring;
      subscription.restoring = null;
      return answer;
    }
    if (!subscription || subscription.state === "lost" || subscription.state === "unknown") {
      const { since } = subscription?.params ?? {};
      subscription = { params: { since, ...params }, state: "asked", restoring: null };
      service._subscriptions.set(key, subscription);
    }
    const own2 = subscription;
    return service._turns._take(
      key,
      true,
      () => new primitives.Promise(
        (resolve, reject) => service._call(
          command,
          own2.params,
          (answer) => {
            resolve(answer);
            if (answer) recover(service, own2.params, answer);
          },
          reject
        )
      )
    ).then(
      (value) => {
        own2.state = "there";
        return value;
      },
      (error) => {
        if (own2.state === "asked") notMade(service, key, own2, error);
        throw error;
      }
    );
  }
  function recover(service, params, answer) {
    params.since = answer.position;
    for (const each of answer.messages ?? []) receive7.call(service, each);
    if (answer.recovered === false) {
      receive7.call(service, { type: "missed", channel: params.channel, reason: answer.reason });
    }
  }
  function unsubscribe(service, command, params) {
    const key = canonical(params?.channel);
    const known2 = service._subscriptions.get(key);
    service._subscriptions.delete(key);
    if (known2?.state === "lost") return new primitives.Promise((resolve) => resolve(null));
    return service._turns._take(key, false, () => service.rpcCall(command, params));
  }
  function notMade(service, key, subscription, error) {
    if (isDisconnection(error)) subscription.state = "lost";
    else if (error instanceof ConnectionError) subscription.state = "unknown";
    else if (service._subscriptions.get(key) === subscription) service._subscriptions.delete(key);
  }
  function restore(service, key, { params }) {
    const answer = subscribe2(service, "subscribe", params);
    const subscription = service._subscriptions.get(key);
    subscription.restoring = answer;
    answer.then(
      () => {
      },
      (error) => {
        if (subscription.restoring === answer) subscription.restoring = null;
        if (isDisconnection(error)) return;
        console.error(
          `Snorky: could not subscribe again to channel ${key} of service "${service.name}":`,
          error
        );
      }
    );
  }

  // src/classic.ts
  var parts = {
    Chat,
    ConnectionError,
    Cursors,
    DataSync,
    Events,
    Messaging,
    PubSub,
    RPCService,
    Service
  };
  Object.assign(Snorky, parts);

  // src/script.ts
  var page = globalThis;
  if (typeof page.signals?.Signal === "function") Snorky.Signal = page.signals.Signal;
  page.Snorky = Snorky;
})();
