import { expect, test, vi } from "vitest";
import { expectConsoleErrors } from "../../setup.js";
import { changes, idle, ids, opened, Page, removal, upsert, wentLive } from "./scripted.js";

const A = { id: 1, title: "a" };
const B = { id: 2, title: "b" };
const C = { id: 3, title: "c" };

test("a list shows its rows as they come, and follows once it is live", async () => {
  const page = new Page();
  const { list, application, statuses } = page.live();
  expect(list.status).toBe("loading");
  expect(list.items).toEqual([]);
  const request = await application.asked();
  expect(request.headers["X-Snorky"]).toBe("Subscribe");
  request.answer([A], "first");
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params).toEqual({ subscriptions: [{ token: "first" }] });
  expect(list.items).toEqual([A]);
  expect(list.status).toBe("catching-up");

  opening.answer([opened("a")]);
  page.server.tell(changes("p1", upsert(B)), wentLive("p2"));
  expect(list.status).toBe("live");
  expect(list.items).toEqual([A, B]);
  page.server.tell(changes("p3", removal(1), upsert({ ...B, title: "new" })));
  expect(list.items).toEqual([{ ...B, title: "new" }]);
  expect(statuses).toEqual(["catching-up", "live"]);
});

test("what comes before it is live is held, folded by key, and shown in one step", async () => {
  const page = new Page();
  const { list, application, renderings } = page.live();
  (await application.asked()).answer([A, B], "first");
  const opening = await page.server.called("openSubscriptions");
  opening.answer([opened("a", { changes: [removal(1), upsert(C)] })]);
  page.server.tell(changes("p1", upsert({ ...C, title: "old" })), changes("p2", removal(2)));
  page.server.tell(changes("p3", upsert({ ...C, title: "newest" })));
  expect(list.items).toEqual([A, B]);
  expect(list.status).toBe("catching-up");
  page.server.tell(wentLive("p4"));
  expect(list.items).toEqual([{ ...C, title: "newest" }]);
  expect(renderings).toEqual([[A, B], [{ ...C, title: "newest" }]]);
});

test("where no pass is needed the answer itself is live, frames in the same turn come after", async () => {
  const page = new Page();
  const { list, application, renderings } = page.live();
  (await application.asked()).answer([A], "first");
  const opening = await page.server.called("openSubscriptions");
  opening.answer([opened("a", { live: true, changes: [upsert(B)] })]);
  page.server.tell(changes("p1", removal(1)));
  expect(list.items).toEqual([B]);
  expect(renderings).toEqual([[A], [A, B], [B]]);
});

test("rows that did not change stay the same objects, and so does the array", async () => {
  const page = new Page();
  const { list, renderings } = await page.liveList([A, B]);
  const [first, second] = list.items;
  page.server.tell(changes("p1", upsert({ ...B, title: "other" })));
  expect(list.items[0]).toBe(first);
  expect(list.items[1]).not.toBe(second);
  const before = list.items;
  const count = renderings.length;
  page.server.tell(changes("p2", upsert({ ...A })), changes("p3", removal(99)));
  expect(list.items).toBe(before);
  expect(renderings).toHaveLength(count);
});

test("a row that another list's item matches concerns only that list; one that moves, both at once", async () => {
  const page = new Page();
  const { list: left } = await page.liveList([A], "a");
  const { list: right } = await page.liveList([B], "b");
  page.server.tell(changes("p1", upsert(C, "b")));
  expect(ids(left)).toEqual([1]);
  const seen: unknown[] = [];
  left.changed.add(() => {
    seen.push([ids(left), ids(right)]);
  });
  page.server.tell(
    changes("p2", { model: "Task", key: 2, data: B, in: ["item-a"], out: ["item-b"] }),
  );
  expect(seen).toEqual([[[1, 2], [3]]]);
});

test("items with different fields of one row do not take it from each other", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  (await page.server.called("openSubscriptions")).answer([
    opened("a", { live: true, items: ["item-a", "item-b"] }),
  ]);
  page.server.tell(changes("p1", upsert({ ...A, title: "x" }, "a"), removal(1, "b")));
  expect(list.items).toEqual([{ ...A, title: "x" }]);
  page.server.tell(changes("p2", removal(1, "b"), upsert({ ...A, title: "y" }, "a")));
  expect(list.items).toEqual([{ ...A, title: "y" }]);
});

test("a source that is late takes the word live back, but changes go on being shown", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  page.server.tell({ type: "late", subscriptions: ["a", "unknown"] });
  expect(list.status).toBe("catching-up");
  page.server.tell(changes("p1", upsert(B)));
  expect(ids(list)).toEqual([1, 2]);
  page.server.tell(wentLive("p2"));
  expect(list.status).toBe("live");
});

test("all lists of a page are opened in one call", async () => {
  const page = new Page();
  const [one, two] = [page.live(), page.live()];
  const second = await two.application.asked();
  (await one.application.asked()).answer([A], "one");
  await idle();
  expect(page.server.calls).toEqual([]);
  second.answer([B], "two");
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "one" }, { token: "two" }]);
  opening.answer([
    opened("a", { live: true }),
    { recovered: false, reason: "expired", after_ms: 0 },
  ]);
  await idle();
  expect(one.list.status).toBe("live");
  expect(two.list.items).toEqual([B]);
  await two.application.asked(); // one that is refused does not harm the others
});

test("a list does not wait long for another that is slow", async () => {
  const page = new Page();
  page.live();
  const { application } = page.live();
  (await application.asked()).answer([A], "quick");
  const opening = await page.server.called("openSubscriptions");
  expect(opening.params.subscriptions).toEqual([{ token: "quick" }]);
});

test("more than 32 are split", async () => {
  const page = new Page();
  const all = Array.from({ length: 40 }, () => page.live());
  for (const [index, { application }] of all.entries()) {
    (await application.asked()).answer([], `token-${index}`);
  }
  const sizes = [];
  for (let call = 0; call < 2; call++) {
    const opening = await page.server.called("openSubscriptions");
    sizes.push(opening.params.subscriptions.length);
    opening.answer(
      opening.params.subscriptions.map(({ token }: any) => opened(token, { live: true })),
    );
  }
  expect(sizes).toEqual([32, 8]);
  expect(all.every(({ list }) => list.status === "live")).toBe(true);
});

test("a list that is closed says so to the server, and hears nothing more", async () => {
  const page = new Page();
  const { list, statuses } = await page.liveList([A]);
  list.close();
  const closing = await page.server.called("closeSubscriptions");
  expect(closing.params).toEqual({ subscriptions: ["a"] });
  expect(list.status).toBe("closed");
  page.server.tell(changes("p1", upsert(B)));
  expect(list.items).toEqual([A]);
  expect(statuses[statuses.length - 1]).toBe("closed");
  list.close();
  await Promise.all([list.refetch(), list.seen(["k"]), list.more()]);
  expect(page.server.calls).toEqual([]);
});

test("one that is closed while it is being opened is closed when the answer comes", async () => {
  const page = new Page();
  const { list, application } = page.live();
  (await application.asked()).answer([A], "first");
  const opening = await page.server.called("openSubscriptions");
  list.close();
  opening.answer([opened("a")]);
  expect((await page.server.called("closeSubscriptions")).params).toEqual({
    subscriptions: ["a"],
  });
});

test("one object is a list of one", async () => {
  const page = new Page();
  const { list, application } = page.live({ single: true });
  (await application.asked()).answer(A, "first");
  (await page.server.called("openSubscriptions")).answer([opened("a", { live: true })]);
  page.server.tell(changes("p1", upsert({ ...A, title: "other" })));
  expect(list.items).toEqual([{ ...A, title: "other" }]);
});

test("rows are found where pages of results have them, or where the page says", async () => {
  const page = new Page();
  const paged = page.live();
  (await paged.application.asked()).answer({ count: 1, results: [A] }, "x");
  const other = page.live({ rows: (json) => json.data.tasks });
  (await other.application.asked()).answer({ data: { tasks: [B] } }, "y");
  await idle();
  expect(paged.list.items).toEqual([A]);
  expect(other.list.items).toEqual([B]);
});

test("a key of several fields", async () => {
  const page = new Page();
  const row = { team: 1, name: "x", points: 0 };
  const { list } = await page.liveList([row], "a", { key: ["team", "name"] });
  const change = { model: "Score", key: [1, "x"], data: { ...row, points: 5 }, in: ["item-a"] };
  page.server.tell(changes("p1", { ...change, out: [] }));
  expect(list.items).toEqual([{ ...row, points: 5 }]);
  page.server.tell(changes("p2", removal([1, "x"])));
  expect(list.items).toEqual([]);
});

test("an answer that has no such key is an error that names it", async () => {
  const page = new Page();
  const { list, application } = page.live({ key: "pk" });
  (await application.asked()).answer([A], "x");
  await idle();
  expect(list.error?.message).toBe('Expected rows with "pk", got {"id":1,"title":"a"}');
});

test("new rows go where the order has them, else to the end", async () => {
  const page = new Page();
  const { list } = await page.liveList(
    [
      { id: 1, n: 3 },
      { id: 2, n: 1 },
    ],
    "a",
    { order: "-n" },
  );
  page.server.tell(changes("p1", upsert({ id: 3, n: 2 }), upsert({ id: 0, n: 1 })));
  expect(ids(list)).toEqual([1, 3, 0, 2]);
});

test("stores of Svelte and React need no adapter", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const { subscribe } = list;
  const run = vi.fn();
  const stop = subscribe(run);
  expect(run.mock.calls).toEqual([[list.items]]);
  page.server.tell(changes("p1", upsert(B)));
  expect(run).toHaveBeenLastCalledWith([A, B]);
  stop();
  page.server.tell(changes("p2", upsert(C)));
  expect(run).toHaveBeenCalledTimes(2);
});

test("a listener that fails keeps nothing from the others", async () => {
  const page = new Page();
  const { list } = await page.liveList([A]);
  const { list: other } = await page.liveList([B], "b");
  list.changed.add(() => {
    throw new Error("of the page");
  });
  const run = vi.fn();
  other.subscribe(run);
  page.server.tell(changes("p1", upsert(C, "a", "b")));
  expect(run).toHaveBeenLastCalledWith([B, C]);
  expectConsoleErrors(/of the page/);
});

test("what live() cannot work with is refused at once", () => {
  const page = new Page();
  const { datasync } = page.snorky.services;
  expect(() => datasync.live({})).toThrow("expects a url or fetch");
  expect(() => datasync.live({ url: "/", window: 50 })).toThrow("an order beside a window");
});
