// A page's Socket.IO client, told what to do by a test: see ../edges/driver.mjs.
import {io} from "socket.io-client";
import {drive, write} from "../edges/driver.mjs";

const sockets = {};

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
  // As the pages of ../edges/snorky_pages.mjs: `visit`, `request` and `say`; `close` is `leave`.
  visit(name, url, {headers, ...options}) {
    const more = {forceNew: true, reconnection: false, extraHeaders: headers};
    const socket = (sockets[name] = io(url, {...more, ...options}));
    const tell = (event, ...args) => write({socket: name, event, args});
    socket.on("connect", () => tell("opened"));
    socket.on("disconnect", reason => tell("ended", null, reason));
    socket.on("connect_error", error => tell("ended", error.data?.status ?? null, error.message));
    socket.onAny((service, message) => tell("received", service, message));
  },
  request: (name, service, command, params) =>
    new Promise((resolve, reject) => {
      sockets[name].emit(service, {command, params}, answer => {
        write({socket: name, event: "received", args: [service, answer]}); // in its turn
        if (answer.type === "response") resolve(answer.data);
        else reject(new Error(answer.message));
      });
    }),
  say: (name, service, message) => void sockets[name].emit(service, message),
  leave: name => void sockets[name].close(),
  emit: (name, ...args) => void sockets[name].emit(...unpack(args)),
  call: (name, ...args) => sockets[name].timeout(5000).emitWithAck(...unpack(args)),
  transport: name => sockets[name].io.engine.transport.name,
  drop: name => void sockets[name].io.engine.close(),
  close: name => void sockets[name].close(),
};

const packed = action => async (...args) => pack(await action(...args));
await drive(Object.fromEntries(Object.entries(actions).map(([name, action]) => [name, packed(action)])));
