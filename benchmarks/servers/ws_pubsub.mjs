// Pub/sub over `ws` (npm), speaking Snorky's messages: what fanout.py compares Snorky with.
//
// Set up for speed as the README of ws advises: no compression, no client tracking. A
// publication is encoded once, and every subscriber is sent the same Buffer.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { WebSocketServer } from 'ws';

const channels = new Map(); // name -> Set of sockets
const asText = { binary: false };

const commands = {
  subscribe(socket, { channel }) {
    let subscribers = channels.get(channel);
    if (!subscribers) channels.set(channel, (subscribers = new Set()));
    if (subscribers.has(socket)) throw new Error('Already subscribed');
    subscribers.add(socket);
    socket.joined.add(subscribers);
  },

  publish(socket, { channel, message }) {
    const subscribers = channels.get(channel);
    if (!subscribers) return;
    const notification = { type: 'message', channel, message };
    const text = Buffer.from(JSON.stringify({ service: 'pubsub', message: notification }));
    for (const subscriber of subscribers) subscriber.send(text, asText);
  },
};

function answer(socket, { command, params, callId }) {
  try {
    commands[command](socket, params);
    return { type: 'response', callId, data: null };
  } catch (error) {
    return { type: 'error', callId, message: error.message };
  }
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  backlog: 1024,
  perMessageDeflate: false,
  clientTracking: false,
});

server.on('connection', (socket) => {
  socket.joined = new Set();
  socket.on('message', (data) => {
    const { service, message } = JSON.parse(data);
    socket.send(JSON.stringify({ service, message: answer(socket, message) }));
  });
  socket.on('close', () => {
    for (const subscribers of socket.joined) subscribers.delete(socket);
  });
});

server.on('listening', () => {
  const manifest = createRequire(import.meta.url).resolve('ws/package.json');
  const versions = {
    ws: JSON.parse(readFileSync(manifest)).version,
    node: process.versions.node,
  };
  console.log(JSON.stringify({ port: server.address().port, versions }));
});
