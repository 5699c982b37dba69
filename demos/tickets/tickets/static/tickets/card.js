/**
 * One ticket in one list: shows it, and hands on what the user does with it.
 */

import { latencyOf } from "./latency.js";
import { change, underWay } from "./tickets.js";

const URGENT = 3;
const NEXT = {
  open: { status: "doing", name: "Start" },
  doing: { status: "done", name: "Finish" },
  done: { status: "open", name: "Reopen" },
};

const template = document.getElementById("ticket").content.firstElementChild;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Card {
  element = document.importNode(template, true);
  #ticket;
  #part = (name) => this.element.querySelector(`.${name}`);

  /** `onSettled` is called when a change is no longer under way, with the Error if it was refused. */
  constructor(onSettled) {
    const title = this.#part("title");
    const apply = (fields) =>
      change(this.#ticket.id, fields).then(() => onSettled(null), onSettled);
    title.addEventListener("change", () => apply({ title: title.value.trim() }));
    title.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") title.value = this.#ticket.title;
      if (key === "Escape" || key === "Enter") title.blur();
    });
    this.#part("urgent").onclick = () =>
      apply({ priority: this.#ticket.priority === URGENT ? 1 : URGENT });
    this.#part("next").onclick = () => apply({ status: NEXT[this.#ticket.status].status });
  }

  show(ticket) {
    const ms = latencyOf(ticket);
    const title = this.#part("title");
    if (title !== document.activeElement) title.value = ticket.title;
    this.#part("number").textContent = `#${ticket.id} · ${ticket.hours} h`;
    this.#part("latency").textContent = ms === undefined ? "" : `${ms} ms`;
    this.#part("urgent").ariaPressed = ticket.priority === URGENT;
    this.#part("next").textContent = NEXT[ticket.status].name;
    this.element.ariaBusy = underWay.get(ticket.id) > 0;
    const isNews = ticket.changed !== this.#ticket?.changed && ms !== undefined;
    if (isNews && !calm.matches) {
      this.element.animate({ backgroundColor: ["var(--mine)", "transparent"] }, 1500);
    }
    this.#ticket = ticket;
  }
}
