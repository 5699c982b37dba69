import {io} from "socket.io-client";

const socket = io("http://127.0.0.1:5001");

async function call(service, command, params = {}) {
  const answer = await socket.emitWithAck(service, {command, params});
  if (answer.type === "error") throw new Error(answer.message);
  return answer.data;
}

console.log(await call("calculator", "divide", {number1: 6, number2: 2}));
await call("calculator", "divide", {number1: 6, number2: 0})
  .catch(error => console.log(error.message));

socket.on("pubsub", ({channel, message}) => console.log(channel, message));
await call("pubsub", "subscribe", {channel: "news"});
await call("pubsub", "publish", {channel: "news", message: "Hello"});
