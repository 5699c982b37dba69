// Shows what is announced, the latest first.

const element = (id) => document.getElementById(id);
const address = new URL("ws", location.href);
address.protocol = address.protocol.replace("http", "ws");
const snorky = new Snorky(WebSocket, address.href, { announcements: Snorky.PubSub });
const { announcements } = snorky.services;
const MOST_SHOWN = 100;

snorky.connected.add(() => {
  // Subscriptions end with the connection.
  announcements.subscribe({ channel: "all" }).then(
    () => showStatus("Live", "live"),
    () => {}, // the connection has gone again: the next one subscribes
  );
});
snorky.disconnected.add(() => showStatus("Reconnecting…", ""));

announcements.messagePublished.add(({ message }) => {
  const item = document.createElement("li");
  const text = Object.assign(document.createElement("p"), { textContent: message });
  const time = document.createElement("time");
  time.dateTime = new Date().toISOString();
  time.textContent = new Date().toLocaleTimeString();
  item.append(text, time);
  const list = element("announcements");
  list.prepend(item);
  if (list.childElementCount > MOST_SHOWN) list.lastElementChild.remove();
  element("none").hidden = true;
});

element("publish").onsubmit = async (event) => {
  event.preventDefault();
  try {
    await announcements.publish({ channel: "all", message: element("text").value });
  } catch (error) {
    element("fault").textContent = `Refused: ${error.message}. Whoever has the key may, from the terminal.`;
  }
};

function showStatus(text, kind) {
  element("status").textContent = text;
  element("status").className = kind;
}
