/**
 * What the pages have in common beside their looks: the list, live, and what is done with it. Knows
 * nothing of how it is drawn.
 *
 * Nothing changes here before it has changed on the server: an action is answered by its change
 * arriving, in this window as in all others.
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
    rows: todos.filter(filter.accepts).sort((a, b) => a.id - b.id),
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
  add = (title) => this.#attempt(() => api.addTodo(title));
  change = (id, changes) => this.#attempt(() => api.changeTodo(id, changes));
  delete = (id) => this.#attempt(() => api.deleteTodo(id));
  changeAll = (completed) => this.#attempt(() => api.changeAll(completed));
  deleteCompleted = () => this.#attempt(api.deleteCompleted);

  setError(text) {
    this.error = text;
    this.changed.dispatch();
  }

  /** Calls go one after the other, so that what was typed first is first in the list. */
  #attempt(call) {
    this.#previous = this.#previous.then(async () => {
      try {
        await call();
      } catch (error) {
        this.setError(`Not saved. ${error.message}`);
        if (error instanceof api.NoAnswer) this.refresh(); // which says whether it can be read from
        return false;
      }
      this.setError("");
      this.refresh(); // without a connection to Snorky the change does not come by itself
      return true;
    });
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

export const list = new TodoList(snorky, "Todo", api.fetchTodos);
