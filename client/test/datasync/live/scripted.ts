/** A server and a web application that say what the test tells them to, and keep what they hear. */

import { expect, onTestFinished, vi } from "vitest";
import { DataSync, type LiveList, type LiveOptions, Snorky } from "../../../src/index.js";

export interface Call {
  command: string;
  params: any;
  answer(data: unknown): void;
  refuse(message: string): void;
}

/** The next thing in a queue, which must come within a second. */
async function nextOf<T>(queue: T[], what: string): Promise<T> {
  await vi.waitFor(() => expect(queue, `expected ${what}`).not.toEqual([]), {
    timeout: 8000,
    interval: 2,
  });
  return queue.shift()!;
}

/** Everything that is to happen by itself has happened, but for timers. */
export async function idle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export class ScriptedServer {
  readonly calls: Call[] = [];
  /** Of the connection that is open. */
  private socket: any = null;
  /** Connections are accepted. */
  isUp = true;
  readonly Socket: any;

  constructor() {
    const server = this;
    this.Socket = class {
      onopen?: () => void;
      onmessage?: (event: { data: string }) => void;
      onclose?: (event: { code: number; reason: string }) => void;

      constructor() {
        queueMicrotask(() => {
          if (!server.isUp) return this.onclose?.({ code: 1006, reason: "" });
          server.socket = this;
          this.onopen?.();
        });
      }

      send(text: string) {
        server.received(this, JSON.parse(text).message);
      }

      close() {}
    };
  }

  private received(socket: any, { command, params, callId }: any): void {
    const reply = (message: object) => {
      if (this.socket === socket) this.tell({ ...message, callId });
    };
    this.calls.push({
      command,
      params,
      answer: (data) => reply({ type: "response", data }),
      refuse: (message) => reply({ type: "error", message }),
    });
  }

  /** Send frames, all of them within one turn. */
  tell(...frames: object[]): void {
    for (const message of frames) {
      this.socket.onmessage?.({ data: JSON.stringify({ service: "datasync", message }) });
    }
  }

  async called(command: string): Promise<Call> {
    const call = await nextOf(this.calls, command);
    expect(call.command).toBe(command);
    return call;
  }

  drop(): void {
    const { socket } = this;
    this.socket = null;
    socket.onclose?.({ code: 1006, reason: "" });
  }
}

export interface Request {
  headers: Record<string, string>;
  limit: number | undefined;
  signal: AbortSignal;
  /** Answer with rows, and a token where there is one. */
  answer(rows: unknown, token?: string, headers?: Record<string, string>): void;
  status(code: number, headers?: Record<string, string>): void;
  fail(): void;
}

export class WebApplication {
  readonly requests: Request[] = [];

  readonly fetch = (request: any): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { headers, limit, signal } = request;
      signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
      this.requests.push({
        headers,
        limit,
        signal,
        answer: (rows, token, more = {}) => {
          const own = token ? { "X-Subscription-Token": token } : {};
          resolve(new Response(JSON.stringify(rows), { headers: { ...own, ...more } as any }));
        },
        status: (status, more = {}) => resolve(new Response("", { status, headers: more })),
        fail: () => reject(new TypeError("Failed to fetch")),
      });
    });

  asked(): Promise<Request> {
    return nextOf(this.requests, "a request to the web application");
  }
}

/** A page with a connection, and what it shows each time it renders. */
export class Page {
  readonly server = new ScriptedServer();
  readonly snorky: Snorky<{ datasync: typeof DataSync }>;

  constructor(options: object = {}) {
    this.snorky = new Snorky(
      this.server.Socket,
      "ws://scripted",
      { datasync: DataSync },
      { minReconnectDelay: 0.01, maxReconnectDelay: 0.02, heartbeatInterval: 0, ...options },
    );
    onTestFinished(() => this.snorky.disconnect());
  }

  live<Row = any>(options: Partial<LiveOptions<Row>> = {}) {
    const application = new WebApplication();
    const list = this.snorky.services.datasync.live<Row>({ fetch: application.fetch, ...options });
    onTestFinished(() => list.close());
    const renderings: (readonly Row[])[] = [];
    const statuses: string[] = [];
    list.changed.add(() => {
      if (renderings[renderings.length - 1] !== list.items) renderings.push(list.items);
      if (statuses[statuses.length - 1] !== list.status) statuses.push(list.status);
    });
    return { list, application, renderings, statuses };
  }

  /** A list that is live, fed by subscription `id` with the item of the same name. */
  async liveList<Row = any>(rows: Row[], id = "a", options: Partial<LiveOptions<Row>> = {}) {
    const made = this.live<Row>(options);
    (await made.application.asked()).answer(rows, `token-${id}`);
    const opening = await this.server.called("openSubscriptions");
    opening.answer([opened(id, { live: true })]);
    await idle();
    expect(made.list.status).toBe("live");
    return made;
  }
}

/** The answer to an opening that succeeded. */
export const opened = (id: string, more: object = {}) => ({
  recovered: true,
  subscription: id,
  items: [`item-${id[0]}`],
  position: `opened-${id}`,
  token: `resume-${id}`,
  live: false,
  changes: [],
  ...more,
});

/** The row is as told now, for the lists with these items. */
export const upsert = (row: any, ...ids: string[]) => ({
  model: "Task",
  key: row.id,
  data: row,
  in: items(ids),
  out: [],
});

export const removal = (key: unknown, ...ids: string[]) => ({
  model: "Task",
  key,
  data: null,
  in: [],
  out: items(ids),
});

const items = (ids: string[]) => (ids.length ? ids : ["a"]).map((id) => `item-${id}`);

export const changes = (position: string, ...all: object[]) => ({
  type: "changes",
  position,
  changes: all,
});

export const wentLive = (position: string, ...ids: string[]) => ({
  type: "live",
  subscriptions: ids.length ? ids : ["a"],
  position,
});

export const ids = (list: LiveList): unknown[] => list.items.map((row) => row.id);
