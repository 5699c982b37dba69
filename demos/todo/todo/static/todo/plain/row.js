/**
 * One todo on the page: shows it, and hands on what the user does with it.
 */

import { list } from "../todos.js";

const template = document.getElementById("row").content.firstElementChild;

export class Row {
  element = document.importNode(template, true);
  todo;

  #checkbox = this.element.querySelector("[name=completed]");
  #title = this.element.querySelector(".title");
  #field = this.element.querySelector("[name=title]");
  #editButton = this.element.querySelector("[name=edit]");
  #isSaving = false;

  constructor(todo) {
    this.element.dataset.id = todo.id;
    this.#title.id = `todo-${todo.id}`;
    this.#checkbox.setAttribute("aria-labelledby", this.#title.id);
    this.show(todo);

    this.#checkbox.addEventListener("click", (event) => {
      event.preventDefault(); // checked is what the list says
      const { id, completed } = this.todo;
      list.change(id, { completed: !completed });
    });
    this.element.querySelector("[name=delete]").addEventListener("click", () => {
      list.delete(this.todo.id);
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
    this.todo = todo;
    this.#title.textContent = todo.title;
    this.#checkbox.checked = todo.completed;
    this.element.classList.toggle("completed", todo.completed);
  }

  #edit() {
    this.#showField(true);
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
      title === this.todo.title || (await (title ? list.change(id, { title }) : list.delete(id)));
    this.#isSaving = false;
    if (saved) this.#close();
  }

  #close() {
    const hadFocus = document.activeElement === this.#field;
    this.#showField(false);
    if (hadFocus) this.#editButton.focus();
  }

  #showField(isShown) {
    this.#field.hidden = !isShown;
    this.#title.hidden = this.#editButton.hidden = isShown;
  }
}
