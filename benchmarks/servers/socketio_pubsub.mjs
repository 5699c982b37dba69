// Pub/sub and echo over Socket.IO (npm): a channel is a room, an answer is an acknowledgement.
//
// Set up as https://socket.io/docs/v4/performance-tuning/ advises: WebSocket alone, no compression,
// the `ws` engine with bufferutil, and the handshake's request is let go. Rooms encode a message
// once for all their sockets by themselves. Where ENGINE names a Redis, several processes share it by
// its adapter, as https://socket.io/docs/v4/redis-adapter/ begins.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { Server } from 'socket.io';

const http = createServer();
const server = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: Number(process.env.PING_INTERVAL_MS ?? 25000),
});
const here = createRequire(import.meta.url);
const versionOf = (manifest) => JSON.parse(readFileSync(manifest)).version;
const versions = {};

if (process.env.ENGINE) {
  const { createAdapter } = await import('@socket.io/redis-adapter');
  const { createClient } = await import('redis');
  const publishes = createClient({ url: process.env.ENGINE });
  const subscribes = publishes.duplicate();
  await Promise.all([publishes.connect(), subscribes.connect()]);
  server.adapter(createAdapter(publishes, subscribes));
  for (const name of ['@socket.io/redis-adapter', 'redis']) {
    versions[name] = versionOf(here.resolve(`${name}/package.json`));
  }
}

server.engine.on('connection', (connection) => {
  connection.request = null;
});

server.on('connection', (socket) => {
  socket.on('subscribe', (channel, answer) => {
    socket.join(channel);
    answer();
  });
  socket.on('publish', (channel, message, answer) => {
    server.to(channel).emit('message', message);
    answer();
  });
  socket.on('echo', (value, answer) => answer(value));
});

const port = Number(process.env.PORT ?? 0);
http.listen({ host: '127.0.0.1', port, backlog: 1024 }, () => {
  const engine = createRequire(here.resolve('engine.io')); // it may have a ws of its own
  versions['socket.io'] = versionOf(here.resolve('socket.io/package.json'));
  versions.ws = versionOf(engine.resolve('ws/package.json'));
  versions.node = process.versions.node;
  console.log(JSON.stringify({ port: http.address().port, versions }));
});
