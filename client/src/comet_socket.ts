/**
 * A connection by plain HTTP, with the interface of a WebSocket: messages come by Server-Sent
 * Events or by long polling, and go by POST.
 *
 * Messages are numbered each way. Where a request fails it is made again, so short drops are not
 * seen from outside; the connection ends when the server has forgotten us, or cannot be reached.
 */

import { textOf } from "./errors.js";
import type { SocketLike } from "./socket.js";
import { now, Timer } from "./timer.js";
import { TOKEN_EXPIRED } from "./token.js";

/** Of one POST; a longer message goes alone. The server takes 1000 messages and 1 MiB. */
const MAX_MESSAGES = 100;
const MAX_CHARACTERS = 100_000;
/** Between two attempts, in milliseconds. */
const MIN_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2000;
/**
 * After which a POST may wait for the connection that is kept open to hear: by HTTP/1.1 browsers
 * have six to a host, for all windows together. In milliseconds.
 */
const WAITING_POST_MS = 1000;

/** The server has understood, and said no. */
class Rejected extends Error {}

/** Tells that something came: the attempt is no failure so far. */
type Progress = () => void;

export class CometSocket implements SocketLike {
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;
  bufferedAmount = 0;

  private readonly _address: URL;
  private readonly _closing = new AbortController();
  private _session = "";
  /** The last message of the server's that came. */
  private _after = 0;
  /** The last message of ours that the server has. */
  private _received = 0;
  private _unsent: string[] = [];
  private _posting = false;
  /** Give up the request by which we hear. */
  private _letGo: (() => void) | null = null;
  /** A POST under way that we have let go of it for. */
  private _waitedFor: Promise<void> | null = null;
  private _isOpen = false;
  private _silenceMs = 20_000;
  private _patienceMs = 0;

  /**
   * Throws where `address` is none. `token`, if there is one, goes along with each request: a new
   * one may take its place.
   */
  constructor(
    address: string,
    private readonly _streaming: boolean,
    /** @internal */ public _token = "",
  ) {
    this._address = new URL(address, globalThis.location?.href);
    void this._run();
  }

  send(text: string): void {
    this._unsent.push(text);
    this.bufferedAmount += text.length;
    if (!this._posting) void this._post();
  }

  close(): void {
    if (this._closing.signal.aborted) return;
    this._closing.abort();
    if (this._session) this._sayGoodbye();
  }

  private _sayGoodbye(): void {
    // Also while the page goes; nobody waits for the answer.
    const headers = this._headers();
    const request = { method: "POST", headers, credentials: "include", keepalive: true } as const;
    fetch(this._url("/close"), request).catch(() => {});
  }

  private async _run(): Promise<void> {
    try {
      const opened: any = await this._request("", { method: "POST" }, (answer) => answer.json());
      this._session = opened.session;
      if (this._closing.signal.aborted) {
        this._sayGoodbye();
        return;
      }
      this._silenceMs = opened.heartbeatInterval * 2000;
      this._patienceMs = opened.disconnectDelay * 1000;
      if (!this._streaming) this._opened();
      await this._insist((progress) => this._hear(progress), true);
    } catch (error) {
      this._failed(error);
    }
  }

  private async _hear(progress: Progress): Promise<void> {
    await this._waitedFor;
    try {
      await (this._streaming ? this._stream(progress) : this._poll(progress));
    } catch (error) {
      if (!this._waitedFor || error instanceof Rejected) throw error;
    }
  }

  private _opened(): void {
    this._isOpen = true;
    this.onopen?.({});
  }

  private _failed(error: unknown): void {
    const reason = textOf(error);
    const isExpired = this._token && reason === "401 Token expired";
    // What will be the same the next time.
    const refused = !isExpired && !this._session && /^40[134] /.test(reason) && parseInt(reason);
    this._ended(isExpired ? TOKEN_EXPIRED : 1006, reason, refused || 0);
  }

  /** `refused`: the status with which we were not let in. */
  private _ended(code: number, reason: string, refused = 0): void {
    if (this._closing.signal.aborted) return;
    this.close();
    this.onclose?.({ code, reason, refused });
  }

  /** One response that goes on; what comes is parsed as it comes. */
  private _stream(progress: Progress): Promise<void> {
    return this._request(`/events`, { after: this._after }, async (answer, alive) => {
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      let pending = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        progress();
        const events = (pending + value).split("\n\n");
        pending = events.pop()!;
        for (const event of events) this._heard(event);
      }
    });
  }

  private _heard(event: string): void {
    const fields: Record<string, string> = {};
    for (const line of event.split("\n")) {
      const colon = line.indexOf(":");
      fields[line.slice(0, colon)] = line.slice(colon + 2);
    }
    if (fields.event === "open") {
      if (!this._isOpen) this._opened();
    } else if (fields.event === "close") {
      const [code, reason] = JSON.parse(fields.data);
      this._ended(code, reason);
    } else if (fields.id !== undefined) {
      this._message(Number(fields.id), fields.data);
    }
  }

  private async _poll(progress: Progress): Promise<void> {
    const answer = await this._request(`/poll`, { after: this._after }, (a) => a.json());
    progress();
    const first = answer.after - answer.messages.length + 1;
    answer.messages.forEach((message: unknown, index: number) => {
      this._message(first + index, JSON.stringify(message));
    });
    if (answer.close) this._ended(answer.close[0], answer.close[1]);
  }

  private _message(number: number, data: string): void {
    if (this._closing.signal.aborted || number <= this._after) return;
    this._after = number;
    this.onmessage?.({ data });
  }

  /** Send what waits, one request after the other: the order is ours to keep. */
  private async _post(): Promise<void> {
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

  private async _deliver(messages: string[]): Promise<void> {
    const delivered = this._insist(async () => {
      const after = this._after;
      const body = JSON.stringify({ first: this._received + 1, after, messages });
      await this._request("/messages", { method: "POST", body }, (answer) => answer.text());
    });
    const waiting = new Timer();
    waiting.start(WAITING_POST_MS, () => {
      this._waitedFor = delivered.catch(() => {});
      this._letGo?.();
    });
    try {
      await delivered;
    } finally {
      waiting.stop();
      this._waitedFor = null;
    }
  }

  private _batch(): string[] {
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
  private async _insist(
    attempt: (progress: Progress) => Promise<void>,
    forever = false,
  ): Promise<void> {
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
        failingSince ||= now();
        const tooLong = now() - failingSince > this._patienceMs;
        if (error instanceof Rejected || !this._isOpen || tooLong) throw error;
        const delayMs = pauseMs * (0.5 + Math.random() / 2);
        pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS);
        await new Promise((resolve) => setTimeout(resolve, delayMs));
      }
    }
  }

  /** One request, given up when nothing comes for too long; `alive` says that something did. */
  private async _request<T>(
    path: string,
    { after, ...init }: RequestInit & { after?: number },
    read: (answer: Response, alive: () => void) => Promise<T>,
  ): Promise<T> {
    const giveUp = new AbortController();
    const abort = () => giveUp.abort();
    this._closing.signal.addEventListener("abort", abort);
    const timer = new Timer();
    const alive = () => timer.start(this._silenceMs, abort);
    alive();
    if (after !== undefined) this._letGo = abort;
    try {
      const answer = await fetch(this._url(path, after), {
        ...init,
        headers: this._headers(init.body),
        // As with a WebSocket.
        credentials: "include",
        cache: "no-store",
        signal: giveUp.signal,
      });
      if (!answer.ok) {
        const text = `${answer.status} ${await answer.text()}`;
        // What stands between us and the server says 5xx while it cannot reach it.
        throw answer.status < 500 ? new Rejected(text) : new Error(text);
      }
      return await read(answer, alive);
    } finally {
      timer.stop();
      this._closing.signal.removeEventListener("abort", abort);
    }
  }

  /** Without a token they need no preflight. */
  private _headers(body?: unknown): Record<string, string> {
    const headers: Record<string, string> = body ? { "Content-Type": "text/plain" } : {};
    if (this._token) headers.Authorization = `Bearer ${this._token}`;
    return headers;
  }

  private _url(path: string, after?: number): URL {
    const url = new URL(this._address);
    url.pathname = url.pathname.replace(/\/$/, "") + path;
    if (this._session) url.searchParams.set("session", this._session);
    if (after !== undefined) url.searchParams.set("after", String(after));
    return url;
  }
}
