// Lists with windows, in the client as it is built: what the test says on standard input is done,
// and all that they show is told on standard output. Rows are asked for there, too.
import { createInterface } from "node:readline";
import WebSocket from "../../client/node_modules/ws/wrapper.mjs";
import { DataSync, Snorky } from "../../snorky/static/snorky.mjs";

const [url, listsAsJson] = process.argv.slice(2);
const tell = (message) => process.stdout.write(JSON.stringify(message) + "\n");

// What servers spread over thousands of pages is waited for here by three.
const { random } = Math;
Math.random = () => random() / 3;

const snorky = new Snorky(
  WebSocket,
  url,
  { datasync: DataSync },
  { minReconnectDelay: 0.05, maxReconnectDelay: 0.4 },
);
const asked = new Map();
let questions = 0;

const all = JSON.parse(listsAsJson).map(({ order, window }, number) => {
  const each = { size: window, answers: 0 };
  each.list = snorky.services.datasync.live({
    order,
    window,
    fetch: ({ limit, signal }) =>
      new Promise((resolve, reject) => {
        const question = ++questions;
        asked.set(question, ({ rows, token }) => {
          each.answers++;
          const headers = token ? { "X-Subscription-Token": token } : {};
          resolve(
            rows
              ? new Response(JSON.stringify(rows), { headers })
              : new Response("", { status: 503 }),
          );
        });
        signal.addEventListener("abort", () => {
          asked.delete(question);
          reject(new Error("aborted"));
        });
        tell({ question, list: number, limit });
      }),
  });
  each.list.changed.add(({ items, status, hasMore }) =>
    tell({ list: number, items, status, hasMore, size: each.size, answers: each.answers }),
  );
  each.window = window;
  return each;
});

/** Its connection, while there is one. */
const open = () => (snorky.socket?.readyState === WebSocket.OPEN ? snorky.socket : undefined);

const actions = {
  answer({ question, ...answer }) {
    asked.get(question)?.(answer);
    asked.delete(question);
  },
  more({ list }) {
    all[list].size += all[list].window;
    all[list].list.more().then(() => tell({ widened: list }));
  },
  refetch: ({ list }) => void all[list].list.refetch(),
  drop: () => open()?.terminate(),
  stall: () => open()?.pause(),
  go: () => open()?.resume(),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...rest } = JSON.parse(line);
  actions[action](rest);
}
process.exit(0);
