import {io} from "socket.io-client";

const socket = io("http://localhost:5001", {extraHeaders: {Cookie: "name=bob"}}); // in Node

socket.on("rooms", ({channel, message}) => console.log(channel, message.from, message.text));

async function call(command, params) {
  const answer = await socket.emitWithAck("rooms", {command, params});
  if (answer.type === "error") throw new Error(answer.message);
  return answer.data;
}

await call("subscribe", {channel: "kitchen"});
const {length} = await call("say", {room: "kitchen", text: "Tea?"});
console.log(`${length} letters said`);
await call("subscribe", {channel: "parlour"}).catch((error) => console.log(error.message));
