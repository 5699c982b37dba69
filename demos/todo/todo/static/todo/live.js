/**
 * Keeps an array equal to the web application's list. Knows nothing of the page.
 *
 * 1. Fetch the list; with it comes a token for a subscription.
 * 2. Take the token to Snorky. From now on it sends every change that the fetched list lacks.
 * 3. Apply the changes to the array.
 * 4. After an interruption begin again. The array keeps what it has until the new list is there.
 */

import { NoAnswer } from "./api.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;

export class LiveList {
  /** The rows as the server sent them, in any order. Changed in place. */
  items = [];
  isLoaded = false;
  /** Snorky has taken our token and the connection is up: changes arrive. */
  isLive = false;
  /** Why the last attempt to get there failed; null after one that succeeded. */
  problem = null;
  /** Dispatched when any of the above may have changed. */
  changed = new Snorky.Signal();

  #snorky;
  #fetchList;
  #wasLive = false;
  #isSubscribing = false;
  #hurry = () => {};

  /**
   * `snorky` has a service `datasync`; `model` is what the rows are called there; `fetchList`
   * returns a promise of the rows and the token.
   */
  constructor(snorky, model, fetchList) {
    this.#snorky = snorky;
    this.#fetchList = fetchList;
    const { ArrayCollection, CollectionDeltaProcessor } = Snorky.DataSync;
    const processor = new CollectionDeltaProcessor({ [model]: new ArrayCollection(this.items) });
    const { datasync } = snorky.services;

    datasync.deltaReceived.add((delta) => {
      processor.processDelta(delta);
      this.changed.dispatch();
    });
    snorky.disconnected.add(() => {
      this.isLive = false;
      this.changed.dispatch();
    });
    // The connection is back, the subscription is not: it ended with the old connection.
    datasync.resyncNeeded.add(() => this.refresh());
    // Whatever we were waiting for, now is the time to try.
    snorky.connected.add(() => this.#hurry());
  }

  /** "connecting", "live", "reconnecting", or "offline": neither server answers. */
  get status() {
    if (this.isLive) return "live";
    if (this.problem instanceof NoAnswer && !this.#snorky.isConnected) return "offline";
    return this.#wasLive ? "reconnecting" : "connecting";
  }

  /** Fetch the list now, unless it is live: then it is up to date. */
  refresh() {
    this.#hurry();
    if (!this.isLive && !this.#isSubscribing) this.#subscribe();
  }

  async #subscribe() {
    this.#isSubscribing = true;
    for (let attempt = 0; !this.isLive; attempt++) {
      const hurried = new Promise((resolve) => {
        this.#hurry = resolve;
      });
      try {
        await this.#trySubscribe();
        this.problem = null;
      } catch (error) {
        this.problem = error;
      }
      this.changed.dispatch();
      if (!this.isLive) await Promise.race([hurried, delay(attempt)]);
    }
    this.#isSubscribing = false;
  }

  async #trySubscribe() {
    const { rows, token } = await this.#fetchList();
    this.items.splice(0, this.items.length, ...rows);
    this.isLoaded = true;
    this.changed.dispatch();
    if (!token) throw new Error("Snorky does not answer: this list may be out of date.");

    // What has changed since the fetch arrives before the answer. If the token has died, since
    // Snorky was restarted after it gave it out, this throws.
    await this.#snorky.services.datasync.acquireSubscription({ token });
    this.isLive = this.#wasLive = true;
  }
}

/** Resolves later after each failure, and not at the same time in all pages. */
function delay(attempt) {
  const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return new Promise((resolve) => setTimeout(resolve, longest * (0.5 + Math.random() / 2)));
}
