/**
 * One todo on the page: shows it, and turns what the user does with it into calls of the API.
 */

import { changeTodo, deleteTodo } from "./api.js";

const template = document.getElementById("row").content.firstElementChild;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Row {
  element = document.importNode(template, true);
  todo;

  #checkbox = this.element.querySelector("[name=completed]");
  #title = this.element.querySelector(".title");
  #field = this.element.querySelector("[name=title]");
  #editButton = this.element.querySelector("[name=edit]");
  #attempt;
  #isSaving = false;

  /** `attempt` runs a call of the API, shows its error, and returns whether it succeeded. */
  constructor(todo, attempt) {
    this.#attempt = attempt;
    this.#title.id = `todo-${todo.id}`;
    this.#checkbox.setAttribute("aria-labelledby", this.#title.id);
    this.show(todo);

    this.#checkbox.addEventListener("click", (event) => {
      event.preventDefault(); // checked is what the server has
      const { id, completed } = this.todo;
      attempt(() => changeTodo(id, { completed: !completed }));
    });
    this.element.querySelector("[name=delete]").addEventListener("click", () => {
      attempt(() => deleteTodo(this.todo.id));
    });
    this.#title.addEventListener("dblclick", () => this.#edit());
    this.#editButton.addEventListener("click", () => this.#edit());
    this.#field.addEventListener("blur", () => this.#save());
    this.#field.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // Enter and Escape belong to the input method
      if (event.key === "Enter") this.#save();
      if (event.key === "Escape") this.#close();
    });
  }

  show(todo) {
    const before = this.todo;
    this.todo = todo;
    this.#title.textContent = todo.title;
    this.#checkbox.checked = todo.completed;
    this.element.classList.toggle("completed", todo.completed);
    if (before && (before.title !== todo.title || before.completed !== todo.completed)) this.flash();
  }

  /** Draw the eye to a change, which may come from another window. */
  flash() {
    if (calm.matches) return;
    this.element.animate({ backgroundColor: ["var(--flash)", "transparent"] }, 1200);
  }

  #edit() {
    this.element.classList.add("editing");
    this.#field.hidden = false;
    this.#field.value = this.todo.title;
    this.#field.select();
    this.#field.focus();
  }

  async #save() {
    if (this.#field.hidden || this.#isSaving) return;
    const title = this.#field.value.trim();
    const { id } = this.todo;
    this.#isSaving = true;
    const saved =
      title === this.todo.title ||
      (await this.#attempt(() => (title ? changeTodo(id, { title }) : deleteTodo(id))));
    this.#isSaving = false;
    if (saved) this.#close();
  }

  #close() {
    const hadFocus = document.activeElement === this.#field;
    this.#field.hidden = true;
    this.element.classList.remove("editing");
    if (hadFocus) this.#editButton.focus();
  }
}
