import { beforeAll, describe, expect, test, vi } from "vitest";
import { Messaging, type ParticipantMessage, Snorky } from "../../src/index.js";
import "../../src/classic.js";
import { connect, drop, next, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

const services = { messaging: Messaging };

describe("a participant", () => {
  test("receives what is sent to its name, as the whole notification", async () => {
    const one = connect(server.url, services).services.messaging;
    const two = connect(server.url, services).services.messaging;
    const callback = vi.fn();
    one.onParticipantMessage = callback;
    expect(await one.registerParticipant({ name: "one" })).toBeNull();
    await two.registerParticipant({ name: "two" });
    expect(await two.listParticipants()).toEqual(["one", "two"]);

    const heard = next(one.messageReceived);
    expect(await two.send({ sender: "two", dest: "one", body: { text: "Hi" } })).toBeNull();
    const notification = { type: "message", sender: "two", dest: "one", body: { text: "Hi" } };
    expect(await heard).toEqual([notification]);
    expect(callback.mock.calls).toEqual([[notification]]);
  });

  test("may give its name up", async () => {
    const { messaging } = connect(server.url, services).services;
    await messaging.registerParticipant({ name: "short" });
    expect(await messaging.unregisterParticipant({ name: "short" })).toBeNull();
    await expect(messaging.unregisterParticipant({ name: "short" })).rejects.toThrow(
      "Unknown participant",
    );
  });

  test("is refused by the server in its own words", async () => {
    const { messaging } = connect(server.url, services).services;
    await messaging.registerParticipant({ name: "me" });
    await expect(messaging.registerParticipant({ name: "me" })).rejects.toThrow(
      "Name already registered",
    );
    const message = { sender: "me", dest: "nobody", body: 1 };
    await expect(messaging.send(message)).rejects.toThrow("Unknown destination");
    await expect(messaging.send({ ...message, sender: "you" })).rejects.toThrow("Invalid sender");
  });

  test("who registers in `connected` has its name before what was queued is sent", async () => {
    const snorky = connect(server.url, services);
    const { messaging } = snorky.services;
    const messages: ParticipantMessage[] = [];
    messaging.messageReceived.add((message) => {
      messages.push(message);
    });
    snorky.connected.add(() => {
      messaging.registerParticipant({ name: "again" });
    });
    await next(snorky.connected);
    await drop(server, snorky);
    await messaging.send({ sender: "again", dest: "again", body: "queued" });
    expect(messages.map(({ body }) => body)).toEqual(["queued"]);
  });

  test("notifications of other types are no messages", async () => {
    const { messaging } = connect(server.url, services).services;
    const heard = vi.fn();
    messaging.messageReceived.add(heard);
    messaging.notificationReceived.dispatch({ type: "note" });
    messaging.notificationReceived.dispatch(null);
    expect(heard).not.toHaveBeenCalled();
  });

  test("is also a class on the global, to derive from as pages did before ES6", async () => {
    expect(Snorky.Messaging).toBe(Messaging);
    const Mine = new (Snorky.Class as any)(Snorky.Messaging, { init() {} });
    const { messaging } = connect(server.url, { messaging: Mine }).services as any;
    await messaging.registerParticipant({ name: "classic" });
    const heard = next(messaging.messageReceived);
    await messaging.send({ sender: "classic", dest: "classic", body: 1 });
    expect((await heard)[0]).toMatchObject({ body: 1 });
  });
});
