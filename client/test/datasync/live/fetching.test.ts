import { expect, test, vi } from "vitest";
import { changes, idle, ids, opened, Page, upsert, wentLive } from "./scripted.js";

const A = { id: 1, title: "a" };
const B = { id: 2, title: "b" };
const C = { id: 3, title: "c" };

const refresh = (after_ms = 0, ...subscriptions: string[]) => ({
  type: "refresh",
  subscriptions: subscriptions.length ? subscriptions : ["a"],
  position: "refresh",
  after_ms,
});
const stale = (position: string, ...subscriptions: string[]) => ({
  type: "stale",
  subscriptions: subscriptions.length ? subscriptions : ["a"],
  position,
});

for (const why of ["refetch()", "refresh"]) {
  test(`${why}: the old subscription stays shown until the new one is live, then all at once`, async () => {
    const page = new Page();
    const { list, application, renderings, statuses } = await page.liveList([A, B]);
    const done = vi.fn();
    if (why === "refresh") page.server.tell(refresh());
    else list.refetch().then(done);
    const request = await application.asked();
    page.server.tell(changes("p1", upsert({ ...A, title: "newer" })));
    request.answer([A, { ...B, title: "rendered anew" }], "second");
    const opening = await page.server.called("openSubscriptions");
    expect(opening.params.subscriptions).toEqual([{ token: "second" }]);
    opening.answer([opened("a2", { changes: [upsert({ ...A, title: "newer" })] })]);
    page.server.tell(changes("p2", upsert({ ...A, title: "newest" })));
    expect(list.items).toEqual([{ ...A, title: "newest" }, B]);
    await idle();
    expect(done).not.toHaveBeenCalled();
    page.server.tell(wentLive("p3", "a2"));
    expect(list.items).toEqual([
      { ...A, title: "newest" },
      { ...B, title: "rendered anew" },
    ]);
    const closing = await page.server.called("closeSubscriptions");
    expect(closing.params).toEqual({ subscriptions: ["a"] });
    expect(renderings.map(([first]) => first.title)).toEqual(["a", "newer", "newest", "newest"]);
    expect(new Set(statuses.slice(1))).toEqual(new Set(["live"]));
    await idle();
    expect(done).toHaveBeenCalledTimes(why === "refresh" ? 0 : 1);
  });
}

test("a refresh waits as long as it is told, and is remembered over a drop", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  page.server.tell(refresh(30));
  expect(application.requests).toEqual([]);
  page.server.drop();
  const resuming = await page.server.called("openSubscriptions");
  resuming.answer([opened("a2", { live: true })]);
  (await application.asked()).answer([A], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a3")]);
  // Not changed over to: only what is shown resumes, and the fetch is begun anew.
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions.map((each: any) => each.token)).toEqual(["resume-a2"]);
  const request = await application.asked();
  opening.answer([opened("a4", { live: true })]);
  request.answer([B], "third");
  (await page.server.called("openSubscriptions")).answer([opened("a5", { live: true })]);
  expect(list.items).toEqual([B]);
  expect((await page.server.called("closeSubscriptions")).params.subscriptions).toEqual(["a4"]);
});

test("a resumed list is told of a refresh that it missed", async () => {
  const page = new Page();
  const { application } = await page.liveList([A]);
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  opening.answer([opened("a2", { live: true, refresh: 0 })]);
  await application.asked();
});

test("a response that was asked for before the list ended is not waited for", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  list.refetch();
  const early = await application.asked();
  page.server.tell({ type: "resync", subscriptions: ["a"], reason: "reset", after_ms: 0 });
  const late = await application.asked();
  expect(early.signal.aborted).toBe(true);
  late.answer([B], "late");
  expect((await page.server.called("openSubscriptions")).params.subscriptions).toEqual([
    { token: "late" },
  ]);
  expect(list.items).toEqual([B]);
});

test("where the list ends, a fetch that waits to be live is given up with it", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  list.refetch();
  (await application.asked()).answer([B], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2")]);
  page.server.tell({ type: "resync", subscriptions: ["a"], reason: "revoked", after_ms: 0 });
  expect((await page.server.called("closeSubscriptions")).params.subscriptions).toEqual(["a2"]);
  (await application.asked()).answer([C], "third");
  await idle();
  expect(list.items).toEqual([C]);
});

test("what the web application says with another status can be read, and is asked again", async () => {
  const page = new Page();
  const { list, application } = page.live();
  const request = await application.asked();
  request.status(400);
  await idle();
  expect(list.error).toMatchObject({ name: "ResponseError", status: 400 });
  expect(request.signal.aborted).toBe(false); // it would take the body away
  (await application.asked()).answer([{ id: 1 }], "token");
  await idle();
  expect(list.error).toBeNull();
});

for (const code of [401, 403, 404]) {
  test(`a refusal (${code}) closes the list and empties it`, async () => {
    const page = new Page();
    const { list, application } = await page.liveList([A]);
    list.refetch();
    (await application.asked()).status(code);
    await page.server.called("closeSubscriptions");
    expect(list.status).toBe("closed");
    expect(list.items).toEqual([]);
    expect(list.error).toMatchObject({ name: "ResponseError", status: code });
  });
}

test("failures keep the rows, are told, and tried again", async () => {
  const page = new Page();
  const { list, application, statuses } = await page.liveList([A]);
  page.server.tell({ type: "resync", subscriptions: ["a"], reason: "expired", after_ms: 0 });
  (await application.asked()).fail();
  let request = await application.asked();
  expect(list.items).toEqual([A]);
  expect(list.error?.message).toBe("Failed to fetch");
  request.status(503);
  request = await application.asked();
  expect(list.error?.message).toMatch(/got 503/);
  request.answer("no rows", "x");
  request = await application.asked();
  expect(list.error?.message).toBe('Expected rows with "id", got "no rows"');
  request.answer([A, B], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
  expect(list.error).toBeNull();
  expect(ids(list)).toEqual([1, 2]);
  expect(statuses.slice(-3)).toEqual(["live", "catching-up", "live"]);
});

test("an answer without a token is shown, and asked for again", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A]);
  const request = await application.asked();
  expect(list.items).toEqual([A]);
  expect(list.status).toBe("catching-up");
  request.answer([A, B], undefined, { "X-Subscription": "second" });
  (await page.server.called("openSubscriptions")).answer([opened("a", { live: true })]);
  expect(list.status).toBe("live");
});

test("a live list does not show an answer without a token", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  list.refetch();
  (await application.asked()).answer([]);
  const request = await application.asked();
  expect(list.items).toEqual([A]);
  expect(list.status).toBe("live");
  request.answer([B], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
  expect(list.items).toEqual([B]);
});

test("a request that is never answered is given up in time", async () => {
  const page = new Page({ callTimeout: 0.02 });
  const { application } = page.live();
  const request = await application.asked();
  await application.asked();
  expect(request.signal.aborted).toBe(true);
});

test("a list that others touch is asked for again, one request after the other", async () => {
  const page = new Page();
  const { list, application, renderings } = await page.liveList([A, B]);
  page.server.tell(stale("p1"));
  const first = await application.asked();
  page.server.tell(stale("p2"), stale("p3"));
  await idle();
  expect(application.requests).toEqual([]);
  first.answer([A, C]);
  const second = await application.asked();
  expect(list.status).toBe("live");
  second.answer([A, C]);
  await idle();
  expect(application.requests).toEqual([]);
  expect(page.server.calls).toEqual([]);
  expect(renderings).toEqual([
    [A, B],
    [A, C],
  ]);
});

test("a refetch list resumes from where its last successful fetch began", async () => {
  const page = new Page();
  const { application } = await page.liveList([A]);
  page.server.tell(stale("p1"));
  const first = await application.asked();
  page.server.tell({ type: "mark", position: "p2" });
  first.answer([A]);
  await idle();
  page.server.tell(stale("p3"));
  await application.asked(); // never answered
  page.server.tell({ type: "mark", position: "p4" });
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "resume-a", since: "p1", live: true }]);
});

test("one that the server calls a refetch list resumes from where it was opened", async () => {
  const page = new Page();
  const { application } = page.live();
  (await application.asked()).answer([A], "first");
  const answer = opened("a", { live: true, stale: false, position: "p0" });
  (await page.server.called("openSubscriptions")).answer([answer]);
  page.server.tell({ type: "mark", position: "p1" });
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions[0].since).toBe("p0");
});

test("one that was touched before it was opened, or while it was away, is asked for again", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).answer([
    opened("a", { live: true, stale: true }),
  ]);
  (await application.asked()).answer([B]);
  await idle();
  expect(list.items).toEqual([B]);
  page.server.drop();
  (await page.server.called("openSubscriptions")).answer([
    opened("a2", { live: true, stale: true }),
  ]);
  (await application.asked()).answer([C]);
  await idle();
  expect(list.items).toEqual([C]);
});

test("a refetch list that cannot be asked for is not live until it can", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  page.server.tell(stale("p1"));
  (await application.asked()).status(500);
  const request = await application.asked();
  expect(list.status).toBe("catching-up");
  request.answer([B]);
  await idle();
  expect(list.status).toBe("live");
  expect(list.items).toEqual([B]);
});

test("an older answer of a refetch list never takes the place of a newer one", async () => {
  const page = new Page();
  const { list, application, renderings } = await page.liveList([A]);
  list.refetch();
  (await application.asked()).answer([B], "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2")]);
  page.server.tell(stale("p1", "a", "a2"));
  (await application.asked()).answer([C]);
  await idle();
  page.server.tell(wentLive("p2", "a2"));
  expect(list.items).toEqual([C]);
  expect(renderings).toEqual([[A], [C]]);
  expect((await page.server.called("closeSubscriptions")).params.subscriptions).toEqual(["a"]);
});

test("without a connection a list that will resume asks for nothing, but when it is told to", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  page.server.tell(refresh());
  const request = await application.asked();
  page.server.isUp = false;
  page.server.drop();
  request.fail();
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(application.requests).toEqual([]);
  list.refetch();
  (await application.asked()).answer([B], "second");
  await idle();
  expect(list.items).toEqual([A]);
  page.server.isUp = true;
  const opening = await page.server.called("openSubscriptions");
  const [first, second] = opening.params.subscriptions;
  expect([first.token, second]).toEqual(["resume-a", { token: "second" }]);
  opening.answer([opened("a2", { live: true }), opened("a3", { live: true })]);
  expect(list.items).toEqual([B]);
});
