/**
 * The tickets that a filter of the user's lets through: the newest fifty, and more where one scrolls.
 */

import { Card } from "./card.js";
import { explainFilter } from "./explain.js";
import { arrange } from "./list.js";
import { find, forgetFound, lists } from "./tickets.js";

const element = (id) => document.getElementById(id);

/** Returns what draws it anew. `onChange` is called when that is due, `onSettled` by its cards. */
export function createFound(onChange, onSettled) {
  const place = element("found");
  const end = document.createElement("li");
  end.className = "end";
  let cards = new Map(); // id -> Card

  element("filter").onsubmit = (event) => {
    event.preventDefault();
    show(element("filter").filter.value);
  };
  new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && more(), {
    root: place,
    rootMargin: "200px",
  }).observe(end);

  function show(text) {
    let filter;
    try {
      filter = JSON.parse(text);
    } catch (error) {
      refuse(`This is no JSON: ${error.message}`);
      return;
    }
    element("filter-error").replaceChildren();
    const list = find(filter);
    explainFilter(filter);
    list.changed.add(async () => {
      onChange();
      const response = list.error?.response;
      if (response?.status !== 400 || list !== lists.found) return;
      forgetFound();
      const { filter: texts } = await response.json();
      refuse(texts.join(" "), filter);
    });
  }

  function refuse(text, filter) {
    forgetFound();
    element("filter-error").replaceChildren(text, ...markedAt(text, filter));
    onChange();
  }

  function more() {
    const list = lists.found;
    if (list?.hasMore) list.more().then(onChange);
  }

  function draw() {
    const items = lists.found?.items ?? [];
    const kept = cards;
    cards = new Map(items.map(({ id }) => [id, kept.get(id) ?? new Card(onSettled)]));
    for (const ticket of items) cards.get(ticket.id).show(ticket);
    const elements = [...cards.values()].map((card) => card.element);
    arrange(place, lists.found?.hasMore ? [...elements, end] : elements);
    element("found-count").textContent = lists.found
      ? `${items.length} shown${lists.found.hasMore ? ", more below" : ""}`
      : "\xa0";
  }

  show(element("filter").filter.value);
  return { draw };
}

/** The filter with its faulty part marked, where the text says where that stands: "..., at [1][0]". */
function markedAt(text, filter) {
  const [where] = text.match(/(\[\d+\])+$/) ?? [];
  if (!where) return [];
  const path = where.slice(1, -1).split("][");
  const fault = path.reduce((part, index) => part?.[index], filter);
  if (fault === undefined) return [];
  const copy = structuredClone(filter);
  const holder = path.slice(0, -1).reduce((part, index) => part[index], copy);
  holder[path.at(-1)] = "\0";
  const [before, after] = JSON.stringify(copy).split(JSON.stringify("\0"));
  const code = document.createElement("code");
  const mark = document.createElement("mark");
  mark.textContent = JSON.stringify(fault);
  code.append(before, mark, after);
  return [code];
}
