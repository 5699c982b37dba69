import {PubSub, Snorky} from "snorky";

class Rooms extends PubSub {}
Rooms.addRPCMethods(["say"]);

const {rooms} = new Snorky(WebSocket, "ws://localhost:5001/ws", {rooms: Rooms}).services;

rooms.messagePublished.add(({channel, message}) => console.log(channel, message.from, message.text));
await rooms.subscribe({channel: "kitchen"});
const {length} = await rooms.say({room: "kitchen", text: "Tea?"});
console.log(`${length} letters said`);
await rooms.subscribe({channel: "parlour"}).catch((error) => console.log(error.message));
