// Pages with our own client, over WebSocket, Server-Sent Events and long polling.
import WebSocket from "../socketio/node_modules/ws/wrapper.mjs"; // the Socket.IO client's too
import { drive } from "./driver.mjs";
import { snorkyPages } from "./snorky_pages.mjs";

await drive(snorkyPages(() => WebSocket));
