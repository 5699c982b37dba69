// node client.mjs URL TRANSPORT: one SockJS client by one transport.
//
// Every line of the standard input is sent; prints a JSON array for each event: ["open", transport],
// ["message", text], ["close", code, reason]. The end of the input closes the connection.
import { createInterface } from "node:readline";
import SockJS from "sockjs-client";

const [url, transport] = process.argv.slice(2);
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
