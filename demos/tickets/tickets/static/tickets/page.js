/**
 * The page: the lists on the board, the pages of all tickets, and things to try.
 */

import "./sql.js";
import { watchLatency } from "./latency.js";
import { watchMatching } from "./explain.js";
import { createFound } from "./found.js";
import { createList } from "./list.js";
import { lists, moveSome, openPage, settings, snorky, summary } from "./tickets.js";

const PAGE_SIZE = 10;
const OTHERS_MS = 400; // between two changes by the others
const STATUS_TEXTS = {
  loading: "Loading",
  reconnecting: "Reconnecting",
  "catching-up": "Catching up",
  live: "Live",
};

const element = (id) => document.getElementById(id);
const board = Object.keys(lists).map((name) => createList(name, showOutcome));
const found = createFound(plan, showOutcome);
element("board").append(...board.map((list) => list.element));

let page;
let pageNumber = 0;
let pageCount = 1;
let isPlanned = false;

/** Draw everything, once for all that has come. */
function plan() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    draw();
  });
}

function draw() {
  for (const list of board) list.draw();
  found.draw();
  const statuses = [...Object.values(lists), summary, page].map(({ status }) => status);
  const worst = Object.keys(STATUS_TEXTS).find((status) => statuses.includes(status));
  element("status").textContent = element("connected").checked ? STATUS_TEXTS[worst] : "Offline";
  element("status").classList.toggle("live", worst === "live");

  element("page-number").textContent = `${pageNumber} of ${pageCount}`;
  element("previous").disabled = pageNumber === 1;
  element("next").disabled = pageNumber === pageCount;
  if (page.status === "loading") return; // the page before stays until this one is there
  element("all").replaceChildren(...page.items.map(line));
}

function line({ id, title, status, hours }) {
  const item = document.createElement("li");
  for (const text of [`#${id}`, title, status, `${hours} h`]) {
    const cell = document.createElement("span");
    cell.textContent = text;
    item.append(cell);
  }
  return item;
}

function turnTo(number) {
  page?.close();
  pageNumber = number;
  page = openPage(number, (count) => {
    pageCount = Math.max(1, Math.ceil(count / PAGE_SIZE));
  });
  page.changed.add(plan);
  plan();
}

function showOutcome(error) {
  element("error").textContent = error ? `Not saved. ${error.message}` : "";
  plan();
}

element("previous").onclick = () => turnTo(pageNumber - 1);
element("next").onclick = () => turnTo(pageNumber + 1);

element("move").onclick = async () => {
  const started = Date.now();
  element("move").disabled = true;
  try {
    await moveSome(1000);
    element("moved").textContent = `Written and shown after ${Date.now() - started} ms.`;
    showOutcome(null);
  } catch (error) {
    showOutcome(error);
  }
  element("move").disabled = false;
};

let others;
element("others").onchange = ({ target }) => {
  clearInterval(others);
  if (target.checked) others = setInterval(() => moveSome(2).catch(showOutcome), OTHERS_MS);
};

element("slow").onchange = ({ target }) => (settings.isSlow = target.checked);

element("connected").onchange = ({ target }) => {
  if (target.checked) snorky.connect();
  else snorky.disconnect();
  plan();
};

watchLatency((ms, median) => {
  element("latency").textContent =
    `The newest change was drawn ${ms} ms after its save, half of the last 100 within ${median} ms.`;
  plan(); // for the cards, whose rows may have been drawn already
});

for (const list of [...Object.values(lists), summary]) list.changed.add(plan);
watchMatching();
turnTo(1);
