/** Pages that sleep, are kept, are copied; and servers from before there were live lists. */

import { afterEach, expect, test } from "vitest";
import { changes, idle, ids, opened, Page, upsert } from "./scripted.js";

const A = { id: 1, title: "a" };
const B = { id: 2, title: "b" };

const fake = globalThis as any;
afterEach(() => {
  for (const name of ["document", "addEventListener", "removeEventListener"]) delete fake[name];
});

/** What browsers have and Node.js does not. */
function browser() {
  const window = new EventTarget();
  fake.document = Object.assign(new EventTarget(), { hidden: false });
  fake.addEventListener = window.addEventListener.bind(window);
  fake.removeEventListener = window.removeEventListener.bind(window);
  return { window, document: fake.document as EventTarget };
}

test("a page that comes back from the back/forward cache is not live until it has resumed", async () => {
  const { window } = browser();
  const page = new Page();
  const { list } = await page.liveList([A]);
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: false }));
  expect(list.status).toBe("live");
  window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
  expect(list.status).toBe("reconnecting");
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([
    { token: "resume-a", since: "opened-a", live: true },
  ]);
  opening.answer([opened("a2", { live: true, changes: [upsert(B)] })]);
  expect(ids(list)).toEqual([1, 2]);
  expect(list.status).toBe("live");
});

for (const event of ["online", "visibilitychange", "resume"]) {
  test(`a request that failed is tried again at once when the page wakes up (${event})`, async () => {
    const { window, document } = browser();
    const page = new Page({ minReconnectDelay: 100, maxReconnectDelay: 100 });
    const { application } = page.live();
    (await application.asked()).fail();
    await idle();
    expect(application.requests).toEqual([]);
    (event === "online" ? window : document).dispatchEvent(new Event(event));
    await application.asked();
  });
}

test("a page that has ended its connection listens to nothing any more", async () => {
  const { window } = browser();
  let listening = 0;
  const { addEventListener, removeEventListener } = fake;
  fake.addEventListener = (...args: any[]) => (listening++, addEventListener(...args));
  fake.removeEventListener = (...args: any[]) => (listening--, removeEventListener(...args));
  const page = new Page();
  const { list } = await page.liveList([A]);
  list.close();
  page.snorky.disconnect();
  expect(listening).toBe(0);
  window.dispatchEvent(new Event("online"));
});

test("two pages that were made of one do not take the list from each other", async () => {
  const [one, two] = [new Page(), new Page()];
  const { list, application } = await one.liveList([A]);
  await two.liveList([A]); // by the same token: the first one's has ended
  one.server.tell({ type: "resync", subscriptions: ["a"], reason: "replaced", after_ms: 0 });
  (await application.asked()).answer([A], "its own");
  const opening = await one.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "its own" }]);
  opening.answer([opened("a2", { live: true })]);
  expect(list.status).toBe("live");
});

/** A list at a server that knows only `acquireSubscription`. */
async function classicList(page: Page, rows: object[], token: string, options = {}) {
  const made = page.live<any>(options);
  (await made.application.asked()).answer(rows, token);
  await acquire(page, token);
  await idle();
  return made;
}

const old = new WeakSet<Page>();

async function acquire(page: Page, token: string) {
  if (!old.has(page)) (await page.server.called("openSubscriptions")).refuse("Unknown command");
  old.add(page); // it is asked once a connection
  const call = await page.server.called("acquireSubscription");
  expect(call.params).toEqual({ token });
  call.answer(null);
}

const delta = (message: object) => ({ type: "delta", delta: { model: "Task", ...message } });

test("an older server is used by its own calls", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).refuse("Unknown command");
  const acquiring = await page.server.called("acquireSubscription");
  expect(acquiring.params).toEqual({ token: "first" });
  page.server.tell(delta({ type: "insert", data: B }));
  expect(ids(list)).toEqual([1]);
  acquiring.answer(null);
  expect(list.status).toBe("live");
  expect(ids(list)).toEqual([1, 2]);
  page.server.tell(delta({ type: "update", oldData: A, newData: { ...A, title: "x" } }));
  page.server.tell(delta({ type: "delete", data: B }));
  page.server.tell(delta({ type: "insert", data: { ...A, title: "y" } }));
  expect(list.items).toEqual([{ ...A, title: "y" }]);
  page.server.tell(delta({ type: "update", oldData: A, newData: { ...A, id: 5 } }));
  expect(ids(list)).toEqual([5]);
  list.close();
  expect((await page.server.called("cancelSubscription")).params).toEqual({ token: "first" });
});

test("with an older server a list is fetched again after a drop", async () => {
  const page = new Page();
  const { list, application } = await classicList(page, [A], "first");
  page.server.drop();
  expect(list.status).toBe("reconnecting");
  (await page.server.called("openSubscriptions")).refuse("Unknown command");
  (await page.server.called("acquireSubscription")).refuse("No such subscription");
  (await application.asked()).answer([A, B], "second");
  (await page.server.called("acquireSubscription")).answer(null);
  expect(ids(list)).toEqual([1, 2]);
  expect(list.status).toBe("live");
});

test("with an older server a write is settled by a fetch", async () => {
  const page = new Page();
  const { list, application } = await classicList(page, [A], "first");
  const headers = { "X-Snorky-Keys": "k" };
  const gone = list.mutate({ id: 1, title: "x" }, Promise.resolve(new Response("", { headers })));
  (await application.asked()).answer([{ ...A, title: "x" }], "second");
  (await page.server.called("acquireSubscription")).answer(null);
  await gone;
  expect((await page.server.called("cancelSubscription")).params).toEqual({ token: "first" });
  expect(list.items).toEqual([{ ...A, title: "x" }]);
});

test("where it is not told which list a delta is for, those that it may be for are fetched", async () => {
  const page = new Page();
  const tasks = await classicList(page, [A], "t", { model: "Task" });
  const done = await classicList(page, [], "d", { model: "Task" });
  const people = await classicList(page, [A], "p", { model: "Person" });
  page.server.tell({
    type: "delta",
    delta: { model: "Person", type: "insert", data: B },
  });
  expect(ids(people.list)).toEqual([1, 2]);
  page.server.tell(delta({ type: "insert", data: { id: 3 } }));
  expect(ids(tasks.list)).toEqual([1]);
  await tasks.application.asked();
  await done.application.asked();
  expect(people.application.requests).toEqual([]);
});

test("a server that is replaced by a newer one is asked again", async () => {
  const page = new Page();
  const { list, application } = await classicList(page, [A], "first");
  page.server.drop();
  const refused = [{ recovered: false, reason: "invalid", after_ms: 0 }];
  (await page.server.called("openSubscriptions")).answer(refused);
  (await application.asked()).answer([A], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a", { live: true })]);
  page.server.tell(changes("p1", upsert(B)));
  expect(ids(list)).toEqual([1, 2]);
});

test("pages of the classic calls are told where the server ends a subscription", async () => {
  const page = new Page();
  const { datasync } = page.snorky.services;
  const needed: unknown[] = [];
  datasync.resyncNeeded.add((resync) => {
    needed.push(resync);
  });
  const acquired = datasync.acquireSubscription({ token: "t" });
  (await page.server.called("acquireSubscription")).answer(null);
  await acquired;
  const resync = { token: "t", reason: "reset", after_ms: 5 };
  page.server.tell({ type: "resync", ...resync }, { type: "resync", ...resync, token: "other" });
  expect(needed).toEqual([resync]);
  page.server.drop();
  await new Promise<void>((resolve) => page.snorky.connected.addOnce(() => resolve()));
  await idle();
  expect(needed).toHaveLength(1); // it has ended already
});
