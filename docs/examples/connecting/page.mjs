import {ConnectionError, PubSub, RPCService, Snorky} from "snorky";

class Shop extends RPCService {}
Shop.addRPCMethods(["reserve"]);

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", {shop: Shop, pubsub: PubSub});
const {shop, pubsub} = snorky.services;

snorky.connected.add(() => console.log(`Connected by ${snorky.transport}`));
snorky.disconnected.add(({code, nextAttempt}) => {
  console.log(`Disconnected: ${code}, ${nextAttempt ? "trying again" : "staying away"}`);
});

pubsub.messagePublished.add(({message}) => console.log(`News: ${message}`));
pubsub.subscribe({channel: "news"});

async function reserve(item) {
  try {
    await shop.reserve({item});
    console.log(`${item}: reserved`);
  } catch (error) {
    if (!(error instanceof ConnectionError)) console.log(`${item}: ${error.message}`);
    else if (error.reason === "overflow") console.log(`${item}: not asked for`);
    else console.log(`${item}: perhaps, look it up`); // "disconnected" or "timeout"
  }
}

await reserve("tea"); // Tea may be reserved before there is a connection: the call waits.
await reserve("cake");
await reserve("piano");
