// A page's Socket.IO client, told what to do by a test: a JSON value per line, in and out.
import {createInterface} from "node:readline";
import {io} from "socket.io-client";

const sockets = {};

const write = value => process.stdout.write(JSON.stringify(value) + "\n");

// Bytes travel to and from the test as {"$bytes": base64}.
const pack = value => {
  if (value instanceof Uint8Array) return {$bytes: Buffer.from(value).toString("base64")};
  if (Array.isArray(value)) return value.map(pack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, pack(item)]));
};
const unpack = value => {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item)]));
};

const actions = {
  open(name, url, options) {
    const socket = (sockets[name] = io(url, {forceNew: true, ...options}));
    const tell = event => (...args) => write({socket: name, event, args: args.map(pack)});
    socket.on("connect", tell("connect"));
    socket.on("disconnect", reason => tell("disconnect")(reason));
    socket.on("connect_error", error => tell("connect_error")(error.message, error.data ?? null));
    socket.io.engine.on("upgrade", transport => tell("upgrade")(transport.name));
    socket.onAny((event, ...args) => tell(event)(...args));
  },
  share(name, other, namespace, options) {
    // Another namespace over the same connection.
    const socket = (sockets[name] = sockets[other].io.socket(namespace, options));
    const tell = event => (...args) => write({socket: name, event, args: args.map(pack)});
    socket.on("connect", tell("connect"));
    socket.on("connect_error", error => tell("connect_error")(error.message, error.data ?? null));
    socket.onAny((event, ...args) => tell(event)(...args));
    socket.connect(); // it does so by itself already: twice must not hurt
  },
  emit: (name, ...args) => void sockets[name].emit(...unpack(args)),
  call: (name, ...args) => sockets[name].timeout(5000).emitWithAck(...unpack(args)),
  transport: name => sockets[name].io.engine.transport.name,
  drop: name => void sockets[name].io.engine.close(),
  close: name => void sockets[name].close(),
};

for await (const line of createInterface({input: process.stdin})) {
  const {id, action, args} = JSON.parse(line);
  Promise.resolve()
    .then(() => actions[action](...args))
    .then(result => write({id, result: pack(result ?? null)}))
    .catch(error => write({id, error: error.message}));
}
process.exit(0);
