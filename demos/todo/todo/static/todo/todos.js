/**
 * What the pages have in common beside their looks: the list, live, and what is done with it. Knows
 * nothing of how it is drawn.
 *
 * What the user does is shown at once, and taken back where the server refuses it.
 */

import * as api from "./api.js";
import { LiveList } from "./live.js";

export const FILTERS = [
  { name: "All", address: "#/", accepts: () => true, empty: "Nothing to do." },
  {
    name: "Active",
    address: "#/active",
    accepts: (todo) => !todo.completed,
    empty: "Nothing left to do.",
  },
  {
    name: "Completed",
    address: "#/completed",
    accepts: (todo) => todo.completed,
    empty: "Nothing completed yet.",
  },
];

export const STATUS_TEXTS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
};

/** What is on the page while its address ends in `hash`. */
export function view(todos, hash) {
  const filter = FILTERS.find(({ address }) => address === hash) ?? FILTERS[0];
  const open = todos.filter((todo) => !todo.completed).length;
  return {
    filter,
    rows: todos.filter(filter.accepts),
    left: `${open} ${open === 1 ? "todo" : "todos"} left`,
    isEmpty: todos.length === 0,
    areSomeCompleted: open < todos.length,
    areAllCompleted: open === 0 && todos.length > 0,
  };
}

class TodoList extends LiveList {
  /** Why what the user did last has failed; "" if it did not. `changed` tells of it too. */
  error = "";

  #previous = Promise.resolve();

  // Each resolves with whether it succeeded.
  // While the list is live a new todo comes with its id as soon as it is saved, and nobody can edit
  // a row that has none yet.
  add = (title) =>
    this.#attempt(this.status === "live" ? [] : [{ title, completed: false }], () =>
      api.addTodo(title),
    );
  change = (id, fields) => this.#attempt([{ id, ...fields }], () => api.changeTodo(id, fields));
  delete = (id) => this.#attempt([{ id }], () => api.deleteTodo(id), { remove: true });
  changeAll = (completed) =>
    this.#attempt(
      this.items.map(({ id }) => ({ id, completed })),
      () => api.changeAll(completed),
    );
  deleteCompleted = () =>
    this.#attempt(
      this.items.filter(({ completed }) => completed),
      api.deleteCompleted,
      { remove: true },
    );

  setError(text) {
    this.error = text;
    this.changed.dispatch();
  }

  /** Calls go one after the other, so that what was typed first is first in the list. */
  #attempt(changes, call, options) {
    const answer = this.#previous.then(call);
    this.show(changes, answer, options);
    this.#previous = answer.then(
      () => {
        this.setError("");
        return true;
      },
      (error) => {
        this.setError(`Not saved. ${error.message}`);
        if (error instanceof api.NoAnswer) this.refresh(); // which says whether it can be read from
        return false;
      },
    );
    return this.#previous;
  }
}

const port = document.querySelector("meta[name=snorky-port]").content;
const snorky = new Snorky(
  WebSocket,
  `ws://${location.hostname}:${port}/ws`,
  { datasync: Snorky.DataSync },
  { maxReconnectDelay: 5 },
);

export const list = new TodoList(snorky, api.fetchTodos, { order: "id" });
