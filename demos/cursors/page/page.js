// The board's page: sends what this visitor does, shows what the others do.

import { addPoints, clearDrawing } from "./drawing.js";
import { throttled } from "./motion.js";
import { hidePointer, hidePointers, movePointer, showPointer } from "./pointers.js";

const element = (id) => document.getElementById(id);
const address = new URL("ws", location.href);
address.protocol = address.protocol.replace("http", "ws");
const services = { cursors: Snorky.Cursors, drawing: Snorky.RPCService };
const snorky = new Snorky(WebSocket, address.href, services);
const { cursors, drawing } = snorky.services;
const board = element("board");

const INTERVAL_MS = 1000 / 30; // between two messages
const MOST_POINTS = 200; // in one message
const [WIDTH, HEIGHT] = [1600, 1200];
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const NAMES = ["Badger", "Otter", "Heron", "Lynx", "Hare", "Robin", "Beaver", "Falcon"];
const KINDS = ["Quick", "Quiet", "Bold", "Merry", "Clever", "Sleepy", "Lucky", "Gentle"];

const me = { name: `${pick(KINDS)} ${pick(NAMES)}`, colour: Math.floor(Math.random() * 8), isAway: true };
let position = [WIDTH / 2, HEIGHT / 2];
let cursor = null;
let strokes = 0; // that we have begun
let isDrawing = false;
const unsent = []; // what the server does not have yet of them, in messages

// The connection: the document, and our cursor in it, end with it.

snorky.connected.add(() => {
  enter().then(
    () => showStatus("Live", "live"),
    (error) => snorky.isConnected && showStatus(error.message, ""),
  );
});
snorky.disconnected.add(() => {
  showStatus("Reconnecting…", "");
  cursor = null;
  isDrawing = false;
  unsent.length = 0;
});

async function enter() {
  const [there, drawn] = await Promise.all([
    cursors.join({ document: "board" }),
    drawing.rpcCall("look"),
  ]);
  hidePointers();
  clearDrawing();
  there.cursors.forEach(showPointer);
  there.cursorAdded.add(showPointer);
  there.cursorUpdated.add(movePointer);
  there.cursorRemoved.add(hidePointer);
  drawn.forEach(addPoints);
  const [mine, created] = there.createCursor({ position, status: { ...me } });
  cursor = mine;
  await created;
}

drawing.notificationReceived.add((notification) => {
  if (notification.type === "drawn") addPoints(notification);
  else if (notification.type === "cleared") clearDrawing();
});

// What we do

const send = throttled(() => {
  if (cursor === null || cursor.removed) return;
  cursor.update({ position: [...position], status: { ...me } }).catch(report);
  for (const part of unsent.splice(0)) drawing.rpcCall("draw", part).catch(report);
}, INTERVAL_MS);

function follow(event) {
  const { left, top, width, height } = board.getBoundingClientRect();
  const place = (part, whole) => Math.round(Math.min(Math.max(part, 0), 1) * whole);
  position = [place((event.clientX - left) / width, WIDTH), place((event.clientY - top) / height, HEIGHT)];
  me.isAway = false;
  if (isDrawing) draw();
  send();
}

function draw() {
  const { colour } = me;
  addPoints({ key: `mine ${strokes}`, colour, points: [position] });
  if (unsent.at(-1)?.number !== strokes || unsent.at(-1).points.length === MOST_POINTS) {
    unsent.push({ number: strokes, colour, points: [] });
  }
  unsent.at(-1).points.push(position);
}

board.onpointerdown = (event) => {
  if (!event.isPrimary || event.button !== 0 || cursor === null) return;
  board.setPointerCapture(event.pointerId);
  strokes++;
  isDrawing = true;
  follow(event);
};
board.onpointermove = (event) => {
  if (event.isPrimary) follow(event);
};
board.onpointerup = board.onpointercancel = (event) => {
  if (event.isPrimary) isDrawing = false;
};
board.onpointerleave = (event) => {
  // A finger that is lifted is still where it was; a mouse has gone elsewhere.
  if (event.pointerType === "touch") return;
  me.isAway = true;
  send();
};

element("name").value = me.name;
element("name").oninput = () => {
  me.name = element("name").value.trim() || "?";
  send();
};
element("me").dataset.colour = me.colour;
element("clear").onclick = () => drawing.rpcCall("clear").catch(report);

/** A call that the connection took with it is no news: the status says so. */
function report(error) {
  if (snorky.isConnected) console.error(error);
}

function showStatus(text, kind) {
  element("status").textContent = text;
  element("status").className = kind;
}
