import { expect, test, vi } from "vitest";
import { changes, idle, ids, opened, Page, removal, upsert, wentLive } from "./scripted.js";

const A = { id: 1, title: "a", done: false };
const B = { id: 2, title: "b", done: false };

/** A promise that the test settles. */
function answerOf() {
  let resolve!: (value: unknown) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  const ok = (body: unknown = null, ...keys: string[]) => {
    const headers: Record<string, string> = keys.length ? { "X-Snorky-Keys": keys.join(",") } : {};
    resolve(new Response(JSON.stringify(body), { headers }));
    return idle();
  };
  return { promise, resolve, reject, ok };
}

test("a write is shown at once, and settled when the list has applied it: nothing flickers", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A, B]);
  const write = answerOf();
  const gone = vi.fn();
  list.mutate({ id: 1, done: true }, write.promise).then(gone);
  const shown = list.items[0];
  expect(shown).toEqual({ ...A, done: true });
  await write.ok(null, "k1", "k2");
  const waiting = await page.server.called("awaitKeys");
  expect(waiting.params).toEqual({ keys: ["k1", "k2"] });
  page.server.tell(changes("p1", upsert({ ...A, done: true })));
  await idle();
  expect(gone).not.toHaveBeenCalled();
  waiting.answer("p1");
  await idle();
  expect(gone).toHaveBeenCalled();
  expect(list.items[0]).toBe(shown);
  expect(renderings.map((items) => items.map((row) => row.done))).toEqual([
    [false, false],
    [true, false],
  ]);
  // From now on the server alone says what the row is.
  page.server.tell(changes("p2", upsert(A)));
  expect(list.items[0]).toEqual(A);
});

test("a write that touches nothing that the list shows is gone with the position", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  (await page.server.called("awaitKeys")).answer("p9");
  expect(list.items).toEqual([A]);
});

for (const how of ["rejected", "refused"]) {
  test(`a write that is ${how} is taken back, and the error told`, async () => {
    const page = new Page();
    const { list, renderings } = await page.liveList([A]);
    const write = answerOf();
    const gone = list.mutate({ id: 1, done: true }, write.promise);
    if (how === "rejected") write.reject(new Error("offline"));
    else write.resolve(new Response('{"done": "no"}', { status: 400 }));
    await gone;
    expect(list.items).toEqual([A]);
    expect(renderings).toHaveLength(3);
    if (how === "rejected") expect(list.error?.message).toBe("offline");
    else expect(await (list.error as any).response.json()).toEqual({ done: "no" });
    list.mutate({ id: 1, done: true }, answerOf().promise);
    expect(list.error).toBeNull();
  });
}

test("without keys, or with unknown ones, the list is fetched once, then the write is gone", async () => {
  const page = new Page();
  const { list, application, renderings } = await page.liveList([A, B]);
  const [first, second] = [answerOf(), answerOf()];
  list.mutate({ id: 1, done: true }, first.promise);
  await first.ok();
  const request = await application.asked();
  list.mutate({ id: 2, done: true }, second.promise);
  await second.ok(null, "k");
  (await page.server.called("awaitKeys")).refuse("Unknown keys");
  request.answer([{ ...A, done: true }, B], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
  await page.server.called("closeSubscriptions");
  expect(list.items[1].done).toBe(true); // that fetch may have begun before the write
  (await application.asked()).answer([{ ...A, done: true }, B], "third");
  (await page.server.called("openSubscriptions")).answer([opened("a3", { live: true })]);
  expect(list.items).toEqual([{ ...A, done: true }, B]);
  expect(renderings.map((items) => items.map((row) => row.done))).toEqual([
    [false, false],
    [true, false],
    [true, true],
    [true, false],
  ]);
});

test("a removed row is gone at once, and back where that is refused", async () => {
  const page = new Page();
  const { list } = await page.liveList([A, B]);
  const write = answerOf();
  list.mutate({ id: 1 }, write.promise, { remove: true });
  expect(list.items).toEqual([B]);
  page.server.tell(changes("p1", upsert({ ...A, title: "x" })));
  expect(list.items).toEqual([B]);
  write.reject(new Error("no"));
  await idle();
  expect(list.items).toEqual([{ ...A, title: "x" }, B]);

  const other = answerOf();
  list.mutate({ id: 2 }, other.promise, { remove: true });
  await other.ok(null, "k");
  page.server.tell(changes("p2", removal(2)));
  (await page.server.called("awaitKeys")).answer("p2");
  expect(ids(list)).toEqual([1]);
});

test("a write never brings back a row that left, nor one that was never there", async () => {
  const page = new Page();
  const { list } = await page.liveList([A, B]);
  list.mutate({ id: 1, done: true }, answerOf().promise);
  page.server.tell(changes("p1", removal(1)));
  expect(list.items).toEqual([B]);
  list.mutate({ id: 1, title: "again" }, answerOf().promise);
  list.mutate({ id: 99, title: "unknown" }, answerOf().promise);
  expect(list.items).toEqual([B]);
});

test("a new row has a temporary key until the answer tells its own", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ title: "new", done: false }, write.promise);
  const temporary = list.items[1].id;
  expect(list.items[1]).toEqual({ id: temporary, title: "new", done: false });
  await write.ok({ id: 7, title: "new" }, "k");
  expect(list.items[1]).toEqual({ id: 7, title: "new", done: false });
  const shown = list.items[1];
  page.server.tell(changes("p1", upsert({ id: 7, title: "new", done: false })));
  expect(list.items[1]).toBe(shown);
  (await page.server.called("awaitKeys")).answer("p1");
  expect(ids(list)).toEqual([1, 7]);
  expect(renderings.map((items) => items.map((row) => row.id))).toEqual([
    [1],
    [1, temporary],
    [1, 7],
  ]);
});

test("the page may read the response itself", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const response = new Response('{"id": 7}', { headers: { "X-Snorky-Keys": "k" } });
  const promise = Promise.resolve(response);
  list.mutate({ title: "new" }, promise);
  expect(await (await promise).json()).toEqual({ id: 7 });
  await idle();
  expect(ids(list)).toEqual([1, 7]);
});

test("a new row that comes before the answer to its write is not there twice", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ title: "new" }, write.promise);
  page.server.tell(changes("p1", upsert({ id: 7, title: "new", done: false })));
  expect(ids(list)).toEqual([1, 7]);
  await write.ok({ id: 7, title: "new" }, "k");
  (await page.server.called("awaitKeys")).answer("p1");
  expect(ids(list)).toEqual([1, 7]);
  expect(renderings.map((items) => items.length)).toEqual([1, 2, 2]);
});

test("two equal new rows are two", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList<any>([]);
  const [first, second] = [answerOf(), answerOf()];
  list.mutate({ title: "milk" }, first.promise);
  list.mutate({ title: "milk" }, second.promise);
  page.server.tell(changes("p1", upsert({ id: 8, title: "milk" })));
  expect(list.items).toHaveLength(2);
  // It was the second.
  await second.ok({ id: 8 }, "k8");
  await first.ok({ id: 7 }, "k7");
  expect(ids(list).sort()).toEqual([7, 8]);
  page.server.tell(changes("p2", upsert({ id: 7, title: "milk" })));
  expect(ids(list).sort()).toEqual([7, 8]);
  expect(renderings.slice(1).every((items) => items.length === 2 || items.length === 1)).toBe(true);
});

test("a new row that came and left before its answer stays away", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ title: "new" }, write.promise);
  page.server.tell(changes("p1", upsert({ id: 7, title: "changed" })));
  page.server.tell(changes("p2", removal(7)));
  await write.ok({ id: 7 }, "k");
  expect(ids(list)).toEqual([1]);
});

test("a new row that the list does not match goes when the write is settled", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ title: "elsewhere" }, write.promise);
  await write.ok({ id: 7 }, "k");
  expect(ids(list)).toEqual([1, 7]);
  (await page.server.called("awaitKeys")).answer("p1");
  expect(ids(list)).toEqual([1]);
});

test("what is written to a new row meanwhile follows it", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ title: "new" }, write.promise);
  list.mutate({ id: list.items[1].id, done: true }, answerOf().promise);
  expect(list.items[1]).toMatchObject({ title: "new", done: true });
  await write.ok({ id: 7 }, "k");
  expect(list.items[1]).toEqual({ id: 7, title: "new", done: true });
  page.server.tell(changes("p1", upsert({ id: 7, title: "new", done: false })));
  expect(list.items[1]).toEqual({ id: 7, title: "new", done: true });
});

test("of two writes to one field the earlier never comes to light again", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A]);
  const [first, second] = [answerOf(), answerOf()];
  list.mutate({ id: 1, title: "one" }, first.promise);
  list.mutate({ id: 1, title: "two" }, second.promise);
  await second.ok(null, "k2");
  page.server.tell(changes("p1", upsert({ ...A, title: "one" })));
  page.server.tell(changes("p2", upsert({ ...A, title: "two" })));
  (await page.server.called("awaitKeys")).answer("p2");
  expect(list.items[0].title).toBe("two");
  await first.ok(null, "k1");
  (await page.server.called("awaitKeys")).answer("p2");
  expect(renderings.map(([row]) => row.title)).toEqual(["a", "one", "two"]);
});

test("where the first of two is refused the second stays", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A]);
  const [first, second] = [answerOf(), answerOf()];
  list.mutate({ id: 1, title: "one", done: true }, first.promise);
  list.mutate({ id: 1, title: "two" }, second.promise);
  first.reject(new Error("no"));
  await idle();
  expect(list.items).toEqual([{ ...A, title: "two" }]);
  page.server.tell(changes("p1", upsert({ ...A, title: "two" })));
  await second.ok(null, "k2");
  (await page.server.called("awaitKeys")).answer("p1");
  expect(list.items).toEqual([{ ...A, title: "two" }]);
  expect(renderings).toHaveLength(4);
});

test("writes to different fields settle each by itself", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const second = answerOf();
  list.mutate({ id: 1, title: "mine" }, answerOf().promise);
  list.mutate({ id: 1, done: true }, second.promise);
  await second.ok(null, "k2");
  (await page.server.called("awaitKeys")).answer("p1");
  page.server.tell(changes("p2", upsert({ ...A, done: false })));
  expect(list.items).toEqual([{ ...A, title: "mine" }]);
});

test("a write whose connection goes before it is settled is asked for on the next", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A]);
  const write = answerOf();
  list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  await page.server.called("awaitKeys");
  page.server.drop();
  expect(list.items[0].done).toBe(true);
  const opening = await page.server.called("openSubscriptions");
  const waiting = await page.server.called("awaitKeys");
  // Even where the answers come the other way round.
  waiting.answer("p2");
  expect(list.items[0].done).toBe(true);
  opening.answer([opened("a2", { live: true, changes: [upsert({ ...A, done: true })] })]);
  await idle();
  expect(list.items).toEqual([{ ...A, done: true }]);
  expect(renderings).toHaveLength(2);
});

test("what arrived on a connection that went before the list was live must arrive anew", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).answer([opened("a")]);
  const write = answerOf();
  list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  (await page.server.called("awaitKeys")).answer("p1");
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  const waiting = await page.server.called("awaitKeys");
  opening.answer([opened("a2")]); // of a process that is behind
  page.server.tell(wentLive("p0", "a2"));
  expect(list.items[0].done).toBe(true);
  page.server.tell(changes("p1", upsert({ ...A, done: true })));
  waiting.answer("p1");
  expect(list.items).toEqual([{ ...A, done: true }]);
  await idle();
  expect(page.server.calls).toEqual([]);
});

test("an overlay over what is held stays until the list is live", async () => {
  const page = new Page();
  const { list, application, renderings } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).answer([opened("a")]);
  const write = answerOf();
  list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  page.server.tell(changes("p1", upsert({ ...A, done: true })));
  (await page.server.called("awaitKeys")).answer("p1");
  expect(list.items[0].done).toBe(true);
  page.server.tell(wentLive("p2"));
  expect(renderings.map(([row]) => row.done)).toEqual([false, true]);
});

test("a refetch list lets go of a write when a fetch that began after it has arrived", async () => {
  const page = new Page();
  const { list, application, renderings } = await page.liveList([A]);
  page.server.tell({ type: "stale", subscriptions: ["a"], position: "p1" });
  const early = await application.asked();
  const write = answerOf();
  list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  early.answer([A]);
  (await page.server.called("awaitKeys")).answer("p2");
  expect(list.items[0].done).toBe(true);
  (await application.asked()).answer([{ ...A, done: true }]);
  await idle();
  expect(list.items).toEqual([{ ...A, done: true }]);
  expect(renderings.map(([row]) => row.done)).toEqual([false, true]);
  expect(application.requests).toEqual([]);
});

test("a reset between write and settlement: the fetch that follows settles it", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  const write = answerOf();
  const gone = list.mutate({ id: 1, done: true }, write.promise);
  await write.ok(null, "k");
  page.server.tell({ type: "resync", subscriptions: ["a"], reason: "reset", after_ms: 0 });
  (await application.asked()).answer([{ ...A, done: true, title: "x" }], "second");
  await gone;
  expect(list.items).toEqual([{ ...A, done: true, title: "x" }]);
});

test("programs wait for their keys the same way", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const done = vi.fn();
  list.seen("k1, k2").then(done);
  const waiting = await page.server.called("awaitKeys");
  expect(waiting.params).toEqual({ keys: ["k1", "k2"] });
  await idle();
  expect(done).not.toHaveBeenCalled();
  waiting.answer("p1");
  await idle();
  expect(done).toHaveBeenCalled();
});

test("a list that is closed lets go of its writes", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const gone = list.mutate({ id: 1, done: true }, answerOf().promise);
  list.close();
  await gone;
  expect(list.items).toEqual([A]);
  await list.mutate({ id: 1, done: true }, Promise.reject(new Error("too late")));
  expect(list.items).toEqual([A]);
});

test("what is no Response settles by a fetch, and may be the new row itself", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  list.mutate({ title: "new" }, Promise.resolve({ id: 7, title: "new" }));
  await application.asked();
  expect(ids(list)).toEqual([1, 7]);
});
