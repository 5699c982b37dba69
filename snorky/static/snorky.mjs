/*! Snorky 1.0.0-dev.0 | MPL-2.0 */

// src/class.ts
function Class(...parts) {
  const body = parts.pop();
  const Base = parts.shift();
  const made = constructorFrom(body, Base ?? Object);
  if (Base) {
    Object.setPrototypeOf(made, Base);
    made.Super = Base;
  }
  made.prototype = Object.create((Base ?? Object).prototype, {
    constructor: { value: made, writable: true, configurable: true }
  });
  define(made.prototype, body, (name) => name !== "constructor" && name !== "STATIC");
  for (const mixin of parts) {
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

// src/backoff.ts
var SHORTEST_DELAY = 0.1;
function reconnectDelay(attempt, minDelay, maxDelay, random = Math.random) {
  const bound = Math.min(maxDelay, minDelay * 2 ** attempt) || SHORTEST_DELAY;
  const shortest = Math.min(SHORTEST_DELAY, bound);
  return shortest + random() * (bound - shortest);
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
      this.handle = setTimeout(done, delayMs);
    } else if (delayMs < Infinity) {
      this.handle = setTimeout(() => this.start(delayMs - LONGEST_MS, done), LONGEST_MS);
    }
  }
  stop() {
    clearTimeout(this.handle);
  }
};

// src/token.ts
var TOKEN_EXPIRED = 3002;
var RENEW_FROM = 0.5;
var RENEW_SPREAD = 0.2;
var MIN_DELAY_MS = 1e3;
function checked(token) {
  if (typeof token === "string" && /^[\w.~-]+$/.test(token)) return token;
  const got = typeof token === "string" ? "another text" : typeof token;
  throw new TypeError(`expected a token of letters, digits and - . _ ~, got ${got}`);
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
var Renewal = class {
  constructor(options) {
    this.options = options;
    this.timer = new Timer();
    /** Of the open connection. */
    this.send = null;
    this.token = "";
    this.failures = 0;
  }
  /** A connection was opened with `token`; `send` takes the next one to the server. */
  start(token, send) {
    this.token = token;
    this.send = send;
    this.failures = 0;
    this.renewWithin(secondsLeft(token));
  }
  stop() {
    this.timer.stop();
    this.send = null;
  }
  /** The server's answer to what was sent. */
  answered(message) {
    if (!this.send) return;
    this.offered = true;
    if (message.type === "response") {
      this.failures = 0;
      this.renewWithin(message.data?.expiresIn);
    } else {
      this.failed(message.message);
    }
  }
  renewWithin(seconds) {
    this.timer.stop();
    if (typeof seconds !== "number" || this.offered === false) return;
    const part = RENEW_FROM + Math.random() * RENEW_SPREAD;
    this.renewIn(Math.max(seconds * 1e3 * part, MIN_DELAY_MS));
  }
  renewIn(delayMs) {
    this.timer.start(delayMs, () => this.renew());
  }
  failed(why) {
    this.options.log(`The token was not renewed: ${why}`);
    this.renewIn(this.options.retryDelay(this.failures++) * 1e3);
  }
  async renew() {
    const { send } = this;
    try {
      const token = await ask(this.options.give);
      if (!send || this.send !== send) return;
      if (token === this.token) throw new Error("the page gave the old one again");
      this.token = token;
      const seconds = this.options.answerTimeout || Infinity;
      this.timer.start(seconds * 1e3, () => this.unanswered());
      send(token);
    } catch (error) {
      if (this.send === send) this.failed(error.message);
    }
  }
  /** Where the server has no such service it says nothing: it is not asked again. */
  unanswered() {
    if (this.offered) this.failed("no answer");
    else this.offered = false;
  }
};

// src/comet.ts
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
  constructor(address, streaming, token = "") {
    this.streaming = streaming;
    this.token = token;
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
    /** Give up the request by which we hear. */
    this.letGo = null;
    /** A POST under way that we have let go of it for. */
    this.waitedFor = null;
    this.isOpen = false;
    this.silenceMs = 2e4;
    this.patienceMs = 0;
    this.address = new URL(address, globalThis.location?.href);
    void this.run();
  }
  send(text2) {
    this.unsent.push(text2);
    this.bufferedAmount += text2.length;
    if (!this.posting) void this.post();
  }
  close() {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    if (this.session) this.sayGoodbye();
  }
  sayGoodbye() {
    const headers = this.headers();
    const request = { method: "POST", headers, credentials: "include", keepalive: true };
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
      await this.insist((progress) => this.hear(progress), true);
    } catch (error) {
      this.failed(error);
    }
  }
  async hear(progress) {
    await this.waitedFor;
    try {
      await (this.streaming ? this.stream(progress) : this.poll(progress));
    } catch (error) {
      if (!this.waitedFor || error instanceof Rejected) throw error;
    }
  }
  opened() {
    this.isOpen = true;
    this.onopen?.({});
  }
  failed(error) {
    const reason = textOf(error);
    const isExpired = this.token && reason === "401 Token expired";
    const refused = !isExpired && !this.session && /^40[134] /.test(reason) && parseInt(reason);
    this.ended(isExpired ? TOKEN_EXPIRED : 1006, reason, refused || 0);
  }
  /** `refused`: the status with which we were not let in. */
  ended(code, reason, refused = 0) {
    if (this.closing.signal.aborted) return;
    this.close();
    this.onclose?.({ code, reason, refused });
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
    const fields2 = {};
    for (const line of event.split("\n")) {
      const colon = line.indexOf(":");
      fields2[line.slice(0, colon)] = line.slice(colon + 2);
    }
    if (fields2.event === "open") {
      if (!this.isOpen) this.opened();
    } else if (fields2.event === "close") {
      const [code, reason] = JSON.parse(fields2.data);
      this.ended(code, reason);
    } else if (fields2.id !== void 0) {
      this.message(Number(fields2.id), fields2.data);
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
        await this.deliver(messages);
        this.received += messages.length;
        this.unsent.splice(0, messages.length);
        for (const { length } of messages) this.bufferedAmount -= length;
      }
    } catch (error) {
      this.failed(error);
    }
    this.posting = false;
  }
  async deliver(messages) {
    const delivered = this.insist(async () => {
      const { after } = this;
      const body = JSON.stringify({ first: this.received + 1, after, messages });
      await this.request("/messages", { method: "POST", body }, (answer) => answer.text());
    });
    const waiting = new Timer();
    waiting.start(WAITING_POST_MS, () => {
      this.waitedFor = delivered.catch(() => {
      });
      this.letGo?.();
    });
    try {
      await delivered;
    } finally {
      waiting.stop();
      this.waitedFor = null;
    }
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
        failingSince || (failingSince = now());
        const tooLong = now() - failingSince > this.patienceMs;
        if (error instanceof Rejected || !this.isOpen || tooLong) throw error;
        const delayMs = pauseMs * (0.5 + Math.random() / 2);
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }
  /** One request, given up when nothing comes for too long; `alive` says that something did. */
  async request(path, { after, ...init }, read) {
    const giveUp2 = new AbortController();
    const abort = () => giveUp2.abort();
    this.closing.signal.addEventListener("abort", abort);
    const timer = new Timer();
    const alive = () => timer.start(this.silenceMs, abort);
    alive();
    if (after !== void 0) this.letGo = abort;
    try {
      const answer = await fetch(this.url(path, after), {
        ...init,
        headers: this.headers(init.body),
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
      this.closing.signal.removeEventListener("abort", abort);
    }
  }
  /** Without a token they need no preflight. */
  headers(body) {
    const headers = body ? { "Content-Type": "text/plain" } : {};
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    return headers;
  }
  url(path, after) {
    const url = new URL(this.address);
    url.pathname = url.pathname.replace(/\/$/, "") + path;
    if (this.session) url.searchParams.set("session", this.session);
    if (after !== void 0) url.searchParams.set("after", String(after));
    return url;
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
  constructor(intervalMs, beat, dead) {
    this.intervalMs = intervalMs;
    this.beat = beat;
    this.dead = dead;
    this.lastHeard = now();
    this.unanswered = 0;
    this.timer = new Timer();
    // Unanswered heartbeats are counted, because time alone misleads: browsers run the timers of
    // hidden pages late, and those of a sleeping machine not at all.
    this.tick = () => {
      const silenceMs = now() - this.lastHeard;
      if (this.unanswered >= MAX_UNANSWERED) {
        this.dead();
      } else if (silenceMs < this.intervalMs) {
        this.timer.start(this.intervalMs - silenceMs, this.tick);
      } else {
        this.timer.start(this.intervalMs, this.tick);
        this.beat(this.unanswered++ ? SPACE : EMPTY);
      }
    };
    this.timer.start(intervalMs, this.tick);
  }
  /** Something came from the server. Called for every message: it starts no timer. */
  heard() {
    this.lastHeard = now();
    this.unanswered = 0;
  }
  /** Ask now: the machine may have slept, or changed networks. */
  probe() {
    this.unanswered = MAX_UNANSWERED;
    this.timer.start(Math.min(this.intervalMs, PROBE_TIMEOUT_MS), this.tick);
    this.beat(EMPTY);
    this.beat(SPACE);
  }
  stop() {
    this.timer.stop();
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
  constructor(maxMessages, maxBytes) {
    this.maxMessages = maxMessages;
    this.maxBytes = maxBytes;
    this.messages = [];
    this.bytes = 0;
  }
  /** Keep a message for later. Throws ConnectionError where it does not fit. */
  add(text2) {
    const { maxMessages, maxBytes } = this;
    const bytes = byteLength(text2);
    if (this.messages.length >= maxMessages || this.bytes + bytes > maxBytes) {
      throw new ConnectionError(
        "overflow",
        `Not connected, and no room: ${this.messages.length} messages (at most ${maxMessages}) and ${this.bytes} + ${bytes} bytes (at most ${maxBytes})`
      );
    }
    const outgoing = { text: text2, sent: false };
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
function byteLength(text2) {
  return encodeURIComponent(text2).replace(/%../g, "x").length;
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

// src/primitives.ts
var primitives = { Signal, Promise, Class };

// src/sockets.ts
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
    return new SocketClass(`${address}${address.includes("?") ? "&" : "?"}token=${token}`);
  } catch (error) {
    throw new TypeError(`${error}`.split(token).join("..."));
  }
}
function cometSocket(cometAddress, address, streaming, token) {
  return new CometSocket(cometAddress || cometBeside(address), streaming, token);
}
function cometBeside(address) {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/[^/]*\/?$/, "comet");
  return url.href;
}

// src/wake.ts
function onWake(wake) {
  const { document } = globalThis;
  const events = [
    [globalThis, "online", () => wake(false)],
    [globalThis, "pageshow", (event) => event.persisted && wake(true)],
    [document, "visibilitychange", () => document.visibilityState === "visible" && wake(false)],
    [document, "resume", () => wake(false)]
  ];
  for (const [target, name, listener] of events) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of events) target?.removeEventListener?.(name, listener);
  };
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
    this.socket = null;
    this.heartbeat = null;
    this.connectTimer = new Timer();
    this.reconnectTimer = new Timer();
    this.stopWakes = null;
    this.openedAt = 0;
    /** Reconnections since the last connection that lasted. */
    this.retries = 0;
    /** Attempts in a row that made no connection. */
    this.failures = 0;
    this.subprotocolWorks = false;
    /** The transport of this attempt, or of the next, in `options.transports`. */
    this.transportIndex = 0;
    this.websocketWorks = false;
    /** Those that the server has refused for good, until the page connects again. */
    this.refused = /* @__PURE__ */ new Set();
    this.ignoresConnect = false;
    /** The attempt for which the page is asked for a token. */
    this.asking = null;
    this.socketClass = SocketClass;
    this.address = address;
    this.options = { ...defaultOptions, ...options };
    this.debug = this.options.debug;
    this.outbox = new Outbox(this.options.maxQueuedMessages, this.options.maxQueuedBytes);
    this.renewal = new Renewal({
      give: () => this.options.token(),
      retryDelay: (failures) => this.delayAfter(failures),
      answerTimeout: this.options.callTimeout,
      log: (text2) => this.logDebug(text2)
    });
    for (const name of Object.keys(services)) {
      if (typeof services[name] !== "function") {
        throw new TypeError(`Service "${name}": expected a class, got ${typeof services[name]}`);
      }
      this.services[name] = new services[name](name, this);
    }
    this.attempt();
  }
  /** What it is connected by, or tries to be; null while it does neither. */
  get transport() {
    return this.isConnecting || this.isConnected ? this.candidate : null;
  }
  /** Those that can be tried. */
  get transports() {
    return this.options.transports.filter(
      (name) => !this.refused.has(name) && (name !== "websocket" || this.socketClass)
    );
  }
  get candidate() {
    return this.transports[this.transportIndex];
  }
  /** Connect now. Does nothing while connected or connecting. */
  connect() {
    if (this.isConnected || this.isConnecting) return;
    if (this.ignoresConnect) return;
    this.refused.clear();
    this.attemptAgain();
  }
  /** Close the connection, or stop trying to make one. Is not followed by a reconnect. */
  disconnect() {
    this.cancelReconnect();
    this.ignoreWakes();
    if (!this.isConnecting && !this.isConnected) return;
    this.retries = 0;
    this.release("disconnect()");
    Promise.resolve().then(() => this.announceDisconnected(1e3, "", true));
  }
  /** Write to the console if `debug` is set. */
  logDebug(...args) {
    if (this.debug) console.log("Snorky:", ...args);
  }
  /** @internal Send an envelope, or queue it. Throws ConnectionError where there is no room. */
  _send(envelope) {
    const text2 = JSON.stringify(envelope);
    if (!this.isConnected) return this.outbox.add(text2);
    const unsent = this.socket.bufferedAmount ?? 0;
    if (unsent > this.options.maxQueuedBytes) {
      throw new ConnectionError(
        "overflow",
        `Too slow: ${unsent} bytes not sent yet (at most ${this.options.maxQueuedBytes})`
      );
    }
    const outgoing = { text: text2, sent: false };
    this.transmit(outgoing);
    return outgoing;
  }
  /** Throws where the page has made a mistake in what it gave us. */
  attempt() {
    this.cancelReconnect();
    const { token } = this.options;
    if (typeof token === "function") this.askAndOpen(token);
    else this.open(token ? checked(token) : "");
  }
  attemptAgain() {
    this.guarded(() => this.attempt());
  }
  /** A socket class may throw where it did not before. That is a failure like those of networks. */
  guarded(attempt) {
    try {
      attempt();
    } catch (error) {
      this.isConnecting = true;
      this.dropped(1006, textOf(error));
    }
  }
  askAndOpen(give) {
    const asking = this.asking = {};
    this.beginAttempt("no token", this.options.connectTimeout);
    ask(give).then(
      (token) => {
        if (this.asking !== asking) return;
        this.asking = null;
        this.guarded(() => this.open(token));
      },
      (error) => {
        if (this.asking === asking) this.dropped(1006, error.message);
      }
    );
  }
  open(token) {
    const socket = this.makeSocket(token);
    this.socket = socket;
    this.failures++;
    this.beginAttempt("no connection", this.timeLimit());
    socket.onopen = () => {
      if (socket.protocol !== SUBPROTOCOL || this.isLast) return this.opened(token);
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
  beginAttempt(failure, seconds) {
    this.isConnecting = true;
    this.stopWakes ?? (this.stopWakes = onWake((isRestored) => this.wake(isRestored)));
    this.connectTimer.start(
      (seconds || Infinity) * 1e3,
      () => this.dropped(1006, `${failure} within ${seconds} s`)
    );
  }
  beat(text2) {
    try {
      if (this.socket) this.transmit({ text: text2, sent: false });
    } catch {
    }
  }
  /** For the transport that is tried now; 0 = any time. */
  timeLimit() {
    const { connectTimeout, fallbackTimeout } = this.options;
    if (this.isLast || this.worked === this.candidate || !fallbackTimeout) return connectTimeout;
    return Math.min(connectTimeout || Infinity, fallbackTimeout);
  }
  makeSocket(token) {
    const { socketClass, address, options } = this;
    const transport = this.candidate;
    if (!transport) throw new TypeError("Expected a socket class");
    this.logDebug("Tries", address, "by", transport);
    if (transport !== "websocket" || !socketClass) {
      return cometSocket(options.cometAddress, address, transport === "sse", token);
    }
    const period = this.subprotocolWorks ? 5 : 2;
    const asks = options.heartbeatInterval > 0 && this.failures % period !== period - 1;
    return webSocket(socketClass, address, asks, token);
  }
  opened(token) {
    const { socket } = this;
    this.worked = this.candidate;
    this.websocketWorks || (this.websocketWorks = this.worked === "websocket");
    this.logDebug("Connected");
    this.connectTimer.stop();
    this.isConnecting = false;
    this.isConnected = true;
    this.openedAt = now();
    this.failures = 0;
    const { heartbeatInterval } = this.options;
    if (socket.protocol === SUBPROTOCOL && heartbeatInterval > 0) {
      this.subprotocolWorks = true;
      this.heartbeat = new Heartbeat(
        heartbeatInterval * 1e3,
        (text2) => this.beat(text2),
        () => this.dropped(1006, "no answer to heartbeats")
      );
    }
    const { identityService } = this.options;
    if (identityService && typeof this.options.token === "function") {
      this.renewal.start(token, (next) => {
        if (socket instanceof CometSocket) socket.token = next;
        const message = { command: "refresh", params: { token: next }, callId: RENEWAL };
        const text2 = JSON.stringify({ service: identityService, message });
        this.transmit({ text: text2, sent: false }, "(a new token)");
      });
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
  transmit(outgoing, shown = outgoing.text) {
    const { socket } = this;
    this.logDebug("Sent", shown);
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
    if (isHeartbeat(data)) return;
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
    } else if (name === this.options.identityService && envelope.message?.callId === RENEWAL) {
      this.renewal.answered(envelope.message);
    } else if (!Object.hasOwn(this.services, name)) {
      console.error(`Snorky: the server sent a message for unknown service "${name}":`, envelope);
    } else {
      guard(() => this.services[name].packetReceived.dispatch(envelope.message));
    }
  }
  /** The connection, or the attempt to make one, has ended without `disconnect`. */
  dropped(code, reason, refused) {
    if (this.isConnected && now() - this.openedAt >= this.options.maxReconnectDelay * 1e3) {
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
    if (comesBack) this.scheduleConnect(fallsBack ? 0 : this.delayAfter(this.retries++) * 1e3);
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
  staysAway(status) {
    const { transports } = this;
    if (transports.length === 0) return true;
    if (status === 404 || this.websocketWorks && transports.includes("websocket")) return false;
    return status === 403 || typeof this.options.token !== "function";
  }
  /** Let go of the socket: nothing it does from now on concerns us. */
  release(why) {
    this.logDebug(why);
    const { socket } = this;
    this.socket = this.asking = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {
      };
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
  announceDisconnected(code, reason, decided) {
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
  fallBack(refused) {
    const { isLast } = this;
    const isGone = refused && (refused === 404 || this.websocketWorks);
    if (isGone) this.refused.add(this.candidate);
    if (isLast) this.transportIndex = 0;
    else if (!isGone) this.transportIndex++;
    return !isLast;
  }
  /** No other transport is left to try in this round. */
  get isLast() {
    return this.transportIndex + 1 >= this.transports.length;
  }
  delayAfter(failures) {
    const { minReconnectDelay, maxReconnectDelay } = this.options;
    return reconnectDelay(failures, minReconnectDelay, maxReconnectDelay);
  }
  scheduleConnect(delayMs) {
    this.nextAttempt = Math.round(Date.now() + delayMs);
    this.reconnectTimer.start(delayMs, () => this.attemptAgain());
  }
  cancelReconnect() {
    this.reconnectTimer.stop();
    this.nextAttempt = null;
  }
  wake(isRestored) {
    if (isRestored && this.socket) this.dropped(1006, "the page was away");
    if (this.nextAttempt !== null) this.attemptAgain();
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
for (const name of Object.keys(primitives)) {
  Object.defineProperty(Snorky, name, {
    get: () => primitives[name],
    set: (value) => primitives[name] = value,
    enumerable: true,
    configurable: true
  });
}
function guard(callback) {
  try {
    callback();
  } catch (error) {
    console.error(error);
  }
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

// src/datasync/live/options.ts
var ResponseError = class extends Error {
  constructor(response) {
    super(
      `Expected a success from ${response.url || "the web application"}, got ${response.status}`
    );
    this.response = response;
    this.name = "ResponseError";
  }
  get status() {
    return this.response.status;
  }
};

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
  },
  _connectionOpened() {
  },
  _connectionClosed() {
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
    const call2 = { resolve, reject, outgoing: void 0, timer: void 0 };
    this._calls.set(callId, call2);
    try {
      call2.outgoing = this.sendMessage({ command, params, callId });
    } catch (error) {
      this._calls.delete(callId);
      reject(error);
      return;
    }
    const startTimeout = () => {
      if (!this._calls.has(callId)) return;
      call2.timer = new Timer();
      call2.timer.start((callTimeout || Infinity) * 1e3, () => timeOut(this, callId, command));
    };
    if (call2.outgoing?.sent ?? true) startTimeout();
    else call2.outgoing.onSent = startTimeout;
  },
  _connectionClosed(error) {
    for (const [callId, call2] of this._calls) {
      if (call2.outgoing?.sent ?? true) close(this, callId)?.reject(error);
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
    call2.resolve(message.data);
  } else {
    call2.reject(new Error(message.message));
  }
}
function close(service, callId) {
  const call2 = service._calls.get(callId);
  if (call2) {
    service._calls.delete(callId);
    call2.timer?.stop();
  }
  return call2;
}
function timeOut(service, callId, command) {
  close(service, callId)?.reject(
    new ConnectionError(
      "timeout",
      `No answer to "${command}" of service "${service.name}" within ${service.snorky.options.callTimeout} s`
    )
  );
}

// src/turns.ts
var Turns = class {
  constructor() {
    this.lines = /* @__PURE__ */ new Map();
  }
  /**
   * Call `ask`, at once where its opposite is not under way. `key` says what is wanted.
   *
   * Where the connection ends before its turn nothing is asked: what was wanted has failed with
   * it, and what was not wanted has ended with it.
   */
  take(key, wants, ask4) {
    const line = this.lines.get(key) ?? { wants, underWay: 0, waiting: [] };
    this.lines.set(key, line);
    if (line.waiting.length === 0 && line.wants === wants) return this.go(key, line, ask4);
    return new primitives.Promise((resolve, reject) => {
      line.waiting.push({ wants, go: ask4, resolve, reject });
    });
  }
  go(key, line, ask4) {
    line.underWay++;
    return ask4().then(
      (value) => {
        this.done(key, line);
        return value;
      },
      (error) => {
        this.done(key, line, error);
        throw error;
      }
    );
  }
  done(key, line, error) {
    if (--line.underWay > 0) return;
    if (isDisconnection(error)) {
      for (const { wants, resolve, reject } of line.waiting.splice(0)) {
        if (wants) reject(error);
        else resolve(null);
      }
    }
    if (line.waiting.length === 0) this.lines.delete(key);
    else line.wants = line.waiting[0].wants;
    while (line.waiting[0]?.wants === line.wants) {
      const { go, resolve, reject } = line.waiting.shift();
      this.go(key, line, go).then(resolve, reject);
    }
  }
};

// src/datasync/live/order.ts
var namesOf = (key) => [key ?? "id"].flat();
var keyText = (key) => JSON.stringify(key);
function keyOf(row, names) {
  const values = names.map((name) => row?.[name]);
  if (values.some((value) => value == null)) return void 0;
  return keyText(values.length > 1 ? values : values[0]);
}
var INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/;
var plain = (field2) => field2.replace(/^-/, "");
function sortable(value) {
  if (value == null) return [2, 0, ""];
  if (typeof value !== "string") return [0, +value, ""];
  const [, second, fraction = "", zone] = INSTANT.exec(value) ?? [];
  return second ? [1, Date.parse(second + zone), fraction.replace(/0+$/, "")] : [1, 0, value];
}
function comparer(order, names) {
  if (typeof order === "function") return order;
  if (!order?.length) return void 0;
  const fields2 = [order].flat();
  fields2.push(...names.filter((name) => !fields2.some((field2) => plain(field2) === name)));
  const known = /* @__PURE__ */ new WeakMap();
  const valuesOf = (row) => {
    let values = known.get(row);
    if (!values) {
      known.set(row, values = fields2.map((field2) => sortable(row[plain(field2)])));
    }
    return values;
  };
  return (a, b) => {
    const [left, right] = [valuesOf(a), valuesOf(b)];
    for (let index = 0; index < fields2.length; index++) {
      const result = compareParts(left[index], right[index]);
      if (result) return fields2[index][0] === "-" ? -result : result;
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
  const response = await (options.fetch ? options.fetch({ ...request, limit }) : fetch(typeof url === "function" ? url(limit) : withLimit(url, limit), request));
  if (!response.ok) throw new ResponseError(response);
  const json = await response.json();
  const names = namesOf(options.key);
  const rows = /* @__PURE__ */ new Map();
  const all = options.rows ? options.rows(json) : single ? [json] : json?.results ?? json;
  for (const row of Array.isArray(all) ? all : [all]) {
    const key = keyOf(row, names);
    if (!key) throw new TypeError(`Expected rows with "${names}", got ${JSON.stringify(row)}`);
    rows.set(key, row);
  }
  const { next } = json;
  const token = (name) => response.headers.get(name);
  return {
    rows,
    token: token("X-Subscription-Token") ?? token("X-Subscription"),
    // Where it sends a page of its own size instead it tells whether there is a next one.
    complete: next === null || !next && rows.size < size
  };
}
function withLimit(url, limit) {
  return limit ? `${url}${url.includes("?") ? "&" : "?"}limit=${limit}` : url;
}

// src/datasync/live/asking.ts
function createAsking(page, options, host) {
  const { callTimeout, minReconnectDelay, maxReconnectDelay } = page.options;
  let question = null;
  let count = 0;
  let isDue = true;
  let isUrgent = false;
  let isStale = false;
  let dueTimer;
  let dueAt = 0;
  let retryTimer;
  let failures = 0;
  const begin = (isForToken) => {
    const controller = new AbortController();
    const current = { number: ++count, isForToken, position: page.position(), controller };
    const timer = callTimeout && setTimeout(() => controller.abort(), callTimeout * 1e3);
    question = current;
    isStale = false;
    if (isForToken) {
      isDue = isUrgent = false;
      stopWaiting();
      page.asks(1);
    }
    const end2 = (action) => {
      clearTimeout(timer || void 0);
      page.step(() => {
        if (question !== current) return;
        abandon();
        action();
      });
    };
    ask2(options, controller.signal, host.size()).then(
      (answer) => end2(() => host.arrived(answer, current)),
      (error) => end2(() => host.failed(error, current))
    );
  };
  const stopWaiting = () => {
    clearTimeout(dueTimer);
    dueTimer = void 0;
  };
  const abandon = () => {
    if (!question) return;
    if (question.isForToken) page.asks(-1);
    question.controller.abort();
    question = null;
  };
  const wake = () => {
    clearTimeout(retryTimer);
    retryTimer = void 0;
  };
  const backoffMs = () => reconnectDelay(failures, minReconnectDelay, maxReconnectDelay) * 1e3;
  return {
    /** How many questions have begun. */
    count: () => count,
    /** Ask, where that is due and nothing is under way. */
    go() {
      if (question || retryTimer) return;
      const shown = host.shown();
      const isForToken = isDue && !host.waits() && (!shown || isUrgent || page.isConnected());
      if (isForToken || isStale && shown?.refetches) begin(isForToken);
    },
    due() {
      isDue = true;
    },
    stale() {
      isStale = true;
    },
    /** The page wants it. */
    now() {
      isDue = isUrgent = true;
      wake();
    },
    /** Of what was said before, the earlier counts. */
    dueIn(delayMs) {
      const at = now() + delayMs;
      if (dueTimer && dueAt <= at) return;
      stopWaiting();
      dueAt = at;
      dueTimer = setTimeout(() => {
        dueTimer = void 0;
        page.step(() => isDue = true);
      }, delayMs);
    },
    /** Ask the same again, after a time that grows. */
    retry({ isForToken }) {
      if (isForToken) isDue = true;
      else isStale = true;
      retryTimer = setTimeout(() => page.step(wake), backoffMs());
      failures++;
    },
    /** How long to wait after an opening that failed: nothing for the first. Counts it. */
    delayMs(spreadMs) {
      const delayMs = spreadMs ? Math.random() * spreadMs * 2 ** Math.min(failures, 3) : failures && backoffMs();
      failures++;
      return delayMs;
    },
    succeeded() {
      failures = 0;
    },
    /** Do not wait for the next attempt. */
    wake,
    /** The answer is not wanted any more. */
    abandon,
    end() {
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
  owner,
  token,
  id: void 0,
  resumes: false,
  items: /* @__PURE__ */ new Set(),
  since: void 0,
  fetchedAt: void 0,
  refetches: false,
  applies: false,
  held: /* @__PURE__ */ new Map(),
  late: false,
  ended: false
});
function effectsOf(changes, items) {
  const effects = /* @__PURE__ */ new Map();
  for (const change of changes) {
    const key = keyText(change.key);
    if (change.in.some((item) => items.has(item))) effects.set(key, change.data);
    else if (change.out.some((item) => items.has(item)) && !effects.has(key)) {
      effects.set(key, null);
    }
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
    into.set(key, [writes.shown(key), rows.get(key)].find((old) => equal(old, row)) ?? row);
  };
  const discard2 = () => {
    const kept = sorted([...rows.values()]).slice(0, limitFor(size, window));
    bound = kept[kept.length - 1];
    const keep = new Set(kept);
    for (const [key, row] of rows) if (!keep.has(row)) rows.delete(key);
  };
  return {
    has: (key) => rows.has(key),
    /** How many rows a window shows, else 0. */
    size: () => size,
    /** Take what the web application answered instead of what there is. */
    replace(answer) {
      const next = /* @__PURE__ */ new Map();
      for (const [key, row] of answer.rows) put(next, key, row);
      rows = next;
      fetched = rows.size;
      bound = window && !answer.complete ? sorted([...rows.values()]).pop() : void 0;
    },
    apply(effects) {
      for (const [key, row] of effects) {
        if (row && isKnown(row)) put(rows, key, row);
        else rows.delete(key);
      }
    },
    /** So many rows have left that the next ones must be asked for. */
    runsOut: () => !!bound && rows.size < Math.min(enough(), fetched),
    /** Show another window. False: the rows for it must be asked for. */
    widen() {
      size += window;
      return !bound || rows.size >= enough();
    },
    hasMore: () => !!window && (!!bound || rows.size > size),
    /** What is to be shown now: the same array as before where nothing is different. */
    render() {
      if (window && rows.size > 2 * limitFor(size, window)) discard2();
      let next = sorted([...writes.overlay(rows).values()]);
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
var keysIn = (keys) => typeof keys === "string" ? keys.split(/[\s,]+/).filter(Boolean) : keys ?? [];
var rowOf = async (answer) => typeof answer?.clone === "function" ? answer.clone().json() : answer;
function createWrites(options, host) {
  const { page } = host;
  const names = namesOf(options.key);
  let writes = [];
  let isOver = false;
  let isChanged = false;
  let overlaid = /* @__PURE__ */ new Map();
  const add = (write, start) => new primitives.Promise((resolve) => {
    const added = {
      change: null,
      others: /* @__PURE__ */ new Set(),
      keys: [],
      after: Infinity,
      resolve,
      ...write
    };
    if (isOver) return resolve();
    page.step(() => {
      writes.push(added);
      start(added);
    });
  });
  const fieldsOf = (write) => Object.keys(write.change).filter((each) => !names.includes(each));
  const collide = (a, b) => a.change && b.change && a.key === b.key && (a.remove || b.remove || fieldsOf(a).some((field2) => field2 in b.change));
  const fetchOnce = (write) => {
    if (host.begun() <= write.after) host.fetch();
  };
  const awaitKeys = (write) => {
    write.arrived = false;
    if (!write.keys.length) fetchOnce(write);
    else {
      write.forget = page.awaitKeys(write.keys, (known) => {
        write.arrived = known;
        if (!known || host.refetches()) fetchOnce(write);
      });
    }
  };
  const fail = (write, error) => {
    if (!writes.includes(write)) return;
    writes = writes.filter((each) => each !== write);
    host.wrote(error instanceof Error ? error : new Error(String(error)));
    finish(write);
  };
  const accepted = async (write, answer) => {
    if (answer?.ok === false) throw new ResponseError(answer);
    write.after = host.begun();
    const row = write.isNew && await rowOf(answer).catch(() => null);
    page.step(() => {
      if (!writes.includes(write)) return;
      if (keyOf(row, names)) rename(write, row);
      write.keys = keysIn(answer?.headers?.get?.("X-Snorky-Keys"));
      awaitKeys(write);
    });
  };
  const rename = (write, row) => {
    const { key } = write;
    const own2 = Object.fromEntries(names.map((name) => [name, row[name]]));
    for (const each of writes) {
      if (each.key !== key) continue;
      each.change = { ...each.change, ...own2 };
      each.key = keyOf(row, names);
    }
    write.isNamed = isChanged = true;
    write.hadIt = write.others.has(write.key);
  };
  const notice = (effects) => {
    for (const write of writes) {
      if (!write.isNew) continue;
      if (!write.isNamed) compareWith(write, effects);
      else if (effects.has(write.key)) write.hadIt = true;
    }
  };
  const compareWith = (write, effects) => {
    for (const [key, row] of effects) {
      if (row && host.has(key)) continue;
      if (write.others.size < MOST_OTHERS) write.others.add(key);
      const isIt = (field2) => equal(row[field2], write.change[field2]);
      if (!row || write.hadIt || writes.some((one) => one.twin === key)) continue;
      if (fieldsOf(write).every(isIt)) {
        write.hadIt = true;
        write.twin = key;
      }
    }
  };
  return {
    notice,
    mutate(change, promise, { remove = false } = {}) {
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
      return add({ change: complete, key: keyOf(complete, names), remove, isNew }, (write) => {
        host.wrote(null);
        isChanged = true;
        answer.then((value) => accepted(write, value)).catch((error) => page.step(() => fail(write, error)));
      });
    },
    seen: (keys) => add({ after: host.begun(), keys: keysIn(keys) }, awaitKeys),
    /** Resolves when a fetch is shown that begins after so many. */
    fetched: (after = host.begun()) => add({ after }, () => {
    }),
    /** What had arrived on the old connection, and was not shown yet, must arrive anew. */
    dropped() {
      for (const write of writes) if (write.arrived) awaitKeys(write);
    },
    /** Let go of those that the list contains. Whether there is something else to show. */
    settle() {
      const earlier = [];
      for (const write of writes) {
        const isIn = host.fetched() > write.after || write.arrived && host.follows();
        if (!isIn || earlier.some((one) => collide(one, write))) earlier.push(write);
        else finish(write);
      }
      writes = earlier;
      const before = isChanged;
      isChanged = false;
      return before;
    },
    overlay(rows) {
      if (!writes.length && !overlaid.size) return rows;
      const all = new Map(rows);
      const changed = /* @__PURE__ */ new Map();
      for (const { change, key, remove, isNew, hadIt } of writes) {
        if (!change) continue;
        const row = all.get(key);
        if (remove) all.delete(key);
        else if (isNew ? !row && !hadIt : row) {
          const now2 = { ...row, ...change };
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
    shown: (key) => overlaid.get(key),
    /** The list is closed. */
    end() {
      isOver = true;
      for (const write of writes.splice(0)) finish(write);
    }
  };
  function finish(write) {
    isChanged = true;
    write.forget?.();
    write.resolve();
  }
}

// src/datasync/live/list.ts
var REFUSALS = [401, 403, 404];
var MOST_HELD = 1e4;
var EPOCH_SPREAD = 3e3;
var CLASSIC_PAUSE = 500;
function openList(page, options) {
  if (!options.url && !options.fetch) throw new TypeError("live() expects a url, or a fetch");
  if (options.window && !options.order) {
    throw new TypeError("live() expects an order where there is a window");
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
  let fetched = 0;
  let lastToken;
  const writes = createWrites(options, {
    page,
    begun: () => asking.count(),
    fetched: () => fetched,
    follows: () => shown?.id !== void 0 && shown.applies && !shown.refetches,
    refetches: () => !!shown?.refetches,
    has: (key) => view.has(key),
    fetch: () => shown?.refetches ? asking.stale() : asking.due(),
    wrote(failure) {
      writeError = failure;
    }
  });
  const view = createView(options, writes);
  let items = view.render();
  const asking = createAsking(page, options, {
    size: view.size,
    shown: () => shown,
    waits: () => !!candidate,
    arrived(answer, question) {
      isDirty = true;
      requestError = null;
      if (!shown || shown.refetches) show(answer, question.number);
      if (shown) shown.fetchedAt = question.position ?? shown.fetchedAt;
      const { token } = answer;
      if (!question.isForToken) {
        asking.succeeded();
      } else if (!token || token === lastToken) {
        asking.retry(question);
      } else {
        lastToken = token;
        const subscription = subscribe(owner, token);
        if (shown) candidate = { subscription, answer, number: question.number };
        else shown = subscription;
        page.open(subscription);
      }
    },
    failed(reason, question) {
      isDirty = true;
      requestError = reason;
      if (reason instanceof ResponseError && REFUSALS.includes(reason.status)) {
        view.replace({ rows: /* @__PURE__ */ new Map(), complete: true });
        close2();
      } else asking.retry(question);
    }
  });
  const show = (answer, number) => {
    writes.notice(answer.rows);
    view.replace(answer);
    fetched = number;
    isLoaded = true;
  };
  const apply = (effects) => {
    writes.notice(effects);
    view.apply(effects);
    isDirty = true;
  };
  const close2 = () => {
    isClosed = true;
    asking.end();
    page.close(shown);
    page.close(candidate?.subscription);
    shown = candidate = null;
    writes.end();
  };
  const statusNow = () => {
    if (isClosed) return "closed";
    if (!isLoaded) return "loading";
    if (shown?.id === void 0) {
      return page.isLost() || shown?.resumes ? "reconnecting" : "catching-up";
    }
    return shown.applies && !shown.late && !(shown.refetches && requestError) ? "live" : "catching-up";
  };
  const owner = {
    opened(subscription, answer) {
      if (answer.stale) owner.stale(subscription);
      else subscription.fetchedAt = answer.position;
      if (answer.stale === false) subscription.refetches = true;
      owner.took(subscription, effectsOf(answer.changes, subscription.items));
      if (answer.refresh !== void 0) asking.dueIn(answer.refresh);
      if (subscription.applies) subscription.late = !answer.live;
      else if (answer.live) owner.wentLive(subscription);
    },
    ended(subscription, reason, afterMs) {
      if (subscription === shown) {
        page.close(candidate?.subscription);
        shown = candidate = null;
        asking.abandon();
      } else if (subscription === candidate?.subscription) {
        candidate = null;
      } else return;
      const delayMs = asking.delayMs(reason === "epoch" ? EPOCH_SPREAD : 0);
      asking.dueIn(Math.max(afterMs, delayMs));
    },
    took(subscription, effects) {
      if (subscription === shown && shown.applies) {
        if (effects.size) apply(effects);
        return;
      }
      const { held } = subscription;
      for (const [key, row] of effects) held.set(key, row);
      if (held.size <= MOST_HELD) return;
      page.close(subscription);
      owner.ended(subscription, "held", 0);
    },
    wentLive(subscription) {
      if (subscription === candidate?.subscription) {
        const { answer, number } = candidate;
        candidate = null;
        page.close(shown);
        shown = subscription;
        if (number > fetched) show(answer, number);
      }
      if (subscription !== shown) return;
      shown.applies = true;
      shown.late = false;
      asking.succeeded();
      apply(shown.held);
      shown.held = /* @__PURE__ */ new Map();
    },
    stale(subscription) {
      subscription.refetches = true;
      if (shown) shown.refetches = true;
      asking.stale();
    },
    refresh: asking.dueIn,
    wake: asking.wake,
    connected() {
      for (const subscription of [shown, candidate?.subscription]) {
        if (subscription) page.open(subscription);
      }
    },
    dropped() {
      if (candidate) {
        candidate.subscription.ended = true;
        candidate = null;
        asking.due();
      }
      writes.dropped();
    },
    isOf: (model) => !options.model || options.model === model,
    classicDelta(delta, isAlone) {
      if (!isAlone) {
        asking.dueIn(CLASSIC_PAUSE);
        return;
      }
      const effects = effectsOfDelta(delta, namesOf(options.key));
      if (shown) owner.took(shown, effects);
      if (candidate) owner.took(candidate.subscription, effects);
    },
    render() {
      if (writes.settle()) isDirty = true;
      if (!isClosed) {
        if (!candidate && view.runsOut()) asking.due();
        asking.go();
      }
      if (!isDirty && status === statusNow()) return false;
      isDirty = false;
      const before = [items, status, error];
      items = view.render();
      status = statusNow();
      error = requestError ?? writeError;
      return [items, status, error].some((now2, index) => now2 !== before[index]);
    },
    announce() {
      if (isClosed) page.remove(owner);
      for (const tell of [() => changed.dispatch(list), ...listeners]) {
        try {
          tell();
        } catch (problem) {
          console.error(problem);
        }
      }
    }
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
      return view.hasMore();
    },
    changed,
    subscribe(listener) {
      const tell = () => listener(items);
      listeners.add(tell);
      tell();
      return () => listeners.delete(tell);
    },
    mutate: (change, promise, how) => writes.mutate(change, promise, how),
    seen: (keys) => writes.seen(keys),
    refetch: () => fetchNow(),
    more() {
      let isEnough = isClosed;
      page.step(() => {
        isEnough = view.widen();
        isDirty = true;
      });
      return isEnough ? writes.fetched(-1) : fetchNow();
    },
    close: () => page.step(close2)
  };
  const fetchNow = () => {
    const shownThen = writes.fetched();
    page.step(asking.now);
    return shownThen;
  };
  page.add(owner);
  page.step(() => {
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
  let stopWakes;
  const step2 = (action) => {
    depth++;
    try {
      action();
    } finally {
      if (!--depth) {
        if (queue.length) gather();
        for (const list of [...lists].filter((each2) => each2.render())) list.announce();
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
      (error) => step2(() => reject(error))
    );
  };
  const end2 = (subscription, reason, afterMs = 0) => {
    if (subscription.ended) return;
    subscription.ended = true;
    byId.delete(subscription.id);
    subscription.owner.ended(subscription, reason, afterMs);
  };
  const requestOf = ({ token, since, applies }) => ({
    token,
    since,
    live: applies || void 0
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
        if (isDisconnection(error)) return;
        isClassic = error.message === "Unknown command";
        if (isClassic) send(all.filter((each2) => !each2.ended));
        else for (const each2 of all) end2(each2, error.message);
      }
    );
  };
  const acquire = (subscription) => {
    const { token } = subscription;
    call2(
      "acquireSubscription",
      { token },
      () => answered2(subscription, { ...ACQUIRED, subscription: token, token }),
      (error) => {
        if (!isDisconnection(error)) end2(subscription, error.message);
      }
    );
  };
  const answered2 = (subscription, answer) => {
    if (!answer.recovered) {
      end2(subscription, answer.reason, answer.after_ms);
      return;
    }
    position = answer.position;
    if (subscription.ended) {
      close2(answer.subscription);
      return;
    }
    subscription.id = answer.subscription;
    subscription.resumes = false;
    subscription.token = answer.token;
    subscription.items = new Set(answer.items);
    byId.set(subscription.id, subscription);
    subscription.owner.opened(subscription, answer);
  };
  const close2 = (id) => {
    if (isClassic) call2("cancelSubscription", { token: id });
    else call2("closeSubscriptions", { subscriptions: [id] });
  };
  const flush = () => {
    clearTimeout(gathering);
    gathering = void 0;
    if (!snorky.isConnected) return;
    const all = new Set(queue.filter((each2) => !each2.ended));
    queue = [];
    while (all.size) {
      const some = [...all].slice(0, MOST_AT_ONCE);
      for (const each2 of some) all.delete(each2);
      send(some);
    }
  };
  const gather = () => {
    if (!asking) flush();
    else gathering ?? (gathering = setTimeout(flush, GATHER_MS));
  };
  const awaitKeys = (one) => {
    if (isClassic) return settle(one, false);
    call2(
      "awaitKeys",
      { keys: one.keys },
      () => settle(one, true),
      (error) => {
        if (!isDisconnection(error)) settle(one, false);
      }
    );
  };
  const settle = (one, known) => {
    if (waiting.delete(one)) one.done(known);
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
        const effects = effectsOf(frame.changes, subscription.items);
        if (effects.size) subscription.owner.took(subscription, effects);
      }
    },
    live: (frame) => each(frame, (one) => one.owner.wentLive(one)),
    late: (frame) => each(frame, (one) => one.late = true),
    stale: (frame) => each(frame, (one) => one.owner.stale(one)),
    refresh: (frame) => each(frame, (one) => one.owner.refresh(frame.after_ms)),
    resync: (frame) => frame.subscriptions && each(frame, (one) => end2(one, frame.reason, frame.after_ms)),
    mark(frame) {
      for (const [id, subscription] of byId) {
        subscription.token = frame.tokens?.[String(id)] ?? subscription.token;
      }
    },
    delta(frame) {
      if (!isClassic) return;
      const meant = [...lists].filter((list) => list.isOf(frame.delta.model));
      for (const list of meant) list.classicDelta(frame.delta, meant.length === 1);
    }
  };
  return {
    options: snorky.options,
    step: step2,
    /** The last one that came in a frame or in an answer to an opening on this connection. */
    position: () => position,
    /** There was a connection, and it has gone. */
    isLost: () => isLost,
    isConnected: () => snorky.isConnected,
    add(list) {
      stopWakes ?? (stopWakes = onWake(
        () => step2(() => {
          for (const one of lists) one.wake();
        })
      ));
      lists.add(list);
    },
    remove(list) {
      lists.delete(list);
      if (lists.size) return;
      stopWakes?.();
      stopWakes = void 0;
    },
    /** A list begins (1), or ends (-1), to ask the web application for a token. */
    asks(difference) {
      asking += difference;
    },
    /** Open it as soon as there is a connection: each list says so again when there is one. */
    open(subscription) {
      queue.push(subscription);
    },
    close(subscription) {
      if (!subscription || subscription.ended) return;
      subscription.ended = true;
      if (byId.delete(subscription.id)) close2(subscription.id);
    },
    awaitKeys(keys, done) {
      const one = { keys, done };
      waiting.add(one);
      if (snorky.isConnected) awaitKeys(one);
      return () => waiting.delete(one);
    },
    frame(message) {
      const { type, position: at } = message ?? {};
      if (!Object.hasOwn(frames, type)) return;
      step2(() => {
        position = at ?? position;
        frames[type](message);
      });
    },
    connectionOpened() {
      isLost = isClassic = false;
      queue = [];
      step2(() => {
        for (const list of lists) list.connected();
        flush();
        for (const one of waiting) awaitKeys(one);
      });
    },
    connectionClosed() {
      isLost = true;
      queue = [];
      step2(() => {
        for (const subscription of byId.values()) {
          subscription.since = subscription.refetches ? subscription.fetchedAt : position;
          subscription.id = void 0;
          subscription.resumes = true;
        }
        byId.clear();
        position = void 0;
        for (const list of lists) list.dropped();
      });
    }
  };
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
    this.deltaReceived = new primitives.Signal();
    this.resyncNeeded = new primitives.Signal();
    this._askedTokens = /* @__PURE__ */ new Set();
    this._acquiredTokens = /* @__PURE__ */ new Set();
    this._turns = new Turns();
    this._lostTokens = /* @__PURE__ */ new Set();
    this.notificationReceived.add(receive2, this);
  },
  acquireSubscription(params) {
    const token = params?.token;
    this._askedTokens.add(token);
    return this._turns.take(
      token,
      true,
      () => this.rpcCall("acquireSubscription", params).then(
        (value) => {
          if (this._askedTokens.delete(token)) this._acquiredTokens.add(token);
          return value;
        },
        (error) => {
          const wanted = this._askedTokens.delete(token);
          if (wanted && isDisconnection(error)) this._lostTokens.add(token);
          throw error;
        }
      )
    );
  },
  cancelSubscription(params) {
    const token = params?.token;
    this._askedTokens.delete(token);
    this._acquiredTokens.delete(token);
    this._lostTokens.delete(token);
    return this._turns.take(token, false, () => this.rpcCall("cancelSubscription", params));
  },
  live(options) {
    return openList(this._page ?? (this._page = createPage(this)), options);
  },
  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    this._page?.connectionClosed();
    for (const token of this._acquiredTokens) this._lostTokens.add(token);
    this._acquiredTokens.clear();
  },
  _connectionOpened() {
    this._page?.connectionOpened();
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
  this._page?.frame(notification);
  if (notification?.type === "delta") {
    this.deltaReceived.dispatch(notification.delta);
    this.onDelta?.(notification.delta);
  } else if (notification?.type === "resync" && this._acquiredTokens.delete(notification.token)) {
    const { reason, token, after_ms } = notification;
    this.resyncNeeded.dispatch({ reason, token, after_ms });
  }
}

// src/filters.ts
var Field = class {
  constructor(name) {
    this.name = name;
  }
  eq(value) {
    return ["==", this.name, value];
  }
  /** Present, and not equal. */
  ne(value) {
    return ["!=", this.name, value];
  }
  lt(value) {
    return ["<", this.name, value];
  }
  le(value) {
    return ["<=", this.name, value];
  }
  gt(value) {
    return [">", this.name, value];
  }
  ge(value) {
    return [">=", this.name, value];
  }
  in(values) {
    return ["in", this.name, [...values]];
  }
  /** Null or missing; `isNull(false)`: neither. */
  isNull(isNull = true) {
    return ["isnull", this.name, isNull];
  }
  startsWith(prefix) {
    return ["startswith", this.name, prefix];
  }
};
function field(name) {
  return new Field(name);
}
function fields() {
  return (name) => new Field(name);
}
function and(...filters) {
  return ["and", ...filters];
}
function or(...filters) {
  return ["or", ...filters];
}
function not(filter) {
  return ["not", filter];
}

// src/services/chat.ts
var Chat = Class(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messageReceived = new primitives.Signal();
    this.presenceReceived = new primitives.Signal();
    this.readReceived = new primitives.Signal();
    this._turns = new Turns();
    this.notificationReceived.add(receive3, this);
  },
  join(params) {
    return this._turns.take(canonical(params?.channel), true, () => this.rpcCall("join", params));
  },
  leave(params) {
    return this._turns.take(canonical(params?.channel), false, () => this.rpcCall("leave", params));
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
    this._turns = new Turns();
    this.packetReceived.add(joined, this, 1);
    this.notificationReceived.add(receive4, this);
  },
  join(params) {
    return this._turns.take(canonical(params?.document), true, () => {
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
    return this._turns.take(key, false, () => {
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
  const field2 = document?.querySelector("input[name=csrfmiddlewaretoken]");
  const token = cookie === void 0 ? field2?.value : decodeURIComponent(cookie);
  return token ? { [service.csrfHeader]: token } : {};
}

// src/services/messaging.ts
var Messaging = Class(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.messageReceived = new primitives.Signal();
    this._turns = new Turns();
    this.notificationReceived.add(receive6, this);
  },
  registerParticipant(params) {
    return this._turns.take(params?.name, true, () => this.rpcCall("registerParticipant", params));
  },
  unregisterParticipant(params) {
    return this._turns.take(
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
    this._subscriptions = /* @__PURE__ */ new Map();
    this._turns = new Turns();
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
PubSub.addRPCMethods(["publish"]);
function receive7(notification) {
  if (notification?.type !== "message") return;
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
    subscription = { params: { ...params }, state: "asked", restoring: null };
    service._subscriptions.set(key, subscription);
  }
  const own2 = subscription;
  return service._turns.take(key, true, () => service.rpcCall(command, params)).then(
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
function unsubscribe(service, command, params) {
  const key = canonical(params?.channel);
  const known = service._subscriptions.get(key);
  service._subscriptions.delete(key);
  if (known?.state === "lost") return new primitives.Promise((resolve) => resolve(null));
  return service._turns.take(key, false, () => service.rpcCall(command, params));
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
export {
  ArrayCollection,
  ArrayIterator,
  Chat,
  Class,
  Collection,
  CollectionDeltaProcessor,
  ConnectionError,
  Cursor,
  Cursors,
  DataSync,
  Document,
  Events,
  Field,
  ForeignCursor,
  Iterator,
  Messaging,
  OwnCursor,
  PubSub,
  RPCService,
  ResponseError,
  Service,
  Signal,
  SingleItemCollection,
  SingleItemIterator,
  Snorky,
  and,
  field,
  fields,
  not,
  or
};
