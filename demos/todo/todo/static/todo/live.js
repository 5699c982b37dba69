/**
 * A list by `live()`, and what a page says of it while it is not live. Knows nothing of todos.
 */

import { NoAnswer } from "./api.js";

export class LiveList {
  /** Dispatched when something else is to be shown. */
  changed = new Snorky.Signal();

  #snorky;
  #list;
  #wasLive = false;
  /** Snorky was called, and did not answer. */
  #isAway = false;
  #problem = null;

  /**
   * `snorky` has a service `datasync`; `fetchRows` takes what the browser's `fetch` takes, and returns
   * a promise of the response.
   */
  constructor(snorky, fetchRows, options) {
    this.#snorky = snorky;
    this.#list = snorky.services.datasync.live({
      ...options,
      fetch: (request) => this.#watch(request, fetchRows(request)),
    });
    this.#list.changed.add(({ status }) => {
      this.#wasLive ||= status === "live";
      this.changed.dispatch();
    });
    snorky.connected.add(() => this.#setAway(false));
    snorky.disconnected.add(() => this.#setAway(true));
  }

  /** The rows in their order: a new array whenever something is different. */
  get items() {
    return this.#list.items;
  }

  get isLoaded() {
    return this.#list.status !== "loading";
  }

  /** "connecting", "live", "reconnecting", or "offline": neither server answers. */
  get status() {
    if (this.#list.status === "live") return "live";
    if (this.#problem instanceof NoAnswer && !this.#snorky.isConnected) return "offline";
    return this.#wasLive ? "reconnecting" : "connecting";
  }

  /** Why it is not live, as an Error; null where it is, or will be in a moment. */
  get problem() {
    if (this.#list.status === "live") return null;
    if (this.#problem || !this.#isAway || !this.isLoaded) return this.#problem;
    return new Error("Snorky does not answer: this list may be out of date.");
  }

  /** Ask the web application now, unless the list is live: then it is up to date. */
  refresh() {
    if (this.#list.status !== "live") this.#list.refetch();
  }

  /** Show these changes at once, and until the list has them or `answer` is rejected. */
  show(changes, answer, options) {
    for (const change of changes) this.#list.mutate(change, answer, options);
  }

  async #watch({ signal }, response) {
    try {
      await response;
      this.#problem = null;
    } catch (error) {
      if (!signal.aborted) this.#problem = error;
    }
    return response;
  }

  #setAway(isAway) {
    this.#isAway = isAway;
    this.changed.dispatch();
  }
}
