/**
 * The lists, live, and what is done with a ticket. Knows nothing of how they are drawn.
 */

const SLOW_SECONDS = 2;

/** The service of live.py that tells how filters are found. */
const Matching = Snorky.Class(Snorky.RPCService, {});
Matching.addRPCMethods(["explain", "places"]);

const port = document.querySelector("meta[name=snorky-port]").content;
export const snorky = new Snorky(
  WebSocket,
  `ws://${location.hostname}:${port}/ws`,
  { datasync: Snorky.DataSync, matching: Matching },
  { maxReconnectDelay: 5 },
);
export const { datasync, matching } = snorky.services;

/** The newest of each: they are told each ticket that changes. */
export const lists = Object.fromEntries(
  ["urgent", "open", "doing", "done"].map((name) => [
    name,
    datasync.live({ url: `/api/lists/${name}/`, order: ["-changed", "-id"], window: 20 }),
  ]),
);

/** The newest tickets that a filter lets through; `lists.found` while they are shown. */
export function find(filter) {
  forgetFound();
  const query = encodeURIComponent(JSON.stringify(filter));
  const url = `/api/lists/all/?filter=${query}`;
  lists.found = datasync.live({ url, order: ["-changed", "-id"], window: 50 });
  return lists.found;
}

/** They are shown no longer. */
export function forgetFound() {
  const { found } = lists;
  delete lists.found; // first: it tells that it ends
  found?.close();
}

/** Counts and averages, by list: they are asked for again when a ticket has changed. */
export const summary = datasync.live({ url: "/api/summary/", key: "list" });

/** A page of all tickets, as the web application's paginator cuts it: asked for again, too. */
export function openPage(number, onCount) {
  const rows = ({ count, results }) => {
    onCount(count);
    return results;
  };
  return datasync.live({ url: `/api/tickets/?page=${number}`, rows });
}

export const settings = { isSlow: false };

/** Tickets whose change is under way: id -> how many. */
export const underWay = new Map();

/** Show the change at once, wherever the ticket is shown, and send it. */
export async function change(id, fields) {
  const answer = send("PATCH", `${id}/`, fields);
  underWay.set(id, (underWay.get(id) ?? 0) + 1);
  const shownIn = Object.values(lists).filter(({ items }) => items.some((each) => each.id === id));
  await Promise.all(shownIn.map((list) => list.mutate({ id, ...fields }, answer)));
  underWay.set(id, underWay.get(id) - 1);
  await answer; // if it was refused, this throws why
}

/** Resolves when the lists show what this transaction did. */
export async function moveSome(count) {
  const response = await send("POST", "move/", { count });
  const keys = response.headers.get("X-Snorky-Keys");
  await Promise.all(Object.values(lists).map((list) => list.seen(keys)));
}

async function send(method, path, data) {
  const headers = { "Content-Type": "application/json" };
  if (settings.isSlow) headers["X-Slow"] = SLOW_SECONDS;
  const response = await fetch(`/api/tickets/${path}`, {
    method,
    headers,
    body: JSON.stringify(data),
  });
  if (response.ok) return response;
  // Django REST Framework says what is wrong as {field: [texts]}.
  const reasons = await response.json().catch(() => [`The server failed: ${response.status}`]);
  throw new Error(Object.values(reasons).flat().join(" "));
}
