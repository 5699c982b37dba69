import { DataSync, Snorky } from "snorky";

// Kept beside the modules, not in them: a bundler that loads this file again in a window that is
// open (hot reload) finds the connection and the lists of before.
const kept = (globalThis.snorkyOfThisPage ??= { lists: new Map() });

function datasync() {
  kept.snorky ??= new Snorky(WebSocket, kept.address, { datasync: DataSync });
  return kept.snorky.services.datasync;
}

/** Where Snorky is. Called once, in the browser: on a server nothing is to be connected. */
export function connectTo(address) {
  kept.address = address;
}

/** The list at this URL, the same one for all who ask. `state`: what the server rendered. */
export function liveList(url, state) {
  if (!kept.lists.has(url)) {
    let first = state?.token && new Response(JSON.stringify(state.rows), {
      headers: { "X-Subscription-Token": state.token },
    });
    const ask = (request) => {
      const answer = first;
      first = undefined;
      return answer ? Promise.resolve(answer) : fetch(url, request);
    };
    kept.lists.set(url, datasync().live({ fetch: ask, order: "title" }));
  }
  return kept.lists.get(url);
}
