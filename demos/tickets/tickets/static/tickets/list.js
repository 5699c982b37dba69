/**
 * One of the lists on the board: its tickets, how many there are in all, and for more of them.
 */

import { Card } from "./card.js";
import { lists, summary } from "./tickets.js";

const template = document.getElementById("list").content.firstElementChild;

/** Returns the element, and what draws it anew. `onSettled` is that of its cards. */
export function createList(name, onSettled) {
  const element = document.importNode(template, true);
  const part = (selector) => element.querySelector(selector);
  const list = lists[name];
  const cards = new Map(); // id -> Card
  part("h2").textContent = name[0].toUpperCase() + name.slice(1);
  element.id = name;
  part(".more").onclick = () => list.more();

  function draw() {
    const numbers = summary.items.find((each) => each.list === name);
    if (numbers) {
      const hours = numbers.hours?.toFixed(2) ?? "0";
      part(".summary").textContent = `${numbers.count.toLocaleString("en")} · ⌀ ${hours} h`;
    }
    part(".more").hidden = !list.hasMore;
    const ids = new Set(list.items.map(({ id }) => id));
    for (const id of cards.keys()) if (!ids.has(id)) cards.delete(id);
    const elements = list.items.map((ticket) => {
      if (!cards.has(ticket.id)) cards.set(ticket.id, new Card(onSettled));
      const card = cards.get(ticket.id);
      card.show(ticket);
      return card.element;
    });
    arrange(part("ul"), elements);
  }
  return { element, draw };
}

/** Make `elements` the children, and move only those that must: others keep focus and scrolling. */
export function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    const there = parent.children[index];
    if (there !== element) parent.insertBefore(element, there ?? null);
  });
}
