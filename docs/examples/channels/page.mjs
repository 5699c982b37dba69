import {PubSub, Snorky} from "snorky";

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws?name=alice", {matches: PubSub});
const {matches} = snorky.services;

matches.messagePublished.add(({channel, message}) => console.log(channel, message));
matches.messagesMissed.add(({channel, reason}) => {
  console.log(channel, "messages were lost:", reason); // fetch the match anew
});
matches.presenceReceived.add(({channel, from, status, count}) => {
  console.log(channel, status ? `${from} ${status}` : `${count} are here`);
});

const {members} = await matches.subscribe({channel: "match/7", since: ""});
console.log("match/7 watched by", members.join(", "));
await matches.subscribe({channel: "field/7"});
await matches.subscribe({channel: "lobby"});
