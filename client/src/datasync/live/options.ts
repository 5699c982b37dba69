/** What pages say to `live()`, and what they get. */

import type { Signal } from "../../signal.js";

/**
 * - `loading`: nothing has come from the web application yet.
 * - `catching-up`: rows are shown, and may not be the newest: the server cannot promise it yet.
 * - `live`: the list is what the query says, and follows each change.
 * - `reconnecting`: the connection was lost. Rows stay, and what was missed comes when it is back.
 * - `closed`: by `close()`, or because the web application refused (401, 403, 404): then `error` says
 *   so and there are no rows.
 */
export type LiveStatus = "loading" | "catching-up" | "live" | "reconnecting" | "closed";

/** The field whose value tells one row from all others, or several that do so together. */
export type LiveKey = string | readonly string[];

/** Field names, "-" before a name for descending; or a function as `Array.sort` takes it. */
export type LiveOrder<Row> = string | readonly string[] | ((a: Row, b: Row) => number);

/** What a `fetch` of the page's own is given: pass it on to the browser's `fetch`. */
export interface LiveRequest extends RequestInit {
  /** With the header that asks for a subscription, `X-Snorky: Subscribe`. */
  headers: Record<string, string>;
  /** Aborted where nobody waits for the answer any more. */
  signal: AbortSignal;
  /** Of a list with a `window`: how many rows are wanted, from the first on. */
  limit?: number;
}

export interface LiveOptions<Row = any> {
  /**
   * Where the web application answers with the rows. With a `window` the number of rows wanted is
   * added as `?limit=`; give a function where the application calls it otherwise.
   */
  url?: string | ((limit?: number) => string);
  /** Asks the web application instead of `url`. */
  fetch?: (request: LiveRequest) => Promise<Response>;
  /** Default "id". It must be what the dealers of the model use as key. */
  key?: LiveKey;
  /** Takes the rows out of the answer's JSON. Default: the array itself, or that in `results`. */
  rows?: (json: any) => Row[];
  /**
   * Where rows belong that come later. Fields hold numbers, instants (ISO 8601) or texts, compared
   * by code point; missing ones are greatest. Equal rows are ordered by their key. Without it rows
   * stay as the web application sent them, and new ones come last.
   */
  order?: LiveOrder<Row>;
  /** Sent with each request; a function is asked each time. */
  headers?: Record<string, string> | (() => Record<string, string>);
  /** The answer's JSON is one object, which is the only item. */
  single?: boolean;
  /**
   * Show only the first so many rows in `order`, and as many more with each `more()`. The web
   * application must order its answer the same way.
   */
  window?: number;
  /** For servers without `openSubscriptions`: the model of the rows, where a page has several. */
  model?: string;
}

/** One list (or object) of the web application's, as it is now. Made by `DataSync.live`. */
export interface LiveList<Row = any> {
  /**
   * The rows in their order. Never changed in place: a new array whenever something is different,
   * the same one otherwise; and rows that did not change are the same objects as before.
   */
  readonly items: readonly Row[];
  readonly status: LiveStatus;
  /** What failed last: a request (tried again, unless it was refused) or a write; null: nothing. */
  readonly error: Error | null;
  /** Of a list with a `window`: whether `more()` may bring more rows. */
  readonly hasMore: boolean;
  /** Dispatched after `items`, `status` or `error` have changed. */
  readonly changed: Signal<[list: LiveList<Row>]>;
  /**
   * Call `listener` with the items, now and after each change. Returns what ends that: the contract
   * of Svelte's stores. For React: `useSyncExternalStore(tasks.subscribe, () => tasks.items)`.
   */
  readonly subscribe: (listener: (items: readonly Row[]) => void) => () => void;
  /**
   * Show a write before the server has answered it.
   *
   * `change` holds the key of the row and the fields that become different; without a key it is a
   * new row, which has a temporary key until the answer's JSON tells its own. With `remove: true`
   * the row is hidden. The write stays on top of the row until the list itself contains what it did
   * (by the header `X-Snorky-Keys` of the answer; without it the list is fetched again), or until
   * `promise` is rejected or its response is not `ok`: then `error` says why.
   * It never brings back a row that has left the list.
   *
   * Resolves when the write is no longer laid over the rows. Is never rejected.
   */
  mutate(
    change: Partial<Row>,
    promise: PromiseLike<unknown>,
    options?: { remove?: boolean },
  ): Promise<void>;
  /**
   * Resolves when the list contains the transactions of these keys, or cannot any more.
   * Takes the header `X-Snorky-Keys` as it is, or a list of keys.
   */
  seen(keys: string | readonly string[]): Promise<void>;
  /** Ask the web application again. Resolves when its answer is shown. Is never rejected. */
  refetch(): Promise<void>;
  /** Show another `window` of rows. Resolves when they are shown, or when there are none. */
  more(): Promise<void>;
  /** End it. The items stay as they are. */
  close(): void;
}

/** The web application answered with a status that is not a success. */
export class ResponseError extends Error {
  override readonly name = "ResponseError";

  constructor(readonly response: Response) {
    super(`Expected a success, got ${response.status} from ${response.url}`);
  }

  get status(): number {
    return this.response.status;
  }
}
