import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Events, Snorky, type SnorkyOptions, type Update } from "../../src/index.js";
import { connect, drop, next, service, TestServer } from "../server.js";
import { consoleErrorCount, expectConsoleErrors } from "../setup.js";

const server = new TestServer();
beforeAll(() => server.start());

const WebApplication = service("forbid", "fail", "hold", "takeRequests", "update");
const web = () => connect(server.url, { web_application: WebApplication }).services.web_application;

const http = () => server.url.replace("ws:", "http:").replace("/ws", "");

function page(options: SnorkyOptions = {}): { snorky: Snorky; events: Events } {
  const snorky = connect(server.url, { events: Events }, options);
  const { events } = snorky.services;
  events.connectUrl = `${http()}/connect/{id}`;
  return { snorky, events };
}

/** A path that no other test uses. */
let count = 0;
const path = (name = "job") => `/${name}/${++count}`;

const asked = (requests: any[]) => requests.map(({ url, paths }) => [url, ...paths]);

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 9_000 });

/** A callback, and what it is called with. */
function heard(): { callback: (message: any, path: string) => void; messages: any[] } {
  const messages: any[] = [];
  return { callback: (message) => messages.push(message), messages };
}

afterEach(async () => {
  Reflect.deleteProperty(globalThis, "document");
});

describe("a path", () => {
  test("brings its updates to its callback", async () => {
    const { events } = page();
    const [job, other] = [path(), path()];
    const callback = vi.fn();
    expect(await events.connect(job, callback)).toBeNull();
    const update = next(events.updateReceived);
    await web().update({ path: other, message: "not mine" });
    await web().update({ path: job, message: { percent: 15 } });
    expect(await update).toEqual([{ type: "update", path: job, message: { percent: 15 } }]);
    expect(callback.mock.calls).toEqual([[{ percent: 15 }, job]]);
  });

  test("that ends in /* brings those of all below, once for each connection", async () => {
    const { events } = page();
    const all = heard();
    const one = heard();
    const updates: Update[] = [];
    events.updateReceived.add((update) => {
      updates.push(update);
    });
    await Promise.all([
      events.connect("/below/*", all.callback),
      events.connect("/below/1", one.callback),
    ]);
    await web().update({ path: "/below/1", message: 1 });
    await web().update({ path: "/below/2/log", message: 2 });
    await eventually(() => expect(updates).toHaveLength(3));
    expect(all.messages).toEqual([1, 2]);
    expect(one.messages).toEqual([1]);
  });

  test("may have several callbacks; one that throws harms nobody", async () => {
    const { events } = page();
    const job = path();
    const [one, two] = [heard(), heard()];
    await events.connect(job, () => {
      throw new Error("broken");
    });
    await events.connect(job, one.callback);
    await events.connect(job, one.callback);
    await events.connect(job, two.callback);
    await events.disconnect(job, one.callback);
    await web().update({ path: job, message: 1 });
    await eventually(() => expect(two.messages).toEqual([1]));
    expect(one.messages).toEqual([]);
    expectConsoleErrors(/broken/);
  });

  test("brings nothing more once it is left", async () => {
    const { events } = page();
    const [job, other] = [path(), path()];
    const [one, two] = [heard(), heard()];
    await Promise.all([events.connect(job, one.callback), events.connect(other, two.callback)]);
    const updates: Update[] = [];
    events.updateReceived.add((update) => {
      updates.push(update);
    });
    await events.disconnect(job);
    await events.disconnect(job);
    await web().update({ path: job });
    await web().update({ path: other });
    await eventually(() => expect(two.messages).toHaveLength(1));
    expect(updates.map((update) => update.path)).toEqual([other]);
  });

  test("is refused where it is none, in the server's or our own words", async () => {
    const { events } = page();
    await expect(events.connect(7 as any, () => {})).rejects.toThrow("Expected a path");
    await expect((events as any).connect("/a")).rejects.toThrow("Expected a path and a function");
    await expect(events.disconnect("/never")).resolves.toBeNull();
  });
});

test("a path that is left and connected again, while it is being connected, is connected", async () => {
  const { events } = page();
  const site = web();
  const job = path();
  const { callback, messages } = heard();
  await site.takeRequests();
  await site.hold({ held: true });
  const first = events.connect(job, callback);
  await eventually(async () => expect(await site.takeRequests()).toHaveLength(1));
  const left = events.disconnect(job);
  const second = events.connect(job, callback);
  await site.hold({ held: false });
  await Promise.all([first, left, second]);
  await site.update({ path: job, message: 1 });
  await eventually(() => expect(messages).toEqual([1]));
});

describe("the web application", () => {
  test("is asked once for what is connected together", async () => {
    const { events } = page();
    const site = web();
    await site.takeRequests();
    const paths = [path(), path(), path()];
    await Promise.all(paths.map((each) => events.connect(each, () => {})));
    const requests = await site.takeRequests();
    expect(asked(requests)).toEqual([["/connect", ...paths]]);
    expect(requests[0].headers["content-type"]).toBe("application/json");
  });

  test("is asked in pieces for very many", async () => {
    const { events } = page();
    const site = web();
    await site.takeRequests();
    const paths = Array.from({ length: 250 }, () => path("many"));
    await Promise.all(paths.map((each) => events.connect(each, () => {})));
    const requests = await site.takeRequests();
    expect(requests.map((request: any) => request.paths.length)).toEqual([100, 100, 50]);
    expect(requests.flatMap((request: any) => request.paths)).toEqual(paths);
  });

  test("may take the id from the query, and is told of leaving if it wants", async () => {
    const { events } = page();
    const site = web();
    events.connectUrl = `${http()}/connect`;
    events.disconnectUrl = `${http()}/disconnect?why=left`;
    const job = path();
    await events.connect(job, () => {});
    await events.disconnect(job);
    expect(asked((await site.takeRequests()).slice(-2))).toEqual([
      ["/connect", job],
      ["/disconnect", job],
    ]);
  });

  test("refuses one path without harm to the others of the same request", async () => {
    const { events } = page();
    const site = web();
    const paths = Array.from({ length: 7 }, () => path());
    await site.forbid({ path: paths[2] });
    const { callback, messages } = heard();
    const settled = await Promise.allSettled(paths.map((each) => events.connect(each, callback)));
    expect(settled.map(({ status }) => status)).toEqual(
      paths.map((_, index) => (index === 2 ? "rejected" : "fulfilled")),
    );
    const { reason } = settled[2] as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(Error);
    expect(reason.message).toBe(
      `Refused by the web application: ${paths[2]}: 403 You may not connect to ${paths[2]}`,
    );
    for (const each of paths) await site.update({ path: each, message: each });
    await eventually(() => expect(messages).toHaveLength(6));
    expect(messages).not.toContain(paths[2]);
  });

  test("that sends the request to another page, as one to log in, refuses", async () => {
    const { events } = page();
    const site = web();
    await site.fail({ status: 302 });
    const job = path();
    await expect(events.connect(job, () => {})).rejects.toThrow(
      `Refused by the web application: ${job}: sent to ${http()}/connect`,
    );
    await site.fail({ status: 200 });
  });

  test("may answer later than the first update comes", async () => {
    const { events } = page();
    const site = web();
    const job = path();
    const { callback, messages } = heard();
    await site.hold({ held: true });
    const connected = vi.fn();
    const answer = events.connect(job, callback).then(connected);
    const update = next(events.updateReceived);
    await eventually(async () => {
      await site.update({ path: job, message: 1 });
      expect(messages.length).toBeGreaterThan(0);
    });
    await update;
    expect(connected).not.toHaveBeenCalled();
    await site.hold({ held: false });
    await answer;
  });

  test("is asked again while it is away", async () => {
    const { events } = page();
    const site = web();
    await site.fail({ status: 503 });
    const job = path();
    const { callback, messages } = heard();
    const unavailable = next(events.unavailable);
    const connected = events.connect(job, callback);
    expect(`${(await unavailable)[0]}`).toBe(`Error: ${job}: 503 `);
    events.connectUrl = "http://127.0.0.1:9/nobody/{id}";
    expect(`${(await next(events.unavailable))[0]}`).toMatch("fetch failed");
    await site.fail({ status: 200 });
    events.connectUrl = `${http()}/connect/{id}`;
    await connected;
    await site.update({ path: job, message: 1 });
    await eventually(() => expect(messages).toEqual([1]));
  });

  test("is given up where it does not answer in time, and asked again", async () => {
    const { events } = page();
    events.requestTimeout = 0.05;
    const site = web();
    await site.hold({ held: true });
    const unavailable = next(events.unavailable);
    const connected = events.connect(path(), () => {});
    await unavailable;
    events.requestTimeout = 20;
    await site.hold({ held: false });
    await connected;
  });

  test("gets the CSRF token of its cookie, or of its form, and the headers of the page", async () => {
    const { events } = page();
    const another = page();
    const site = web();
    const token = async () => {
      await events.connect(path(), () => {});
      return (await site.takeRequests()).at(-1).headers;
    };
    expect(await token()).not.toHaveProperty("x-csrftoken");
    const field = { value: "of the form" };
    const querySelector = (selector: string) => (selector.includes("csrf") ? field : null);
    Object.assign(globalThis, { document: { cookie: "a=b", querySelector } });
    expect(await token()).toHaveProperty("x-csrftoken", "of the form");
    (globalThis as any).document.cookie = "a=b; csrftoken=of%20the%20cookie; xcsrftoken=c";
    expect(await token()).toHaveProperty("x-csrftoken", "of the cookie");
    Object.assign(events, { csrfCookie: "a", csrfHeader: "X-XSRF-Token" });
    events.headers["X-Page"] = "7";
    expect(await token()).toMatchObject({ "x-xsrf-token": "b", "x-page": "7" });
    expect(another.events.headers).toEqual({});
  });
});

describe("after a reconnection", () => {
  test("everything is connected again, with a new id, and then the page is told", async () => {
    const { snorky, events } = page();
    const site = web();
    const [job, left] = [path(), path()];
    const { callback, messages } = heard();
    await Promise.all([events.connect(job, callback), events.connect(left, callback)]);
    await events.disconnect(left);
    for (let i = 0; i < 2; i++) {
      const told = next(events.reconnected);
      await drop(server, snorky);
      await told;
      for (const each of [left, job]) await site.update({ path: each, message: [i, each] });
      await eventually(() => expect(messages.at(-1)).toEqual([i, job]));
    }
    expect(messages).toHaveLength(2);
  });

  test("what waited before it is connected by it, and is no return", async () => {
    const { snorky, events } = page();
    const returned = vi.fn();
    events.reconnected.add(returned);
    snorky.disconnect();
    const connected = events.connect(path(), () => {});
    const left = path();
    const never = events.connect(left, () => {});
    expect(await events.disconnect(left)).toBeNull();
    await never;
    snorky.connect();
    await connected;
    expect(returned).not.toHaveBeenCalled();
  });

  test("a request under way at the drop is made anew, with the new id", async () => {
    const { snorky, events } = page();
    const site = web();
    const job = path();
    const { callback, messages } = heard();
    await site.hold({ held: true });
    await site.takeRequests();
    const connected = events.connect(job, callback);
    await eventually(async () => expect(await site.takeRequests()).toHaveLength(1));
    snorky.disconnect();
    snorky.connect();
    await site.hold({ held: false });
    await connected;
    await site.update({ path: job, message: 1 });
    await eventually(() => expect(messages).toEqual([1]));
  });

  test("it waits for a web application that is away", async () => {
    const { snorky, events } = page();
    const site = web();
    const job = path();
    const { callback, messages } = heard();
    await events.connect(job, callback);
    await site.fail({ status: 502 });
    const told = next(events.reconnected);
    snorky.disconnect();
    snorky.connect();
    await next(events.unavailable);
    await next(events.unavailable);
    await site.fail({ status: 200 });
    await told;
    await site.update({ path: job, message: 1 });
    await eventually(() => expect(messages).toEqual([1]));
  });

  test("a path that is refused now is reported and given up, the others stay", async () => {
    const { snorky, events } = page();
    const site = web();
    const [job, lost] = [path(), path()];
    const { callback, messages } = heard();
    await Promise.all([events.connect(job, callback), events.connect(lost, callback)]);
    await site.forbid({ path: lost });
    const refused = next(events.refused);
    const told = next(events.reconnected);
    snorky.disconnect();
    snorky.connect();
    const [refusal] = await refused;
    expect(refusal.path).toBe(lost);
    expect(refusal.error.message).toMatch("403 You may not connect");
    await told;
    expect(consoleErrorCount()).toBe(1);
    expectConsoleErrors(/could not connect again to path/);
    await site.update({ path: job, message: 1 });
    await eventually(() => expect(messages).toEqual([1]));
  });

  test("there is nothing to tell where the page had left everything", async () => {
    const { snorky, events } = page();
    const returned = vi.fn();
    events.reconnected.add(returned);
    const job = path();
    await events.connect(job, () => {});
    snorky.disconnect();
    await events.disconnect(job);
    snorky.connect();
    await next(snorky.connected);
    const { callback, messages } = heard();
    await events.connect(job, callback);
    await web().update({ path: job });
    await eventually(() => expect(messages).toHaveLength(1));
    expect(returned).not.toHaveBeenCalled();
  });

  test("what a page connects when it is told is connected", async () => {
    const { snorky, events } = page();
    const [job, more] = [path(), path()];
    await events.connect(job, () => {});
    const connected = new Promise((resolve) => {
      events.reconnected.addOnce(() => {
        resolve(events.connect(more, () => {}));
      });
    });
    snorky.disconnect();
    snorky.connect();
    expect(await connected).toBeNull();
  });

  test("a server that was killed is no different", async () => {
    const own = new TestServer();
    await own.start();
    const snorky = connect(own.url, { events: Events });
    const { events } = snorky.services;
    events.connectUrl = `${own.url.replace("ws:", "http:").replace("/ws", "")}/connect/{id}`;
    const job = path();
    const { callback, messages } = heard();
    await events.connect(job, callback);
    const told = next(events.reconnected);
    await own.kill();
    await own.start();
    await told;
    const site = connect(own.url, { web_application: WebApplication }).services.web_application;
    await site.update({ path: job, message: 1 });
    await eventually(() => expect(messages).toEqual([1]));
  });
});

test("pages connect, leave and lose their connection in any order, and end as they want", async () => {
  const { snorky, events } = page();
  const site = web();
  const paths = Array.from({ length: 6 }, () => path());
  const wanted = new Set<string>();
  const { callback, messages } = heard();
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const done: Promise<unknown>[] = [];
  for (let i = 0; i < 150; i++) {
    const one = paths[random(paths.length)];
    const what = random(12);
    if (what === 0) {
      snorky.disconnect();
      snorky.connect();
    } else if (what < 4) {
      await new Promise((resolve) => setTimeout(resolve, random(5)));
    } else if (what < 8) {
      wanted.add(one);
      done.push(events.connect(one, callback));
    } else {
      wanted.delete(one);
      done.push(events.disconnect(one));
    }
  }
  for (const one of paths) {
    wanted.add(one);
    done.push(events.connect(one, callback));
  }
  const last = paths.slice(0, 3);
  done.push(...last.map((one) => (wanted.delete(one), events.disconnect(one))));
  await Promise.allSettled(done);
  messages.length = 0;
  for (const one of paths) await site.update({ path: one, message: one });
  await eventually(() => expect(messages).toEqual([...paths].filter((one) => wanted.has(one))));
});
