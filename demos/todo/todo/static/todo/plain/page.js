/**
 * The page without a framework: shows the list and hands on what the user does.
 */

import { flashChanges, passFocusOn } from "../rows.js";
import { list, STATUS_TEXTS, view } from "../todos.js";
import { Row } from "./row.js";

const element = (id) => document.getElementById(id);
const rows = new Map(); // id -> Row, of all todos

function render() {
  const shown = view(list.items, location.hash);
  element("count").textContent = shown.left;
  element("clear").hidden = !shown.areSomeCompleted;
  element("all").disabled = shown.isEmpty;
  element("all").checked = shown.areAllCompleted;
  element("all").indeterminate = shown.areSomeCompleted && !shown.areAllCompleted;
  element("empty").hidden = shown.rows.length > 0;
  element("empty").textContent = shown.filter.empty;
  for (const link of document.querySelectorAll("footer a")) {
    if (link.hash === shown.filter.address) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  renderRows(shown.rows);
}

function renderRows(shown) {
  const ids = new Set(list.items.map((todo) => todo.id));
  for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
  for (const todo of list.items) {
    if (rows.has(todo.id)) rows.get(todo.id).show(todo);
    else rows.set(todo.id, new Row(todo));
  }

  // Rows that stay are not touched, so that they keep focus and what is being typed.
  const ul = element("todos");
  const elements = shown.map((todo) => rows.get(todo.id).element);
  for (const child of [...ul.children]) {
    if (elements.includes(child)) continue;
    passFocusOn(child);
    child.remove();
  }
  elements.forEach((child, index) => {
    if (ul.children[index] !== child) ul.insertBefore(child, ul.children[index] ?? null);
  });
  ul.ariaBusy = "false";
  flashChanges(ul, list.items);
}

function renderStatus() {
  const { error, problem, status } = list;
  element("status").dataset.status = status;
  element("status").textContent = STATUS_TEXTS[status];
  showNotice("problem", problem && `${problem.message} Trying again…`);
  showNotice("error", error);
}

function showNotice(id, text) {
  const notice = element(id);
  notice.hidden = !text;
  const paragraph = notice.querySelector("p");
  if (paragraph.textContent !== text) paragraph.textContent = text; // read aloud when it changes
}

element("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = element("title");
  const title = field.value.trim();
  if (!title) return;
  field.value = "";
  const added = await list.add(title);
  if (!added && !field.value) field.value = title;
});
element("all").addEventListener("click", (event) => {
  event.preventDefault(); // checked is what the list says
  list.changeAll(!view(list.items, "").areAllCompleted);
});
element("clear").addEventListener("click", list.deleteCompleted);
const button = (id) => element(id).querySelector("button");
button("problem").addEventListener("click", () => list.refresh());
button("error").addEventListener("click", () => list.setError(""));
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
