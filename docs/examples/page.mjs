import { ArrayCollection, CollectionDeltaProcessor } from "snorky";
import { DataSync, PubSub, RPCService, Snorky } from "snorky";
// In a script-tag page the same are Snorky.PubSub, Snorky.DataSync, Snorky.DataSync.ArrayCollection.

class Calculator extends RPCService {}
Calculator.addRPCMethods(["sum"]);

const snorky = new Snorky(WebSocket, "ws://localhost:5001/ws", {
  calculator: Calculator, // by the names the services have on the server
  pubsub: PubSub,
  datasync: DataSync,
});
const { calculator, pubsub, datasync } = snorky.services;

// Services can be used at once: calls wait until the connection is up.
console.log(await calculator.sum({ number1: 1, number2: 2 }));

pubsub.messagePublished.add(({ channel, message }) => console.log(channel, message));
await pubsub.subscribe({ channel: "news" });

// A list that follows the database. The token comes with the list, from the web application.
const tasks = [];
const processor = new CollectionDeltaProcessor({
  Task: new ArrayCollection(tasks),
});
datasync.deltaReceived.add((delta) => processor.processDelta(delta));
datasync.resyncNeeded.add(load);

async function load() {
  const response = await fetch("/api/tasks/", { headers: { "X-Snorky": "Subscribe" } });
  tasks.splice(0, tasks.length, ...(await response.json()));
  await datasync.acquireSubscription({ token: response.headers.get("X-Subscription-Token") });
}
load();
