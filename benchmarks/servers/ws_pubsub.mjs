// Pub/sub and echo over `ws` (npm), speaking Snorky's messages.
//
// Set up for speed as the README of ws advises (https://github.com/websockets/ws): no compression,
// no client tracking, and bufferutil for unmasking, which ws takes by itself where it is installed.
// A publication is encoded once, and every subscriber is sent the same Buffer.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { WebSocketServer } from 'ws';

const channels = new Map(); // name -> Set of sockets
const asText = { binary: false };

const services = {
  pubsub: {
    subscribe(socket, { channel }) {
      let subscribers = channels.get(channel);
      if (!subscribers) channels.set(channel, (subscribers = new Set()));
      if (subscribers.has(socket)) throw new Error('Already subscribed');
      subscribers.add(socket);
      socket.joined.add(subscribers);
      return null;
    },

    publish(socket, { channel, message }) {
      const subscribers = channels.get(channel);
      if (!subscribers) return null;
      const notification = { type: 'message', channel, message };
      const text = Buffer.from(JSON.stringify({ service: 'pubsub', message: notification }));
      for (const subscriber of subscribers) subscriber.send(text, asText);
      return null;
    },
  },

  echo: {
    echo: (socket, { value }) => value,
  },
};

function answer(socket, service, { command, params, callId }) {
  try {
    return { type: 'response', callId, data: services[service][command](socket, params) };
  } catch (error) {
    return { type: 'error', callId, message: error.message };
  }
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.env.PORT ?? 0),
  backlog: 1024,
  perMessageDeflate: false,
  clientTracking: false,
});

server.on('connection', (socket) => {
  socket.joined = new Set();
  socket.on('message', (data) => {
    const { service, message } = JSON.parse(data);
    socket.send(JSON.stringify({ service, message: answer(socket, service, message) }));
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
