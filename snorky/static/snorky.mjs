/*! Snorky 1.0.0-dev.0 | MPL-2.0 */

// src/backoff.ts
var SHORTEST_DELAY = 0.1;
function reconnectDelay(attempt, minDelay, maxDelay, random = Math.random) {
  const bound = Math.min(maxDelay, minDelay * 2 ** attempt);
  const shortest = Math.min(SHORTEST_DELAY, bound);
  return shortest + random() * (bound - shortest);
}
function isTerminal(code) {
  return code >= 3500 && code < 4e3 || code >= 4500 && code < 5e3;
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

// src/comet.ts
var MAX_MESSAGES = 100;
var MAX_CHARACTERS = 1e5;
var MIN_PAUSE_MS = 100;
var MAX_PAUSE_MS = 2e3;
var Rejected = class extends Error {
};
var CometSocket = class {
  /** Throws where `address` is none. */
  constructor(address, streaming) {
    this.streaming = streaming;
    this.onopen = null;
    this.onmessage = null;
    this.onclose = null;
    this.onerror = null;
    this.bufferedAmount = 0;
    this.closing = new AbortController();
    this.session = "";
    /** The last message of the server's that came. */
    this.after = 0;
    /** The last message of ours that the server has. */
    this.received = 0;
    this.unsent = [];
    this.posting = false;
    this.isOpen = false;
    this.silenceMs = 2e4;
    this.patienceMs = 0;
    this.address = new URL(address, globalThis.location?.href);
    void this.run();
  }
  send(text) {
    this.unsent.push(text);
    this.bufferedAmount += text.length;
    if (!this.posting) void this.post();
  }
  close() {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    if (this.session) this.sayGoodbye();
  }
  sayGoodbye() {
    const request = { method: "POST", credentials: "include", keepalive: true };
    fetch(this.url("/close"), request).catch(() => {
    });
  }
  async run() {
    try {
      const opened = await this.request("", { method: "POST" }, (answer) => answer.json());
      this.session = opened.session;
      if (this.closing.signal.aborted) {
        this.sayGoodbye();
        return;
      }
      this.silenceMs = opened.heartbeatInterval * 2e3;
      this.patienceMs = opened.disconnectDelay * 1e3;
      if (!this.streaming) this.opened();
      await this.insist(
        (progress) => this.streaming ? this.stream(progress) : this.poll(progress),
        true
      );
    } catch (error) {
      this.ended(1006, `${error instanceof Error ? error.message : error}`);
    }
  }
  opened() {
    this.isOpen = true;
    this.onopen?.({});
  }
  ended(code, reason) {
    if (this.closing.signal.aborted) return;
    this.close();
    this.onclose?.({ code, reason });
  }
  /** One response that goes on; what comes is parsed as it comes. */
  stream(progress) {
    return this.request(`/events`, { after: this.after }, async (answer, alive) => {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let pending = "";
      for (; ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        progress();
        const events = (pending + value).split("\n\n");
        pending = events.pop();
        for (const event of events) this.heard(event);
      }
    });
  }
  heard(event) {
    const fields = {};
    for (const line of event.split("\n")) {
      const colon = line.indexOf(":");
      fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
    if (fields.event === "open") {
      if (!this.isOpen) this.opened();
    } else if (fields.event === "close") {
      const [code, reason] = JSON.parse(fields.data);
      this.ended(code, reason);
    } else if (fields.id !== void 0) {
      this.message(Number(fields.id), fields.data);
    }
  }
  async poll(progress) {
    const answer = await this.request(`/poll`, { after: this.after }, (a) => a.json());
    progress();
    const first = answer.after - answer.messages.length + 1;
    answer.messages.forEach((message, index) => {
      this.message(first + index, JSON.stringify(message));
    });
    if (answer.close) this.ended(answer.close[0], answer.close[1]);
  }
  message(number, data) {
    if (this.closing.signal.aborted || number <= this.after) return;
    this.after = number;
    this.onmessage?.({ data });
  }
  /** Send what waits, one request after the other: the order is ours to keep. */
  async post() {
    this.posting = true;
    try {
      while (this.unsent.length > 0 && !this.closing.signal.aborted) {
        const messages = this.batch();
        await this.insist(async () => {
          const { after } = this;
          const body = JSON.stringify({ first: this.received + 1, after, messages });
          await this.request("/messages", { method: "POST", body }, (answer) => answer.text());
        });
        this.received += messages.length;
        this.unsent.splice(0, messages.length);
        for (const { length } of messages) this.bufferedAmount -= length;
      }
    } catch (error) {
      this.ended(1006, `${error instanceof Error ? error.message : error}`);
    }
    this.posting = false;
  }
  batch() {
    let count = 1;
    let characters = this.unsent[0].length;
    while (count < Math.min(this.unsent.length, MAX_MESSAGES)) {
      characters += this.unsent[count].length;
      if (characters > MAX_CHARACTERS) break;
      count++;
    }
    return this.unsent.slice(0, count);
  }
  /** Attempt until it succeeds (again and again: `forever`), or has failed for too long. */
  async insist(attempt, forever = false) {
    let failingSince = 0;
    let pauseMs = MIN_PAUSE_MS;
    const progress = () => {
      failingSince = 0;
      pauseMs = MIN_PAUSE_MS;
    };
    while (!this.closing.signal.aborted) {
      try {
        await attempt(progress);
        if (!forever) return;
      } catch (error) {
        if (this.closing.signal.aborted) return;
        failingSince || (failingSince = Date.now());
        const tooLong = Date.now() - failingSince > this.patienceMs;
        if (error instanceof Rejected || !this.isOpen || tooLong) throw error;
        const delayMs = pauseMs * (0.5 + Math.random() / 2);
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }
  /** One request, given up when nothing comes for too long; `alive` says that something did. */
  async request(path, { after, ...init }, read) {
    const giveUp = new AbortController();
    const abort = () => giveUp.abort();
    this.closing.signal.addEventListener("abort", abort);
    let timer = setTimeout(abort, this.silenceMs);
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, this.silenceMs);
    };
    try {
      const answer = await fetch(this.url(path, after), {
        ...init,
        // No preflight; and cookies, as with a WebSocket.
        headers: init.body ? { "Content-Type": "text/plain" } : {},
        credentials: "include",
        cache: "no-store",
        signal: giveUp.signal
      });
      if (!answer.ok) {
        const text = `${answer.status} ${await answer.text()}`;
        throw answer.status < 500 ? new Rejected(text) : new Error(text);
      }
      return await read(answer, alive);
    } finally {
      clearTimeout(timer);
      this.closing.signal.removeEventListener("abort", abort);
    }
  }
  url(path, after) {
    const url = new URL(this.address);
    url.pathname = url.pathname.replace(/\/$/, "") + path;
    if (this.session) url.searchParams.set("session", this.session);
    if (after !== void 0) url.searchParams.set("after", String(after));
    return url;
  }
};

// src/errors.ts
var ConnectionError = class extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
    this.name = "ConnectionError";
  }
};

// src/heartbeat.ts
var SUBPROTOCOL = "snorky";
var MAX_UNANSWERED = 2;
var PROBE_TIMEOUT_MS = 5e3;
var Heartbeat = class {
  /** `beat` sends a heartbeat; `dead` is called once, when too many remain unanswered. */
  constructor(intervalMs, beat, dead) {
    this.intervalMs = intervalMs;
    this.beat = beat;
    this.dead = dead;
    this.lastHeard = Date.now();
    this.unanswered = 0;
    // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
    // hidden pages late, and those of a sleeping machine not at all.
    this.tick = () => {
      const silenceMs = Date.now() - this.lastHeard;
      if (this.unanswered >= MAX_UNANSWERED) {
        this.dead();
      } else if (silenceMs < this.intervalMs) {
        this.restart(this.intervalMs - silenceMs);
      } else {
        this.unanswered++;
        this.beat();
        this.restart(this.intervalMs);
      }
    };
    this.timer = setTimeout(this.tick, intervalMs);
  }
  /** Something came from the server. Called for every message: it starts no timer. */
  heard() {
    this.lastHeard = Date.now();
    this.unanswered = 0;
  }
  /** Ask now: the machine may have slept, or changed networks. */
  probe() {
    this.unanswered = MAX_UNANSWERED;
    this.beat();
    this.restart(Math.min(this.intervalMs, PROBE_TIMEOUT_MS));
  }
  stop() {
    clearTimeout(this.timer);
  }
  restart(delayMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.tick, delayMs);
  }
};

// src/options.ts
var defaultOptions = {
  debug: false,
  transports: ["websocket"],
  cometAddress: "",
  reconnect: true,
  minReconnectDelay: 0.5,
  maxReconnectDelay: 20,
  connectTimeout: 20,
  callTimeout: 90,
  heartbeatInterval: 25,
  maxQueuedMessages: 1e3,
  maxQueuedBytes: 1024 * 1024
};

// src/outbox.ts
var Outbox = class {
  constructor(maxMessages, maxBytes) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
    this.messages = [];
    this.bytes = 0;
  }
  /** Keep a message for later. Throws ConnectionError where it does not fit. */
  add(text) {
    const { maxMessages, maxBytes } = this;
    const bytes = byteLength(text);
    if (this.messages.length >= maxMessages || this.bytes + bytes > maxBytes) {
      throw new ConnectionError(
        "overflow",
        `Not connected, and no room to queue the message: ${this.messages.length} messages (at most ${maxMessages}) and ${this.bytes} + ${bytes} bytes (at most ${maxBytes})`
      );
    }
    const outgoing = { text, sent: false };
    this.messages.push(outgoing);
    this.bytes += bytes;
    return outgoing;
  }
  /** The oldest message; undefined when there is none. */
  get first() {
    return this.messages[0];
  }
  /** Drop the oldest message. */
  removeFirst() {
    const outgoing = this.messages.shift();
    if (outgoing) this.bytes -= byteLength(outgoing.text);
  }
};
var encoder = new TextEncoder();
function byteLength(text) {
  return encoder.encode(text).length;
}

// src/signal.ts
var SignalBinding = class {
  constructor(signal, listener, once, context, priority) {
    this.signal = signal;
    this.listener = listener;
    this.once = once;
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
    if (this.once) this.detach();
    const all = this.params ? [...this.params, ...args] : args;
    return this.listener.apply(this.context, all);
  }
  /** Take the listener off its signal. Returns the listener, null if it was off already. */
  detach() {
    return this.isBound() ? this.signal.remove(this.listener, this.context) : null;
  }
  isBound() {
    return this.signal._bindings.includes(this);
  }
  isOnce() {
    return this.once;
  }
  getListener() {
    return this.listener;
  }
  getSignal() {
    return this.signal;
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
  if (binding && binding.isOnce() !== once) {
    throw new Error(
      `Can't ${once ? "addOnce" : "add"}() a listener that was added with ${once ? "add" : "addOnce"}(): remove it first.`
    );
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
    (binding) => binding.getListener() === listener && binding.context === context
  );
}
function requireFunction(listener, method) {
  if (typeof listener !== "function") {
    throw new Error(`${method}() expects a function as listener, got ${typeof listener}`);
  }
}

// src/wake.ts
function onWake(wake) {
  const { document } = globalThis;
  const wakeIfVisible = () => {
    if (document.visibilityState === "visible") wake();
  };
  globalThis.addEventListener?.("online", wake);
  document?.addEventListener("visibilitychange", wakeIfVisible);
  return () => {
    globalThis.removeEventListener?.("online", wake);
    document?.removeEventListener("visibilitychange", wakeIfVisible);
  };
}

// src/connection.ts
var _Snorky = class _Snorky {
  constructor(SocketClass, address, services = {}, options = {}) {
    this.services = {};
    this.isConnected = false;
    /** A connection is being made right now. */
    this.isConnecting = false;
    /** When the next attempt is made, as `Date.now()` counts; null: none is planned. */
    this.nextAttempt = null;
    /** Dispatched at each connection, before anything queued is sent. */
    this.connected = new _Snorky.Signal();
    /** Dispatched when a connection, or an attempt to make one, has ended. */
    this.disconnected = new _Snorky.Signal();
    this.socket = null;
    this.heartbeat = null;
    this.stopWakes = null;
    this.openedAt = 0;
    /** Reconnections since the last connection that lasted. */
    this.retries = 0;
    /** Attempts in a row that made no connection. */
    this.failures = 0;
    this.subprotocolWorks = false;
    /** The transport of this attempt, or of the next, in `options.transports`. */
    this.transportIndex = 0;
    this.ignoresConnect = false;
    this.socketClass = SocketClass;
    this.address = address;
    this.options = { ...defaultOptions, ...options };
    this.debug = this.options.debug;
    this.outbox = new Outbox(this.options.maxQueuedMessages, this.options.maxQueuedBytes);
    for (const name of Object.keys(services)) {
      this.services[name] = new services[name](name, this);
    }
    this.connect();
  }
  /** What it is connected by, or tries to be; null while it does neither. */
  get transport() {
    return this.socket && this.transports[this.transportIndex];
  }
  /** Those that can be tried. */
  get transports() {
    return this.options.transports.filter((name) => name !== "websocket" || this.socketClass);
  }
  /** Connect now. Does nothing while connected or connecting. */
  connect() {
    if (this.isConnected || this.isConnecting) return;
    if (this.ignoresConnect) return;
    this.cancelReconnect();
    const socket = this.makeSocket();
    this.socket = socket;
    this.isConnecting = true;
    this.failures++;
    this.stopWakes ?? (this.stopWakes = onWake(() => this.wake()));
    socket.onopen = () => this.opened();
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = (event) => this.dropped(event?.code ?? 1006, event?.reason ?? "");
    socket.onerror = (event) => this.logDebug("Socket error", event);
    const { connectTimeout } = this.options;
    if (connectTimeout > 0) {
      this.connectTimer = setTimeout(
        () => this.dropped(1006, `no connection within ${connectTimeout} s`),
        connectTimeout * 1e3
      );
    }
  }
  /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
  disconnect() {
    this.cancelReconnect();
    this.ignoreWakes();
    if (!this.socket) return;
    this.retries = 0;
    this.release("The page disconnected");
    Promise.resolve().then(() => this.announceDisconnected(1e3, "", true));
  }
  /** Write to the console if `debug` is set. */
  logDebug(...args) {
    if (this.debug) console.log("Snorky:", ...args);
  }
  /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
  _send(envelope) {
    const text = JSON.stringify(envelope);
    if (!this.isConnected) return this.outbox.add(text);
    const unsent = this.socket.bufferedAmount ?? 0;
    if (unsent > this.options.maxQueuedBytes) {
      throw new ConnectionError(
        "overflow",
        `The connection is too slow: ${unsent} bytes wait to be sent (at most ${this.options.maxQueuedBytes})`
      );
    }
    const outgoing = { text, sent: false };
    this.transmit(outgoing);
    return outgoing;
  }
  makeSocket() {
    const { socketClass: SocketClass, address } = this;
    const transport = this.transports[this.transportIndex];
    if (!transport) throw new TypeError("Expected a socket class, or a transport without one");
    this.logDebug("Connecting to", address, "by", transport);
    if (transport !== "websocket" || !SocketClass) {
      return new CometSocket(
        this.options.cometAddress || cometBeside(address),
        transport === "sse"
      );
    }
    const period = this.subprotocolWorks ? 5 : 2;
    const asks = SocketClass === globalThis.WebSocket && this.options.heartbeatInterval > 0 && this.failures % period !== period - 1;
    return asks ? new SocketClass(address, SUBPROTOCOL) : new SocketClass(address);
  }
  opened() {
    const { socket } = this;
    this.logDebug("Connected to", this.address);
    clearTimeout(this.connectTimer);
    this.isConnecting = false;
    this.isConnected = true;
    this.openedAt = Date.now();
    this.failures = 0;
    const { heartbeatInterval } = this.options;
    if (socket.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
      this.subprotocolWorks = true;
      this.heartbeat = new Heartbeat(
        heartbeatInterval * 1e3,
        () => socket.send(""),
        () => this.dropped(1006, "no answer to heartbeats")
      );
    }
    guard(() => this.connected.dispatch());
    guard(() => this.onConnected?.());
    for (const service of this.allServices()) {
      if (this.socket === socket) guard(() => service._connectionOpened?.());
    }
    while (this.socket === socket) {
      const outgoing = this.outbox.first;
      if (!outgoing) break;
      try {
        this.transmit(outgoing);
      } catch {
        return;
      }
      this.outbox.removeFirst();
    }
  }
  /** Throws ConnectionError where the socket refuses, and gives that socket up. */
  transmit(outgoing) {
    const { socket } = this;
    this.logDebug("Sent", outgoing.text);
    outgoing.sent = true;
    try {
      socket.send(outgoing.text);
    } catch (error) {
      outgoing.sent = false;
      const why = `could not send: ${error}`;
      if (this.socket === socket) this.dropped(1006, why);
      throw new ConnectionError("disconnected", why);
    }
    outgoing.onSent?.();
  }
  received(data) {
    this.heartbeat?.heard();
    if (data === "") return;
    this.logDebug("Received", data);
    let envelope;
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
  dropped(code, reason) {
    if (this.isConnected && Date.now() - this.openedAt >= this.options.maxReconnectDelay * 1e3) {
      this.retries = 0;
    }
    const tries = this.isConnecting;
    this.release(`The connection was lost (${code}${reason && `: ${reason}`})`);
    const fallsBack = tries && this.fallBack(code);
    const comesBack = fallsBack || this.options.reconnect && !isTerminal(code);
    if (fallsBack) this.scheduleConnect(0);
    else if (comesBack) this.scheduleReconnect();
    else this.ignoreWakes();
    if (isTerminal(code)) {
      console.error(`Snorky: the server closed the connection for good (${code}: ${reason})`);
    }
    this.announceDisconnected(code, reason, comesBack || isTerminal(code));
  }
  /** Let go of the socket: nothing it does from now on concerns us. */
  release(why) {
    this.logDebug(why);
    const socket = this.socket;
    this.socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {
    };
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
  announceDisconnected(code, reason, decided) {
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
  fallBack(code) {
    const isLast = this.transportIndex + 1 >= this.transports.length;
    this.transportIndex = isLast ? 0 : this.transportIndex + 1;
    return !isLast && !isTerminal(code);
  }
  scheduleReconnect() {
    const { minReconnectDelay, maxReconnectDelay } = this.options;
    const delayMs = reconnectDelay(this.retries++, minReconnectDelay, maxReconnectDelay) * 1e3;
    this.scheduleConnect(delayMs);
  }
  scheduleConnect(delayMs) {
    this.nextAttempt = Math.round(Date.now() + delayMs);
    this.reconnectTimer = setTimeout(() => this.connect(), delayMs);
  }
  cancelReconnect() {
    clearTimeout(this.reconnectTimer);
    this.nextAttempt = null;
  }
  wake() {
    if (this.nextAttempt !== null) this.connect();
    else this.heartbeat?.probe();
  }
  ignoreWakes() {
    this.stopWakes?.();
    this.stopWakes = null;
  }
  allServices() {
    return Object.values(this.services);
  }
};
// Read at each use, so that pages may replace them.
_Snorky.Signal = Signal;
_Snorky.Promise = Promise;
_Snorky.Class = Class;
var Snorky = _Snorky;
function cometBeside(address) {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
  return url.href;
}
function guard(callback) {
  try {
    callback();
  } catch (error) {
    console.error(error);
  }
}

// src/service.ts
var Service = Class({
  constructor(name, snorky) {
    if (!name || !snorky) throw new Error("Bad arguments for service constructor");
    Object.assign(this, { name, snorky, packetReceived: new Snorky.Signal() });
    this._setUp();
    this.init();
  },
  init() {
  },
  sendMessage(message) {
    return this.snorky._send({ service: this.name, message });
  },
  _setUp() {
  },
  _connectionOpened() {
  },
  _connectionClosed() {
  }
});

// src/rpc.ts
var RPCService = Class(Service, {
  _setUp() {
    this.notificationReceived = new Snorky.Signal();
    this._calls = /* @__PURE__ */ new Map();
    this._nextCallId = 0;
    this.packetReceived.add(receive, this);
  },
  rpcCall(command, params = {}) {
    const callId = this._nextCallId++;
    const { callTimeout } = this.snorky.options;
    return new Snorky.Promise((resolve, reject) => {
      const call = { resolve, reject, outgoing: void 0, timer: void 0 };
      this._calls.set(callId, call);
      try {
        call.outgoing = this.sendMessage({ command, params, callId });
      } catch (error) {
        this._calls.delete(callId);
        reject(error);
        return;
      }
      const startTimeout = () => {
        if (callTimeout > 0 && this._calls.has(callId)) {
          call.timer = setTimeout(() => timeOut(this, callId, command), callTimeout * 1e3);
        }
      };
      if (call.outgoing?.sent ?? true) startTimeout();
      else call.outgoing.onSent = startTimeout;
    });
  },
  _connectionClosed(error) {
    for (const [callId, call] of this._calls) {
      if (call.outgoing?.sent ?? true) close(this, callId)?.reject(error);
    }
  },
  STATIC: {
    addRPCMethods(names) {
      for (const name of names) {
        if (name in this.prototype) {
          throw new Error(
            `Method "${name}" already exists in the class. Refusing to overwrite it.`
          );
        }
        Object.defineProperty(this.prototype, name, {
          value(params) {
            return this.rpcCall(name, params);
          },
          enumerable: true,
          configurable: true,
          writable: true
        });
      }
    }
  }
});
function receive(message) {
  switch (message?.type) {
    case "response":
      answered(this, message)?.resolve(message.data);
      break;
    case "error":
      answered(this, message)?.reject(new Error(message.message));
      break;
    default:
      this.notificationReceived.dispatch(message);
  }
}
function answered(service, answer) {
  const call = close(service, answer.callId);
  if (!call) {
    console.error(`Snorky: an answer with unknown callId in service "${service.name}":`, answer);
  }
  return call;
}
function close(service, callId) {
  const call = service._calls.get(callId);
  if (call) {
    service._calls.delete(callId);
    clearTimeout(call.timer);
  }
  return call;
}
function timeOut(service, callId, command) {
  close(service, callId)?.reject(
    new ConnectionError(
      "timeout",
      `No answer to "${command}" of service "${service.name}" within ${service.snorky.options.callTimeout} s`
    )
  );
}

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
  constructor(length) {
    this.length = length;
    this.index = -1;
    this.deleted = false;
  }
  hasNext() {
    return this.index + 1 < this.length();
  }
  advance() {
    if (!this.hasNext()) throw new Error("Busted iterator");
    this.deleted = false;
    return ++this.index;
  }
  /** The index of the current item. Throws where there is none. */
  current() {
    if (this.deleted) throw new Error("Iterator pointing to a deleted item! (call next())");
    if (this.index < 0) throw new Error("Iterator not pointing to an item! (call next())");
    return this.index;
  }
  /** The current item has been removed: the next one is in its place. */
  removed() {
    this.deleted = true;
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
  return JSON.stringify(value, (_key, inner) => isPlain(inner) ? sorted(inner) : inner);
}
function isPlain(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function sorted(value) {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
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

// src/datasync/service.ts
var DataSync = Class(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.deltaReceived = new Snorky.Signal();
    this.resyncNeeded = new Snorky.Signal();
    this._acquiredTokens = /* @__PURE__ */ new Set();
    this._lostTokens = /* @__PURE__ */ new Set();
    this.notificationReceived.add(receive2, this);
  },
  acquireSubscription(params) {
    const answer = this.rpcCall("acquireSubscription", params);
    answer.then(
      () => this._acquiredTokens.add(params.token),
      () => {
      }
      // for the page to handle
    );
    return answer;
  },
  cancelSubscription(params) {
    this._acquiredTokens.delete(params?.token);
    this._lostTokens.delete(params?.token);
    return this.rpcCall("cancelSubscription", params);
  },
  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    for (const token of this._acquiredTokens) this._lostTokens.add(token);
    this._acquiredTokens.clear();
  },
  _connectionOpened() {
    for (const token of this._lostTokens) {
      this._lostTokens.delete(token);
      this.resyncNeeded.dispatch({ reason: "lost", token });
    }
  },
  STATIC: {
    CollectionDeltaProcessor,
    Collection,
    Iterator,
    ArrayCollection,
    ArrayIterator,
    SingleItemCollection,
    SingleItemIterator
  }
});
function receive2(notification) {
  if (notification?.type !== "delta") return;
  this.deltaReceived.dispatch(notification.delta);
  this.onDelta?.(notification.delta);
}

// src/services/pubsub.ts
var PubSub = Class(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messagePublished = new Snorky.Signal();
    this._subscriptions = /* @__PURE__ */ new Map();
    this.notificationReceived.add(receive3, this);
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
  }
});
PubSub.addRPCMethods(["publish"]);
function receive3(notification) {
  if (notification?.type !== "message") return;
  this.messagePublished.dispatch(notification);
  this.onMessagePublished?.(notification);
}
function subscribe(service, command, params) {
  const key = canonical(params?.channel);
  const known = service._subscriptions.get(key);
  if (known?.restoring) {
    const answer2 = known.restoring;
    known.restoring = null;
    return answer2;
  }
  if (known?.lost) service._subscriptions.delete(key);
  const answer = service.rpcCall(command, params);
  answer.then(
    () => service._subscriptions.set(key, { params: { ...params }, lost: false, restoring: null }),
    () => {
    }
    // for the page to handle
  );
  return answer;
}
function unsubscribe(service, command, params) {
  const key = canonical(params?.channel);
  const known = service._subscriptions.get(key);
  service._subscriptions.delete(key);
  if (known?.lost) return new Snorky.Promise((resolve) => resolve(null));
  const answer = service.rpcCall(command, params);
  answer.then(
    () => service._subscriptions.delete(key),
    () => {
    }
  );
  return answer;
}
function restore(service, key, subscription) {
  subscription.lost = false;
  const answer = service.rpcCall("subscribe", subscription.params);
  subscription.restoring = answer;
  answer.then(
    () => {
    },
    (error) => {
      if (subscription.restoring === answer) subscription.restoring = null;
      if (error.reason === "disconnected") return;
      if (!(error instanceof ConnectionError)) service._subscriptions.delete(key);
      console.error(
        `Snorky: could not subscribe again to channel ${key} of service "${service.name}":`,
        error
      );
    }
  );
}

// src/classic.ts
var parts = { ConnectionError, DataSync, PubSub, RPCService, Service };
Object.assign(Snorky, parts);
export {
  ArrayCollection,
  ArrayIterator,
  Class,
  Collection,
  CollectionDeltaProcessor,
  ConnectionError,
  DataSync,
  Iterator,
  PubSub,
  RPCService,
  Service,
  Signal,
  SingleItemCollection,
  SingleItemIterator,
  Snorky
};
