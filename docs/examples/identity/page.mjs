import {PubSub, Snorky} from "snorky";

// The web application knows who is logged in, and makes the token.
async function fetchToken() {
  const answer = await fetch("/live-token", {method: "POST"});
  if (!answer.ok) throw new Error(`the web application says ${answer.status}`);
  return answer.text();
}

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", {pubsub: PubSub}, {token: fetchToken});
snorky.disconnected.add(({code, reason}) => console.log("Disconnected:", code, reason));

const {pubsub} = snorky.services;
pubsub.messagePublished.add(({message}) => console.log("Message:", message));
await pubsub.subscribe({channel: "inbox of alice"});
