/**
 * Paths, and what is called at each of their updates. The web application is asked, by POST, whether
 * the page may hear of them; Snorky delivers. All this outlives the connection.
 */

import { reconnectDelay } from "../backoff.js";
import { Class } from "../class.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { primitives } from "../primitives.js";
import type { Signal } from "../signal.js";
import { Timer } from "../timer.js";

/** Called with the message, and the path it came to: of interest where `/jobs/*` was asked for. */
export type UpdateCallback = (message: any, path: string) => void;

export interface Update {
  type: "update";
  path: string;
  message: any;
  /** The pattern by which it was received, if it was one. */
  pattern?: string;
}

/** The web application does not allow, after a reconnection, what it has allowed before. */
export interface Refusal {
  path: string;
  error: Error;
}

/** Of one POST. */
const MAX_PATHS = 100;
const MAX_CHARACTERS = 8000;

export interface Events extends RPCService {
  /** Where the web application is asked: `{id}` is replaced, or else `?id=` is added. */
  connectUrl: string;
  /** Where it is told that the page leaves a path; null: Snorky is told, and it is not. */
  disconnectUrl: string | null;
  /** Added to each POST. */
  headers: Record<string, string>;
  /** Where Django keeps its CSRF token. The hidden field of `{% csrf_token %}` will do too. */
  csrfCookie: string;
  csrfHeader: string;
  /** How long the web application may take to answer, in seconds; 0 = any time. */
  requestTimeout: number;

  /** Dispatched with each update, before the callbacks of its path are called. */
  updateReceived: Signal<[update: Update]>;
  /** Dispatched when all is connected again: what happened meanwhile was missed, fetch it. */
  reconnected: Signal<[]>;
  /** Dispatched for each path that was refused after a reconnection. It is given up. */
  refused: Signal<[refusal: Refusal]>;
  /** Dispatched when the web application, or Snorky, could not be asked. It is asked again. */
  unavailable: Signal<[error: Error]>;

  /**
   * Call `callback` at each update of `path`, until `disconnect`.
   *
   * Resolved when it is connected, or left before that; rejected where the web application
   * refuses. While it does not answer it is asked again and again.
   */
  connect(path: string, callback: UpdateCallback): Promise<null>;
  /** Do so no longer; without `callback`: for none of that path. */
  disconnect(path: string, callback?: UpdateCallback): Promise<null>;

  /** @internal */
  _paths: Map<string, Connection>;
  /** @internal Paths to leave, with whom to tell. */
  _leaving: Map<string, Settle[]>;
  /** @internal Counts connections: what was begun in another one is over. */
  _epoch: number;
  /** @internal */
  _isWorking: boolean;
  /** @internal There may be something to ask or to tell. */
  _isWanted: boolean;
  /** @internal A reconnection is to be announced when all is connected. */
  _returning: boolean;
}

interface Settle {
  resolve(value: null): void;
  reject(error: Error): void;
}

interface Connection {
  callbacks: UpdateCallback[];
  /** In this connection to Snorky. */
  connected: boolean;
  /** It was, in an earlier one. */
  wasConnected: boolean;
  waiting: Settle[];
}

/** The web application has understood, and said no. */
class Refused extends Error {}
/** The connection to Snorky was another one. */
class Outdated extends Error {}

export const Events = Class<RPCServiceClass<Events>>(RPCService, {
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
    this._paths = new Map();
    this._leaving = new Map();
    this._epoch = 0;
    this._isWorking = this._isWanted = false;
    this._returning = false;
    this.notificationReceived.add(receive, this);
  },

  connect(path, callback) {
    return new primitives.Promise<null>((resolve, reject) => {
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
    return new primitives.Promise<null>((resolve, reject) => {
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
      // Also where it is not connected yet: the request may be on its way.
      this._leaving.set(path, [...(this._leaving.get(path) ?? []), { resolve, reject }]);
      work(this);
    });
  },

  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    this._epoch++;
    for (const connection of this._paths.values()) {
      connection.wasConnected ||= connection.connected;
      connection.connected = false;
      this._returning ||= connection.wasConnected;
    }
    // The server has forgotten all of them.
    for (const settles of this._leaving.values()) for (const { resolve } of settles) resolve(null);
    this._leaving.clear();
  },

  _connectionOpened() {
    if (this._paths.size > 0) work(this);
    else this._returning = false;
  },
});

function receive(this: Events, update: any): void {
  if (update?.type !== "update") return;
  announce(this.updateReceived, update);
  for (const callback of this._paths.get(update.pattern ?? update.path)?.callbacks ?? []) {
    try {
      callback(update.message, update.path);
    } catch (error) {
      console.error(error);
    }
  }
}

/** Ask and tell all there is to, one request after the other; at most one runs at a time. */
async function work(service: Events): Promise<void> {
  service._isWanted = true;
  if (service._isWorking) return;
  service._isWorking = true;
  let failures = 0;
  while (service._isWanted) {
    await null; // what is called together is sent together
    service._isWanted = false;
    const epoch = service._epoch;
    try {
      if (!(await step(service))) continue;
      failures = 0;
    } catch (error) {
      if (service._epoch === epoch) {
        announce(service.unavailable, error as Error);
        const { minReconnectDelay, maxReconnectDelay } = service.snorky.options;
        const seconds = reconnectDelay(failures++, minReconnectDelay, maxReconnectDelay);
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      }
    }
    service._isWanted = true;
  }
  service._isWorking = false;
}

/** Do the next thing. False: there is none, or it has to wait for a connection. */
async function step(service: Events): Promise<boolean> {
  const epoch = service._epoch;
  if (!service.snorky.isConnected) return false;
  const leaving = someOf(service._leaving.keys());
  if (leaving.length > 0) {
    await leave(service, epoch, leaving);
    return true;
  }
  const missing = [...service._paths].filter(([, { connected }]) => !connected);
  const asked = someOf(missing.map(([path]) => path));
  if (asked.length > 0) {
    const id = await service.rpcCall<string>("getId");
    await ask(service, epoch, id, asked);
    return true;
  }
  if (service._returning) {
    service._returning = false;
    announce(service.reconnected);
  }
  return false;
}

function someOf(paths: Iterable<string>): string[] {
  const some: string[] = [];
  let characters = 0;
  for (const path of paths) {
    characters += path.length;
    if (some.length === MAX_PATHS || (some.length > 0 && characters > MAX_CHARACTERS)) break;
    some.push(path);
  }
  return some;
}

async function ask(service: Events, epoch: number, id: string, paths: string[]): Promise<void> {
  try {
    await post(service, epoch, service.connectUrl, id, paths);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (paths.length > 1) {
      // All are refused for the sake of one: it must not be to the cost of the others.
      const half = Math.ceil(paths.length / 2);
      await ask(service, epoch, id, paths.slice(0, half));
      await ask(service, epoch, id, paths.slice(half));
    } else {
      giveUp(service, paths[0], error);
    }
    return;
  }
  for (const path of paths) {
    const connection = service._paths.get(path);
    // The page may have left it, or left and connected it anew, meanwhile: that is to be sent yet.
    if (!connection || service._leaving.has(path)) continue;
    connection.connected = true;
    for (const { resolve } of connection.waiting.splice(0)) resolve(null);
  }
}

function giveUp(service: Events, path: string, error: Error): void {
  const connection = service._paths.get(path);
  // Left and connected anew meanwhile: that is to be asked yet.
  if (!connection || service._leaving.has(path)) return;
  service._paths.delete(path);
  for (const { reject } of connection.waiting) reject(error);
  if (connection.wasConnected) {
    announce(service.refused, { path, error });
    console.error(`Snorky: could not connect again to path "${path}":`, error);
  }
}

async function leave(service: Events, epoch: number, paths: string[]): Promise<void> {
  const settles = paths.flatMap((path) => service._leaving.get(path)!);
  for (const path of paths) service._leaving.delete(path);
  try {
    if (service.disconnectUrl === null) {
      await service.rpcCall("leave", { path: paths });
    } else {
      const id = await service.rpcCall<string>("getId");
      await post(service, epoch, service.disconnectUrl, id, paths);
    }
  } catch (error) {
    // Nobody here listens any more. Snorky forgets it with the connection at the latest.
    if (service._epoch === epoch) for (const { reject } of settles) reject(error as Error);
  }
  for (const { resolve } of settles) resolve(null);
}

async function post(
  service: Events,
  epoch: number,
  template: string,
  id: string,
  paths: string[],
): Promise<void> {
  if (service._epoch !== epoch) throw new Outdated("The connection was lost");
  const giveUp = new AbortController();
  const timer = new Timer();
  timer.start((service.requestTimeout || Infinity) * 1000, () => giveUp.abort());
  try {
    const answer = await fetch(addressOf(template, id), {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", ...csrf(service), ...service.headers },
      body: JSON.stringify(paths),
      signal: giveUp.signal,
    });
    if (service._epoch !== epoch) throw new Outdated("The connection was lost");
    if (answer.redirected) {
      // As a rule to a page to log in, which is answered with 200.
      throw new Refused(
        `Refused by the web application: ${paths.join(", ")}: sent to ${answer.url}`,
      );
    }
    if (answer.ok) return;
    const text = `${paths.join(", ")}: ${answer.status} ${reasonIn(await answer.text())}`;
    // 410: our id has ended, we shall hear of it. The others may be over soon.
    const passes = answer.status >= 500 || [408, 410, 425, 429].includes(answer.status);
    throw passes ? new Error(text) : new Refused(`Refused by the web application: ${text}`);
  } finally {
    timer.stop();
  }
}

/** Listeners are the page's: their errors must not stop us. */
function announce<A extends any[]>(signal: Signal<A>, ...args: A): void {
  try {
    signal.dispatch(...args);
  } catch (error) {
    console.error(error);
  }
}

function addressOf(template: string, id: string): string {
  if (template.includes("{id}")) return template.replace("{id}", encodeURIComponent(id));
  return `${template}${template.includes("?") ? "&" : "?"}id=${encodeURIComponent(id)}`;
}

/** An error page is no reason. */
function reasonIn(body: string): string {
  try {
    return String(JSON.parse(body).error ?? "");
  } catch {
    return body.startsWith("<") || body.includes("\n") ? "" : body.slice(0, 200);
  }
}

function csrf(service: Events): Record<string, string> {
  const { document } = globalThis;
  const cookie = document?.cookie
    .split("; ")
    .find((each) => each.startsWith(`${service.csrfCookie}=`))
    ?.slice(service.csrfCookie.length + 1);
  const field = document?.querySelector<HTMLInputElement>("input[name=csrfmiddlewaretoken]");
  const token = cookie === undefined ? field?.value : decodeURIComponent(cookie);
  return token ? { [service.csrfHeader]: token } : {};
}
