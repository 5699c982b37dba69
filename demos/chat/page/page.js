// The chat's page: who is there, and a conversation with each of them.

const element = (id) => document.getElementById(id);
const snorky = new Snorky(SockJS, new URL("sockjs", location.href).href, { messaging: Snorky.Messaging });
const { messaging } = snorky.services;
const MOST_LINES = 500;
const TRY_AGAIN_MS = 2000;

let me = null;
let there = []; // everybody's names
let partner = null;
let nextTry;
const conversations = new Map(); // name -> {lines, unread}

// The connection

snorky.connected.add(() => {
  showStatus("Live", "live");
  if (me !== null) register(me); // names end with the connection
});
snorky.disconnected.add(() => showStatus("Reconnecting…", ""));

async function register(name) {
  clearTimeout(nextTry);
  try {
    await messaging.registerParticipant({ name });
  } catch (error) {
    if (!snorky.isConnected && me !== null) return; // the next connection registers again
    if (me !== null && error.message === "Name already registered") {
      // The server has not noticed yet that our last connection has gone.
      nextTry = setTimeout(() => snorky.isConnected && register(name), TRY_AGAIN_MS);
      return;
    }
    me = null;
    element("door-fault").textContent = error.message;
    showDoor(true);
    return;
  }
  me = name;
  document.title = `Chat: ${me}`;
  element("door-fault").textContent = "";
  showDoor(false);
  showPeople();
}

// What the server says

messaging.messageReceived.add(({ sender, body }) => {
  addLine(sender, { text: String(body), mine: false });
  if (sender !== partner) conversation(sender).unread++;
  showPeople();
});

messaging.notificationReceived.add(({ type, names }) => {
  if (type !== "participants") return;
  there = names;
  showPeople();
});

// What the user does

element("door").onsubmit = (event) => {
  event.preventDefault();
  register(element("name").value.trim());
};

element("write").onsubmit = async (event) => {
  event.preventDefault();
  const dest = partner;
  const text = element("text").value.trim();
  if (text === "" || dest === null) return;
  try {
    await messaging.send({ sender: me, dest, body: text });
  } catch (error) {
    element("write-fault").textContent = `Not sent: ${error.message}`;
    return;
  }
  element("write-fault").textContent = "";
  element("text").value = "";
  addLine(dest, { text, mine: true });
};

function choose(name) {
  partner = name;
  conversation(name).unread = 0;
  element("with").textContent = `You and ${name}`;
  element("lines").replaceChildren(...conversation(name).lines.map(lineOf));
  element("lines").scrollTop = element("lines").scrollHeight;
  element("write-fault").textContent = "";
  showPeople();
  element("text").focus();
}

// What is seen

function conversation(name) {
  if (!conversations.has(name)) conversations.set(name, { lines: [], unread: 0 });
  return conversations.get(name);
}

function addLine(name, line) {
  const { lines } = conversation(name);
  lines.push({ ...line, time: new Date() });
  if (lines.length > MOST_LINES) lines.shift();
  if (name !== partner) return;
  const list = element("lines");
  list.append(lineOf(lines.at(-1)));
  if (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

function lineOf({ text, mine, time }) {
  const line = document.createElement("li");
  line.className = mine ? "mine" : "";
  const clock = document.createElement("time");
  clock.dateTime = time.toISOString();
  clock.textContent = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  line.append(text, clock);
  return line;
}

function showPeople() {
  // Whoever has left stays for as long as there is something to read of them.
  const names = [...new Set([...there, ...conversations.keys()])].filter((name) => name !== me);
  const hadFocus = document.activeElement?.closest("#people") && document.activeElement.dataset.name;
  element("people").replaceChildren(...names.map(personOf));
  element("people").querySelector(`[data-name="${CSS.escape(hadFocus || "")}"]`)?.focus();
  element("nobody").hidden = names.length > 0;
  element("write").hidden = partner === null;
}

function personOf(name) {
  const person = document.createElement("li");
  const button = document.createElement("button");
  const unread = conversations.get(name)?.unread ?? 0;
  button.dataset.name = name;
  button.append(Object.assign(document.createElement("span"), { textContent: name }));
  if (unread > 0) {
    const count = Object.assign(document.createElement("b"), { textContent: unread });
    count.setAttribute("aria-label", `${unread} unread`);
    button.append(count);
  }
  button.classList.toggle("away", !there.includes(name));
  button.setAttribute("aria-current", name === partner);
  button.onclick = () => choose(name);
  person.append(button);
  return person;
}

function showDoor(shown) {
  element("door").hidden = !shown;
  document.querySelector("main").hidden = shown;
}

function showStatus(text, kind) {
  element("status").textContent = text;
  element("status").className = kind;
}
