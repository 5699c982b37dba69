/** Events where no WebSocket comes through, as when they were made. */

import { beforeAll, expect, test, vi } from "vitest";
import "../../src/comet.js";
import { Events } from "../../src/index.js";
import { connect, drop, next, service, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

const WebApplication = service("update");

test.each(["polling", "sse"] as const)(
  "a page connected by %s is connected to its path, and again after a drop",
  async (transport) => {
    const snorky = connect(server.url, { events: Events }, { transports: [transport] });
    const { events } = snorky.services;
    events.connectUrl = `${server.url.replace("ws:", "http:").replace("/ws", "")}/connect/{id}`;
    const site = connect(server.url, { web_application: WebApplication }).services.web_application;
    const job = `/jobs/${transport}`;
    const heard = vi.fn();
    await events.connect(job, heard);
    expect(snorky.transport).toBe(transport);
    await site.update({ path: job, message: { percent: 15 } });
    await vi.waitFor(() => expect(heard).toHaveBeenCalledWith({ percent: 15 }, job), 9000);

    const again = next(events.reconnected);
    await drop(server, snorky);
    await again;
    await site.update({ path: job, message: { percent: 20 } });
    await vi.waitFor(() => expect(heard).toHaveBeenCalledWith({ percent: 20 }, job), 9000);
    expect(heard).toHaveBeenCalledTimes(2);
  },
);
