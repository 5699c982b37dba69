/**
 * The panel that tells how Snorky finds who is told of a change: asked for the newest one, while open.
 */

import { datasync, matching } from "./tickets.js";

const PAUSE_MS = 500; // between two questions

const element = (id) => document.getElementById(id);

export function watchMatching() {
  let newest;
  let isAsking = false;

  async function ask() {
    if (isAsking || !newest || !element("explain").open) return;
    isAsking = true;
    const row = newest;
    try {
      show(row, await matching.explain({ row }));
    } catch {
      // Without a connection nothing changes either.
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    isAsking = false;
    if (row !== newest) ask();
  }

  datasync.notificationReceived.add(({ type, changes }) => {
    const rows = type === "changes" ? changes.map(({ data }) => data).filter(Boolean) : [];
    newest = rows.at(-1) ?? newest;
    ask();
  });
  element("explain").addEventListener("toggle", ask);
}

function show({ id }, { filters, candidates, hits, facts, microseconds }) {
  const texts = {
    ticket: `#${id}`,
    filters,
    candidates,
    hits,
    facts:
      Object.entries(facts)
        .map(([field, value]) => `${field} ${value}`)
        .join(", ") || "nothing",
    time: `${microseconds} µs`,
  };
  for (const [name, text] of Object.entries(texts)) element(`explain-${name}`).textContent = text;
}

/** By what a change would find the user's filter. */
export async function explainFilter(filter) {
  const places = await matching.places({ query: filter }).catch(() => []);
  let text = `Your filter is found by ${places?.join(", or ")}.`;
  if (!places) text = "Nothing in your filter can be looked up: it is checked for every change.";
  else if (!places.length) text = "No ticket matches your filter.";
  element("explain-filter").textContent = text;
}
