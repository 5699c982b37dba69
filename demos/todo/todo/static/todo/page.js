/**
 * The page: shows the live list and sends what the user does to the web application.
 *
 * Nothing changes here before it has changed on the server: an action is answered by its change
 * arriving, in this window as in all others.
 */

import { addTodo, changeAll, deleteCompleted, fetchTodos, NoAnswer } from "./api.js";
import { LiveList } from "./live.js";
import { Row } from "./row.js";

const FILTERS = {
  "#/": { accepts: () => true, empty: "Nothing to do." },
  "#/active": { accepts: (todo) => !todo.completed, empty: "Nothing left to do." },
  "#/completed": { accepts: (todo) => todo.completed, empty: "Nothing completed yet." },
};
const STATUS_TEXTS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
};

const element = (id) => document.getElementById(id);

const port = document.querySelector("meta[name=snorky-port]").content;
const snorky = new Snorky(
  WebSocket,
  `ws://${location.hostname}:${port}/ws`,
  { datasync: Snorky.DataSync },
  { maxReconnectDelay: 5 },
);
const list = new LiveList(snorky, "Todo", fetchTodos);
const rows = new Map(); // id -> Row, of all todos

function render() {
  const filter = FILTERS[location.hash] ?? FILTERS["#/"];
  const todos = list.items.toSorted((a, b) => a.id - b.id);
  const open = todos.filter((todo) => !todo.completed).length;

  renderRows(todos, filter);
  element("count").textContent = `${open} ${open === 1 ? "todo" : "todos"} left`;
  element("clear").hidden = open === todos.length;
  element("all").disabled = todos.length === 0;
  element("all").checked = todos.length > 0 && open === 0;
  element("all").indeterminate = open > 0 && open < todos.length;
  for (const link of document.querySelectorAll("nav a")) {
    if (FILTERS[link.hash] === filter) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

function renderRows(todos, filter) {
  const shown = todos.filter(filter.accepts);
  const ul = element("todos");
  const isFirstTime = ul.ariaBusy === "true";
  ul.ariaBusy = "false";
  element("empty").hidden = shown.length > 0;
  element("empty").textContent = filter.empty;

  const ids = new Set(todos.map((todo) => todo.id));
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  for (const todo of todos) {
    const row = rows.get(todo.id);
    if (row) {
      row.show(todo);
    } else {
      rows.set(todo.id, new Row(todo, attempt));
      if (!isFirstTime) rows.get(todo.id).flash();
    }
  }

  // Rows that stay are not touched, so that they keep focus and what is being typed.
  const elements = shown.map((todo) => rows.get(todo.id).element);
  for (const child of [...ul.children]) if (!elements.includes(child)) removeRow(child);
  elements.forEach((child, index) => {
    if (ul.children[index] !== child) ul.insertBefore(child, ul.children[index] ?? null);
  });
}

function removeRow(child) {
  const neighbour = child.nextElementSibling ?? child.previousElementSibling;
  const hadFocus = child.contains(document.activeElement);
  child.remove();
  if (hadFocus) (neighbour?.querySelector("[name=delete]") ?? element("title")).focus();
}

function renderStatus() {
  const { status, problem } = list;
  element("status").dataset.status = status;
  element("status").textContent = STATUS_TEXTS[status];
  showNotice("problem", problem && `${problem.message} Trying again…`);
}

function showNotice(id, text) {
  const notice = element(id);
  notice.hidden = !text;
  const paragraph = notice.querySelector("p");
  if (paragraph.textContent !== text) paragraph.textContent = text; // read aloud when it changes
}

let previousAttempt = Promise.resolve();

/**
 * Run a call of the API and show its error. Resolves with whether it succeeded. Calls go one after
 * the other, so that what was typed first is first in the list.
 */
function attempt(call) {
  previousAttempt = previousAttempt.then(async () => {
    try {
      await call();
    } catch (error) {
      showNotice("error", `Not saved. ${error.message}`);
      if (error instanceof NoAnswer) list.refresh(); // which says whether it can be read from
      return false;
    }
    showNotice("error", "");
    list.refresh(); // without a connection to Snorky the change does not come by itself
    return true;
  });
  return previousAttempt;
}

element("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = element("title");
  const title = field.value.trim();
  if (!title) return;
  field.value = "";
  const added = await attempt(() => addTodo(title));
  if (!added && !field.value) field.value = title;
});
element("all").addEventListener("click", (event) => {
  event.preventDefault(); // checked is what the server has
  const completed = list.items.some((todo) => !todo.completed);
  attempt(() => changeAll(completed));
});
element("clear").addEventListener("click", () => attempt(deleteCompleted));
element("problem").querySelector("button").addEventListener("click", () => list.refresh());
element("error").querySelector("button").addEventListener("click", () => showNotice("error", ""));
addEventListener("hashchange", render);

let isRenderPlanned = false;
list.changed.add(() => {
  renderStatus();
  if (isRenderPlanned || !list.isLoaded) return;
  isRenderPlanned = true; // many changes may come at once
  requestAnimationFrame(() => {
    isRenderPlanned = false;
    render();
  });
});
list.refresh();
