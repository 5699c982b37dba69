/** One question to the web application: rows, and a token for the changes to come. */

import { withQuery } from "../../address.js";
import { keyOf, namesOf } from "./order.js";
import { type LiveOptions, ResponseError } from "./options.js";

export interface Answer<Row> {
  /** By key, in the order of the web application. */
  _rows: Map<string, Row>;
  /** Without one the web application could not promise that nothing is missed. */
  _token: string | null;
  /** Of a window: the web application has no more rows than these. */
  _complete: boolean;
}

/** What was asked for beyond the window takes the place of rows that leave. */
export const limitFor = (size: number, window: number): number => size + Math.ceil(window / 2);

/**
 * Of a window `size` rows are to be shown, else it is 0.
 *
 * Rejected with a ResponseError where the answer is no success.
 */
export async function ask<Row>(
  options: LiveOptions<Row>,
  signal: AbortSignal,
  size: number,
): Promise<Answer<Row>> {
  const { headers, url, window, single } = options;
  const limit = window && limitFor(size, window);
  const request = {
    headers: {
      Accept: "application/json",
      ...(typeof headers === "function" ? headers() : headers),
      "X-Snorky": "Subscribe",
    },
    // An answer kept by the browser would be older than its token.
    cache: "no-store" as const,
    signal,
  };
  const response = await (options.fetch
    ? options.fetch({ ...request, limit })
    : fetch(typeof url === "function" ? url(limit) : withQuery(url!, "limit", limit), request));
  if (!response.ok) throw new ResponseError(response);

  const json = await response.json();
  const names = namesOf(options.key);
  const rows = new Map<string, Row>();
  const all = options.rows ? options.rows(json) : single ? json : (json?.results ?? json);
  for (const row of [all].flat()) {
    const key = keyOf(row, names);
    if (!key) throw new TypeError(`Expected rows with "${names}", got ${JSON.stringify(row)}`);
    rows.set(key, row);
  }
  const { next } = json;
  const token = (name: string) => response.headers.get(name);
  return {
    _rows: rows,
    _token: token("X-Subscription-Token") ?? token("X-Subscription"),
    // Where it sends a page of its own size instead it tells whether there is a next one.
    _complete: next === null || (!next && rows.size < size),
  };
}
