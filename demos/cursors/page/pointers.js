// The others' pointers: who they are, and where, moving smoothly.

import { Glide } from "./motion.js";

const element = (id) => document.getElementById(id);
const COLOURS = 8;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const pointers = new Map(); // cursor -> {shown, person, glide}
let isMoving = false;

/** What somebody says of themselves, made safe to show: it may be anything. */
function whoIs({ status }) {
  return {
    name: String(status?.name ?? "?").slice(0, 24),
    colour: Math.abs(Math.trunc(Number(status?.colour)) || 0) % COLOURS,
    isAway: status?.isAway === true,
  };
}

function placeOf({ position }) {
  return [0, 1].map((axis) => Number(position?.[axis]) || 0);
}

export function showPointer(cursor) {
  const shown = element("pointer").content.firstElementChild.cloneNode(true);
  const person = document.createElement("li");
  pointers.set(cursor, { shown, person, glide: new Glide(placeOf(cursor), performance.now()) });
  element("pointers").append(shown);
  element("people").append(person);
  movePointer(cursor);
}

export function movePointer(cursor) {
  const { shown, person, glide } = pointers.get(cursor);
  const { name, colour, isAway } = whoIs(cursor);
  shown.querySelector("span").textContent = person.textContent = name;
  for (const each of [shown, person]) {
    each.dataset.colour = colour;
    each.classList.toggle("away", isAway);
  }
  glide.moveTo(placeOf(cursor), performance.now());
  if (!isMoving) requestAnimationFrame(draw);
  isMoving = true;
}

export function hidePointer(cursor) {
  const { shown, person } = pointers.get(cursor);
  shown.remove();
  person.remove();
  pointers.delete(cursor);
}

export function hidePointers() {
  [...pointers.keys()].forEach(hidePointer);
}

function draw() {
  const now = performance.now();
  isMoving = false;
  for (const { shown, glide } of pointers.values()) {
    const [x, y] = still.matches ? glide.to : glide.at(now);
    shown.style.translate = `${x / 16}cqw ${y / 12}cqh`; // the board is 1600 by 1200
    isMoving ||= !glide.hasArrived(now);
  }
  if (isMoving) requestAnimationFrame(draw);
}
