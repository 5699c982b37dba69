import { expect, test, vi } from "vitest";
import { changes, idle, ids, opened, Page, removal, upsert, wentLive } from "./scripted.js";

const A = { id: 1, title: "a" };
const B = { id: 2, title: "b" };
const C = { id: 3, title: "c" };

const refused = (reason: string, after_ms = 0) => ({ recovered: false, reason, after_ms });
const resync = (reason: string, after_ms = 0, ...subscriptions: string[]) => ({
  type: "resync",
  subscriptions: subscriptions.length ? subscriptions : ["a"],
  reason,
  after_ms,
});

test("after a drop a list that was live resumes where it was, and shows what it missed at once", async () => {
  const page = new Page();
  const { list, application, renderings, statuses } = await page.liveList([A, B]);
  page.server.tell(changes("p1", upsert(C)), { type: "mark", position: "p2" });
  page.server.drop();
  expect(list.status).toBe("reconnecting");
  expect(list.items).toEqual([A, B, C]);
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "resume-a", since: "p2", live: true }]);
  expect(list.status).toBe("reconnecting");
  opening.answer([opened("a2", { live: true, changes: [removal(1)] })]);
  page.server.tell(changes("p3", upsert({ ...B, title: "x" })));
  await idle();
  expect(list.items).toEqual([{ ...B, title: "x" }, C]);
  expect(renderings.slice(-3)).toEqual([
    [A, B, C],
    [B, C],
    [{ ...B, title: "x" }, C],
  ]);
  expect(statuses.slice(-3)).toEqual(["live", "reconnecting", "live"]);
  expect(application.requests).toEqual([]);
});

test("each subscription resumes from its own position: answers to others do not move it", async () => {
  const page = new Page();
  await page.liveList([A], "a");
  await page.liveList([B], "b");
  page.server.tell(changes("p1", upsert(C, "a")));
  page.server.drop();
  let opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions.map((each: any) => each.since)).toEqual(["p1", "p1"]);
  // The first comes back, is told more, and the connection goes again.
  opening.answer([opened("a2", { live: true }), refused("slow", 60_000)]);
  page.server.tell(changes("p2", upsert(C, "a")));
  page.server.drop();
  opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "resume-a2", since: "p2", live: true }]);
});

test("40 lists come back in two calls, also where the connection goes between the answers", async () => {
  const page = new Page();
  for (let index = 0; index < 40; index++) await page.liveList([], `${index}`);
  page.server.tell({ type: "mark", position: "p1" });
  page.server.drop();
  const first = await page.server.called("openSubscriptions");
  const second = await page.server.called("openSubscriptions");
  expect(second.params.subscriptions).toHaveLength(8);
  first.answer(
    first.params.subscriptions.map(({ token }: any) =>
      opened(token, { position: "p5", live: true }),
    ),
  );
  page.server.drop();
  const again = [
    await page.server.called("openSubscriptions"),
    await page.server.called("openSubscriptions"),
  ].flatMap((call) => call.params.subscriptions);
  const positions = again.map((each: any) => each.since);
  expect(positions.filter((each) => each === "p5")).toHaveLength(32);
  expect(positions.filter((each) => each === "p1")).toHaveLength(8);
});

test("a lost answer is simply asked for again", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  await page.server.called("openSubscriptions");
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "first" }]);
  opening.answer([opened("a", { live: true })]);
  expect(list.status).toBe("live");
});

test("a list that was not live yet resumes without saying so, and keeps what it held", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).answer([opened("a")]);
  page.server.tell(changes("p1", upsert(B)));
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "resume-a", since: "p1" }]);
  opening.answer([opened("a2", { changes: [upsert(C)] })]);
  expect(list.items).toEqual([A]);
  page.server.tell(wentLive("p2", "a2"));
  expect(ids(list)).toEqual([1, 2, 3]);
});

test("a list that resumes while a source is late is late, not held", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  opening.answer([opened("a2", { changes: [upsert(B)] })]);
  expect(ids(list)).toEqual([1, 2]);
  expect(list.status).toBe("catching-up");
  page.server.tell(changes("p1", upsert(C)));
  expect(ids(list)).toEqual([1, 2, 3]);
  page.server.tell(wentLive("p2", "a2"));
  expect(list.status).toBe("live");
});

test("a late list resumes as one that was live", async () => {
  const page = new Page();
  await page.liveList([A]);
  page.server.tell({ type: "late", subscriptions: ["a"] });
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions[0].live).toBe(true);
});

const REASONS = ["invalid", "expired", "subject", "revoked", "trimmed", "reset", "slow", "behind"];

for (const reason of [...REASONS, "too-much", "too-many", "replaced"]) {
  test(`where it cannot resume (${reason}) the list fetches again, and never flashes empty`, async () => {
    const page = new Page();
    const { list, application, renderings, statuses } = await page.liveList([A, B]);
    const kept = list.items[1];
    page.server.drop();
    (await page.server.called("openSubscriptions")).answer([refused(reason)]);
    const request = await application.asked();
    expect(list.status).toBe("catching-up");
    request.answer([B, C], "second");
    const opening = await page.server.called("openSubscriptions");
    expect(opening.params.subscriptions).toEqual([{ token: "second" }]);
    opening.answer([opened("a2")]);
    page.server.tell(wentLive("p1", "a2"));
    expect(list.items).toEqual([B, C]);
    expect(list.items[0]).toBe(kept);
    expect(renderings.slice(-2)).toEqual([
      [A, B],
      [B, C],
    ]);
    expect(statuses.slice(-3)).toEqual(["reconnecting", "catching-up", "live"]);
  });
}

test("after a restart of a log in memory the page waits by itself for up to three seconds", async () => {
  const page = new Page();
  const { application } = await page.liveList([A]);
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  vi.spyOn(Math, "random").mockReturnValue(0.5);
  vi.useFakeTimers();
  try {
    opening.answer([refused("epoch")]);
    await vi.advanceTimersByTimeAsync(1400);
    expect(application.requests).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(200);
    expect(application.requests).toHaveLength(1);
  } finally {
    vi.useRealTimers();
    vi.restoreAllMocks();
  }
});

for (const reason of ["revoked", "expired", "replaced", "reset", "lost"]) {
  test(`a list that the server ends (${reason}) is fetched again after the time told`, async () => {
    const page = new Page();
    const { list, application } = await page.liveList([A]);
    vi.useFakeTimers();
    try {
      page.server.tell(resync(reason, 5000));
      expect(list.status).toBe("catching-up");
      await vi.advanceTimersByTimeAsync(4900);
      expect(application.requests).toHaveLength(0);
      await vi.advanceTimersByTimeAsync(200);
      expect(application.requests).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
    // Nothing of the old subscription's counts any more.
    page.server.tell(changes("p1", upsert(C)), wentLive("p2", "a"));
    (await application.asked()).answer([B], "second");
    (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
    expect(list.items).toEqual([B]);
    expect(list.status).toBe("live");
    expect(page.server.calls).toEqual([]);
  });
}

test("a resync for what the page never learnt is ignored, and so is what it does not know", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  page.server.tell(resync("replaced", 0, "elsewhere"), { type: "of the future", position: 1 });
  await idle();
  expect(list.status).toBe("live");
  expect(application.requests).toEqual([]);
});

test("a page that was replaced never opens the same token again", async () => {
  const page = new Page();
  const { list, application } = await page.liveList([A]);
  page.server.tell(resync("replaced"));
  // A web application behind a cache gives the old token again.
  (await application.asked()).answer([A], "token-a");
  const request = await application.asked();
  expect(page.server.calls).toEqual([]);
  request.answer([A, B], "fresh");
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "fresh" }]);
  opening.answer([opened("a2", { live: true })]);
  expect(ids(list)).toEqual([1, 2]);
});

test("where every token is refused the list asks more and more seldom", async () => {
  const page = new Page({ minReconnectDelay: 1, maxReconnectDelay: 8 });
  const { application } = page.live();
  vi.spyOn(Math, "random").mockReturnValue(0.999);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date", "performance"] });
  let asked = 0;
  const answerAll = () => {
    for (const request of application.requests.splice(0)) {
      asked++;
      request.answer([], `token ${asked}`);
    }
    for (const call of page.server.calls.splice(0)) call.answer([refused("invalid")]);
  };
  try {
    for (let tick = 0; tick < 600; tick++) {
      await vi.advanceTimersByTimeAsync(100);
      answerAll();
    }
  } finally {
    vi.useRealTimers();
    vi.restoreAllMocks();
  }
  expect(asked).toBeGreaterThan(6);
  expect(asked).toBeLessThan(14);
});

test("renewed tokens are those it resumes with", async () => {
  const page = new Page();
  await page.liveList([A]);
  page.server.tell({ type: "mark", position: "p1", tokens: { a: "renewed", other: "x" } });
  page.server.drop();
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "renewed", since: "p1", live: true }]);
});
