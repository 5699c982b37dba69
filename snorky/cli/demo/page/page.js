/* The list, and the picture of what happens on the wire. */

const element = (id) => document.getElementById(id);
const inFrame = new URLSearchParams(location.search).has("frame");
const me = Math.random().toString(36).slice(2, 12);

// The list: it follows the database.

/** Draws what is said to Snorky about the list, and what Snorky says. */
class DataSync extends Snorky.DataSync {
  init() {
    this.packetReceived.add((message) => {
      if (message.type === "changes") drawChanges(message);
      if (message.type === "response" && Array.isArray(message.data)) {
        drawLater({ from: "snorky", to: "me", text: "from now on, every change", detail: message.data });
      }
    });
  }

  sendMessage(message) {
    drawLater({ from: "me", to: "snorky", text: message.command, detail: message.params });
    return super.sendMessage(message);
  }
}

const socketAddress = new URL("ws", location.href);
socketAddress.protocol = location.protocol.replace("http", "ws");
socketAddress.search = "";
const snorky = new Snorky(
  WebSocket,
  socketAddress.href,
  { datasync: DataSync, wire: Snorky.PubSub },
  { transports: ["websocket", "sse", "polling"] },
);
const { datasync, wire } = snorky.services;
let list;

function open() {
  list = datasync.live({
    fetch: (request) => {
      answerDrawn = new Promise((resolve) => (answerIsDrawn = resolve));
      return fetch("api/items", { ...request, headers: { ...request.headers, "X-Window": me } });
    },
    order: "id",
  });
  list.changed.add(() => {
    show();
    showStatus();
  });
}

// The picture comes by another way than the answer of the web application, and may be later.
let answerIsDrawn = () => {};
let answerDrawn = Promise.resolve();

function drawLater(step) {
  answerDrawn.then(() => draw(step));
}

function drawChanges({ changes }) {
  const step = { from: "snorky", text: "changes", detail: changes };
  draw({ ...step, to: "me" });
  if (windows > 1) draw({ ...step, to: "others" });
}

async function change(method, address, body) {
  element("notice").textContent = "";
  const answer = await fetch(address, {
    method,
    headers: { "X-Window": me },
    body: body && JSON.stringify(body),
  });
  if (answer.ok) return;
  const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
  element("notice").textContent = error;
  throw new Error(error);
}

const rows = new Map();

function show() {
  const { items } = list;
  const place = element("items");
  for (const [id, row] of rows) {
    if (!items.some((item) => item.id === id)) {
      row.remove();
      rows.delete(id);
    }
  }
  items.forEach((item, position) => {
    const row = rows.get(item.id) ?? newRow(item);
    row.querySelector("input").checked = item.done;
    row.querySelector("label").classList.toggle("done", item.done);
    rows.set(item.id, row);
    // What is in its place stays there: a row that is put in again is shown as new.
    if (place.children[position] !== row) place.insertBefore(row, place.children[position] ?? null);
  });
  element("empty").hidden = items.length > 0;
}

function newRow({ id, title }) {
  const row = document.createElement("li");
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  const remove = Object.assign(document.createElement("button"), { textContent: "×", type: "button" });
  remove.setAttribute("aria-label", `Delete ${title}`);
  label.append(box, title);
  row.append(label, remove);
  // The box shows what the database says: until the change is back, what it said before.
  box.onclick = () => {
    const done = box.checked;
    box.checked = !done;
    change("PATCH", `api/items/${id}`, { done }).catch(() => {});
  };
  remove.onclick = () => change("DELETE", `api/items/${id}`).catch(() => {});
  return row;
}

element("add").onsubmit = (event) => {
  event.preventDefault();
  const form = event.target;
  change("POST", "api/items", { title: form.title.value }).then(() => form.reset(), () => {});
};

// The picture: one row for each step.

const LANES = ["me", "others", "app", "database", "snorky"];
const MOST_STEPS = 200;
let windows = 1;

wire.messagePublished.add(({ channel, message }) => {
  if (channel === "windows") {
    windows = message;
    return;
  }
  const mine = message.window === me;
  const lane = (name) => (name === "window" ? (mine ? "me" : "others") : name);
  if (message.from === "window") caption(message, mine);
  const step = { ...message, from: lane(message.from), to: lane(message.to), mine };
  draw(message.to === "database" ? { ...step, text: inShort(message.text), detail: message.text } : step);
  if (step.to === "me") answerIsDrawn();
});

/** The part of an SQL statement that has room in the picture. */
function inShort(statement) {
  return statement.match(/^(INSERT INTO|DELETE FROM|UPDATE) \w+|^\w+/)?.[0] ?? statement;
}

function caption({ text }, mine) {
  const who = mine ? "This window" : "Another window";
  const what = { GET: "wants the list", POST: "adds an item", PATCH: "ticks an item", DELETE: "deletes an item" };
  say(`${who} ${what[text.split(" ")[0]]}`);
}

function say(text) {
  const row = document.createElement("li");
  row.className = "caption";
  row.append(Object.assign(document.createElement("span"), { textContent: text }));
  append(row);
}

function draw({ from, to, text, detail = null, mine = true }) {
  const [start, end] = [LANES.indexOf(from), LANES.indexOf(to)];
  const row = document.createElement("li");
  const step = document.createElement(detail === null ? "div" : "button");
  step.className = `step ${end > start ? "to-right" : "to-left"} `;
  step.className += mine && from !== "others" && to !== "others" ? "mine" : "others";
  // Each lane is two columns; its lifeline is between them.
  step.style.gridColumn = `${2 * Math.min(start, end) + 2} / ${2 * Math.max(start, end) + 2}`;
  step.append(Object.assign(document.createElement("span"), { textContent: text }));
  row.append(step);
  if (detail !== null) {
    step.onclick = () => {
      const shown = row.querySelector("pre");
      if (shown) return shown.remove();
      const pre = document.createElement("pre");
      pre.textContent = typeof detail === "string" ? detail : JSON.stringify(detail, null, 2);
      row.append(pre);
    };
  }
  append(row);
}

function append(row) {
  const steps = element("steps");
  const atEnd = steps.scrollHeight - steps.scrollTop - steps.clientHeight < 80;
  steps.append(row);
  while (steps.childElementCount > MOST_STEPS) steps.firstElementChild.remove();
  if (atEnd) steps.scrollTop = steps.scrollHeight;
}

element("clear").onclick = () => element("steps").replaceChildren();

// The connection.

let cut = false;

const STATUS_TEXTS = {
  loading: "Connecting…",
  "catching-up": "Catching up…",
  live: "Live",
  reconnecting: "Connecting again…",
};

function showStatus() {
  const { status } = list;
  element("status").textContent = cut ? "Cut off" : STATUS_TEXTS[status];
  element("status").className = status === "live" ? "live" : "cut";
  document.body.classList.toggle("away", status !== "live");
}

snorky.connected.add(() => say("Connected to Snorky"));
snorky.disconnected.add(() => say("The connection is gone: nothing is seen"));
element("cut").onclick = () => {
  cut = !cut;
  element("cut").textContent = cut ? "Connect again" : "Cut the connection";
  if (cut) snorky.disconnect();
  else snorky.connect();
};

// The picture first, so that it shows how the list comes.
Promise.all([wire.subscribe({ channel: "steps" }), wire.subscribe({ channel: "windows" })])
  .then(open)
  .catch((error) => {
    element("notice").textContent = error.message;
  });

document.body.classList.toggle("frame", inFrame);
if (!inFrame) {
  const frame = document.createElement("iframe");
  frame.src = "./?frame";
  frame.title = "The same list in another window";
  element("second").append(frame);
}
