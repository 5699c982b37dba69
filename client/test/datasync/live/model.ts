/**
 * A small world for random histories: a database, an outbox with its relay, the ordered log, the
 * server's end of one connection, and the web application. Everything happens one step at a time.
 *
 * Commits are numbered; what a view may show is what the query gave after some number of them.
 */

export interface Row {
  id: number;
  team: number;
  n: number;
}

/** Whether a row belongs to a view, by the view's name. */
export const VIEWS: Record<string, (row: Row) => boolean> = {
  one: (row) => row.team === 1,
  two: (row) => row.team === 2,
  low: (row) => row.n < 5,
  newest: (row) => row.team !== 3,
  asked: (row) => row.n % 2 === 0,
};

const REFETCHED = "asked";
const KEYS_PER_ROW = 9;

type State = ReadonlyMap<number, Row>;
type Random = (below: number) => number;

interface Subscription {
  id: string;
  view: string;
  token: string;
  /** Openings are counted: a pass that began later makes it live. */
  opened: number;
  isLive: boolean;
  isTouched: boolean;
}

interface Token {
  view: string;
  start: number;
  epoch: number;
}

export class World {
  /** What the database held after so many commits. */
  readonly states: State[] = [new Map()];
  /** How many of them are in the log. */
  logged = 0;
  epoch = 0;
  readonly keys: string[] = [];

  socket: any = null;
  private inbox: object[] = [];
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly tokens = new Map<string, Token>();
  private readonly waiting: { callId: unknown; commit: number }[] = [];
  private openings = 0;
  private names = 0;
  private pass: { until: number; asked: number } | null = null;
  readonly requests: (() => void)[] = [];
  readonly Socket: any;

  constructor(
    private readonly random: Random,
    readonly isFaulty: () => boolean,
  ) {
    const world = this;
    this.Socket = class {
      onopen?: () => void;
      onmessage?: (event: object) => void;
      onclose?: (event: object) => void;
      constructor() {
        setTimeout(() => {
          world.socket = this;
          this.onopen?.();
        }, 1);
      }
      send(text: string) {
        if (world.socket === this) world.received(JSON.parse(text).message);
      }
      close() {}
    };
  }

  get state(): State {
    return this.states[this.states.length - 1];
  }

  // ── the database, and the relay that brings its commits into the log

  /** One transaction; returns its key. */
  commit(writes: Map<number, Row | null>): string {
    const next = new Map(this.state);
    for (const [id, row] of writes) {
      if (row) next.set(id, row);
      else next.delete(id);
    }
    this.states.push(next);
    const key = `key-${this.states.length - 1}`;
    this.keys.push(key);
    return key;
  }

  /** Begin a pass, append one entry, or end the pass. */
  relay(): void {
    if (!this.pass) {
      this.pass = { until: this.states.length - 1, asked: this.openings };
    } else if (this.logged < this.pass.until) {
      this.append();
    } else {
      const { asked } = this.pass;
      this.pass = null;
      const live = [...this.subscriptions.values()].filter(
        (each) => !each.isLive && each.opened <= asked,
      );
      for (const each of live) each.isLive = true;
      const subscriptions = live.map((each) => each.id);
      if (live.length) this.tell({ type: "live", subscriptions, position: this.position() });
    }
  }

  private append(): void {
    this.logged++;
    const changes = this.changesOf(this.logged - 1, [...this.subscriptions.values()]);
    if (changes.length) this.tell({ type: "changes", position: this.position(), changes });
    for (const each of this.subscriptions.values()) {
      if (each.view === REFETCHED && this.touched(this.logged - 1)) each.isTouched = true;
    }
    this.settleKeys();
  }

  /** Every key touched after the commit `since`, up to the end of the log. */
  private changesOf(since: number, subscriptions: Subscription[]): any[] {
    const keys = new Set<number>();
    for (let commit = since + 1; commit <= this.logged; commit++) {
      for (const key of this.touchedKeys(commit)) keys.add(key);
    }
    const items = [...new Set(subscriptions.map((each) => each.view))].filter(
      (view) => view !== REFETCHED,
    );
    const changes = [];
    for (const key of keys) {
      const now = this.states[this.logged].get(key);
      const into = now ? items.filter((view) => VIEWS[view](now)) : [];
      const out = items.filter((view) => {
        if (into.includes(view)) return false;
        for (let commit = since; commit < this.logged; commit++) {
          const row = this.states[commit].get(key);
          if (row && VIEWS[view](row)) return true;
        }
        return false;
      });
      if (!into.length && !out.length) continue;
      changes.push({ model: "Row", key, data: into.length ? now : null, in: into, out });
    }
    return changes;
  }

  private touchedKeys(commit: number): number[] {
    const [before, after] = [this.states[commit - 1], this.states[commit]];
    return [...new Set([...before.keys(), ...after.keys()])].filter(
      (key) => before.get(key) !== after.get(key),
    );
  }

  private touched(since: number): boolean {
    for (let commit = since + 1; commit <= this.logged; commit++) {
      if (this.touchedKeys(commit).length) return true;
    }
    return false;
  }

  private position(): string {
    return `${this.epoch}:${this.logged}`;
  }

  // ── the server's end of the connection

  private tell(message: object): void {
    this.inbox.push({ service: "datasync", message });
  }

  /** Let the page have the next messages, in order. */
  deliver(count: number): void {
    for (const envelope of this.inbox.splice(0, count)) {
      this.socket?.onmessage?.({ data: JSON.stringify(envelope) });
    }
  }

  drop(): void {
    const { socket } = this;
    this.socket = null;
    this.inbox = [];
    this.waiting.length = 0;
    this.subscriptions.clear();
    socket?.onclose?.({ code: 1006, reason: "" });
  }

  /** The server has lost its log, and begins a new one. */
  restart(): void {
    this.epoch++;
    this.pass = null;
    this.logged = this.states.length - 1; // nobody will tell what was not told
    this.drop();
  }

  private received({ command, params, callId }: any): void {
    const answer = (data: unknown) => this.tell({ type: "response", callId, data });
    if (command === "openSubscriptions") {
      answer(params.subscriptions.map((each: any) => this.open(each)));
    } else if (command === "closeSubscriptions") {
      for (const id of params.subscriptions) this.subscriptions.delete(id);
      answer(null);
    } else {
      const commits = params.keys.map((key: string) => Number(key.slice(4)));
      this.waiting.push({ callId, commit: Math.max(...commits) });
      this.settleKeys();
    }
  }

  private settleKeys(): void {
    for (const one of [...this.waiting]) {
      if (one.commit > this.logged) continue;
      this.waiting.splice(this.waiting.indexOf(one), 1);
      this.tell({ type: "response", callId: one.callId, data: this.position() });
    }
  }

  private open({ token, since, live = false }: any): object {
    const known = this.tokens.get(token)!;
    const refused = (reason: string) => ({ recovered: false, reason, after_ms: this.random(5) });
    if (known.epoch !== this.epoch) return refused("epoch");
    if (this.isFaulty() && !this.random(12)) return refused("trimmed");
    const start = since === undefined ? known.start : Number(since.split(":")[1]);
    const id = `subscription-${++this.names}`;
    const subscription = {
      id,
      view: known.view,
      token,
      opened: ++this.openings,
      isLive: live,
      isTouched: false,
    };
    for (const other of this.subscriptions.values()) {
      if (other.token === token) this.end(other, "replaced");
    }
    this.subscriptions.set(id, subscription);
    const isRefetched = known.view === REFETCHED;
    const stale = isRefetched && this.touched(start);
    const resume = this.tokenFor(known.view);
    subscription.token = resume;
    return {
      recovered: true,
      subscription: id,
      items: [known.view],
      position: this.position(),
      token: resume,
      live,
      ...(isRefetched && { stale }),
      changes: isRefetched ? [] : this.changesOf(start, [subscription]),
    };
  }

  private tokenFor(view: string): string {
    const token = `token-${++this.names}`;
    this.tokens.set(token, { view, start: this.logged, epoch: this.epoch });
    return token;
  }

  private end(subscription: Subscription, reason: string): void {
    this.subscriptions.delete(subscription.id);
    const { id } = subscription;
    this.tell({ type: "resync", subscriptions: [id], reason, after_ms: this.random(5) });
  }

  private any(): Subscription | undefined {
    const all = [...this.subscriptions.values()];
    return all[this.random(all.length)];
  }

  resync(): void {
    const subscription = this.any();
    if (subscription) this.end(subscription, "reset");
  }

  refresh(): void {
    const subscription = this.any();
    if (!subscription) return;
    const subscriptions = [subscription.id];
    this.tell({ type: "refresh", subscriptions, position: this.position(), after_ms: 3 });
  }

  late(): void {
    const subscription = this.any();
    if (!subscription?.isLive) return;
    subscription.isLive = false;
    subscription.opened = ++this.openings;
    this.tell({ type: "late", subscriptions: [subscription.id] });
  }

  /** Refetch items are told some time after they were touched. */
  tellStale(): void {
    for (const each of this.subscriptions.values()) {
      if (!each.isTouched) continue;
      each.isTouched = false;
      this.tell({ type: "stale", subscriptions: [each.id], position: this.position() });
    }
  }

  // ── the web application

  /** The view's rows. First a token, then the query, then the answer: each a step of its own. */
  fetch(view: string, request: { signal: AbortSignal; limit?: number }): Promise<Response> {
    return new Promise((resolve, reject) => {
      request.signal.addEventListener("abort", () => reject(new Error("aborted")));
      const fails = this.isFaulty() && !this.random(10);
      let token: string | undefined;
      let rows: Row[];
      this.requests.push(() => {
        if (!this.isFaulty() || this.random(10)) token = this.tokenFor(view);
        this.requests.push(() => {
          rows = [...this.state.values()].filter(VIEWS[view]);
          if (request.limit) rows = rows.sort(byNewest).slice(0, request.limit);
          this.requests.push(() => {
            const headers = new Headers(token ? { "X-Subscription-Token": token } : {});
            const json = JSON.stringify(rows);
            const ok = !fails;
            resolve({
              ok,
              status: fails ? 500 : 200,
              headers,
              json: async () => JSON.parse(json),
            } as any);
          });
        });
      });
    });
  }

  /** Something new for one or some rows. */
  randomWrites(): Map<number, Row | null> {
    const writes = new Map<number, Row | null>();
    for (let count = 1 + this.random(3); count; count--) {
      const id = 1 + this.random(KEYS_PER_ROW);
      const row = { id, team: 1 + this.random(3), n: this.random(10) };
      writes.set(id, this.random(4) ? row : null);
    }
    return writes;
  }
}

/** The order of the window: by n, the greatest first, then by id. */
export const byNewest = (a: Row, b: Row): number => b.n - a.n || a.id - b.id;
