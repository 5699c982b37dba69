// SockJS clients, told what to do by a test.
//
// node client.mjs: pages with our own client over SockJS, driven as in ../edges/driver.mjs. The
// option `transport` of their `visit` says by which one.
//
// node client.mjs URL TRANSPORT: one client without anything. Every line of the standard input is
// sent; prints a JSON array for each event: ["open", transport], ["message", text],
// ["close", code, reason]. The end of the input closes the connection.
import { createInterface } from "node:readline";
import SockJS from "sockjs-client";
import { drive } from "../edges/driver.mjs";
import { snorkyPages } from "../edges/snorky_pages.mjs";

/** A class for pages: SockJS by one transport. Over WebSocket it sends its headers itself. */
const socketClassOf = ({ transport, headers }) =>
  function (url) {
    const transportOptions = { websocket: { headers } };
    return new SockJS(url, null, { transports: [transport], transportOptions });
  };

function runAlone(url, transport) {
  const socket = new SockJS(url, null, { transports: [transport] });
  const tell = (...event) => console.log(JSON.stringify(event));

  socket.onopen = () => tell("open", socket.transport);
  socket.onmessage = ({ data }) => tell("message", data);
  socket.onclose = ({ code, reason }) => {
    tell("close", code, reason);
    process.exit();
  };
  createInterface({ input: process.stdin })
    .on("line", (line) => socket.send(line))
    .on("close", () => socket.close());
}

const [url, transport] = process.argv.slice(2);
if (url) runAlone(url, transport);
else await drive(snorkyPages(socketClassOf));
