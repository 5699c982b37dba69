// The pages, rendered: node server.mjs, its bundle. What is no page goes to the web application.
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { renderToString } from "react-dom/server";

import { Tasks } from "./Tasks.jsx";

const SITE = new URL(process.env.SITE ?? "http://127.0.0.1:8000");

const page = (html, state) => `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Tasks</title>
<link rel="icon" href="data:,">
<div id="root">${html}</div>
<script id="state" type="application/json">${JSON.stringify(state).replaceAll("<", "\\u003c")}</script>
<script type="module" src="/main.js"></script>
`;

async function tasks({ headers }, response) {
  // As the visitor, and with a subscription: the token is for what happens after these rows.
  const answer = await fetch(new URL("/api/tasks/?done=false", SITE), {
    headers: { Cookie: headers.cookie ?? "", "X-Snorky": "Subscribe" },
  });
  if (!answer.ok) return response.writeHead(answer.status).end();
  const rows = await answer.json();
  const state = { rows, token: answer.headers.get("X-Subscription-Token") };
  response.writeHead(200, {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store, private", // it has the visitor's rows, and a token
  });
  response.end(page(renderToString(<Tasks first={rows} />), state));
}

function pass(incoming, response) {
  const { method, headers } = incoming;
  const { hostname, port } = SITE;
  const outgoing = request({ hostname, port, path: incoming.url, method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  outgoing.on("error", () => response.writeHead(502).end());
  incoming.pipe(outgoing);
}

createServer(async (incoming, response) => {
  if (incoming.url === "/") return tasks(incoming, response);
  if (incoming.url !== "/main.js") return pass(incoming, response);
  response.writeHead(200, { "Content-Type": "text/javascript" });
  response.end(await readFile(new URL("main.js", import.meta.url)));
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
