import { expect, test } from "vitest";
import { changes, idle, ids, opened, Page, removal, upsert, wentLive } from "./scripted.js";

/** Rows n, n-1, ... as the web application has them, newest first. */
const newest = (n: number, count: number) =>
  Array.from({ length: Math.min(n, count) }, (_, index) => row(n - index));
const row = (n: number) => ({ id: n, created: n });
const range = (from: number, to: number) =>
  Array.from({ length: from - to + 1 }, (_, index) => from - index);

const OPTIONS = { order: "-created", window: 10 };

async function windowOf(page: Page, rows: unknown, options = {}) {
  const made = page.live({ ...OPTIONS, ...options });
  const request = await made.application.asked();
  request.answer(rows, "first");
  (await page.server.called("openSubscriptions")).answer([opened("a", { live: true })]);
  await idle();
  return { ...made, request };
}

test("a window shows so many rows, and asks for some more", async () => {
  const page = new Page();
  const { list, request } = await windowOf(page, newest(100, 15));
  expect(request.limit).toBe(15);
  expect(ids(list)).toEqual(range(100, 91));
  expect(list.hasMore).toBe(true);
  expect(list.status).toBe("live");
});

test("a new row comes in at its place, and the last one goes", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, newest(100, 15));
  page.server.tell(changes("p1", upsert(row(101)), upsert({ id: 200, created: 95.5 })));
  expect(ids(list)).toEqual([101, 100, 99, 98, 97, 96, 200, 95, 94, 93]);
  expect(application.requests).toEqual([]);
});

test("rows that leave are replaced by those kept for that, then the list is fetched again", async () => {
  const page = new Page();
  const { list, application, renderings } = await windowOf(page, newest(100, 15));
  // Those beyond the last one known do not count.
  page.server.tell(changes("p0", upsert(row(5)), upsert(row(4)), upsert(row(3))));
  page.server.tell(changes("p1", removal(100), removal(97)));
  expect(ids(list)).toEqual([99, 98, 96, 95, 94, 93, 92, 91, 90, 89]);
  expect(application.requests).toEqual([]);
  page.server.tell(changes("p2", removal(99)));
  const request = await application.asked();
  page.server.tell(changes("p3", removal(98), upsert(row(101))));
  request.answer(newest(96, 15), "second");
  const opening = await page.server.called("openSubscriptions");
  opening.answer([opened("a2", { changes: [removal(98), upsert(row(101))] })]);
  page.server.tell(wentLive("p4", "a2"));
  expect(ids(list)).toEqual([101, ...range(96, 88)]);
  expect(renderings.every((items) => items.length === 10)).toBe(true);
});

test("what lies beyond the last row known is not shown: rows before it would be missing", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, newest(100, 15));
  page.server.tell(changes("p1", upsert(row(5))));
  const gone = range(100, 96).map((id) => removal(id));
  page.server.tell(changes("p2", ...gone));
  expect(ids(list)).toEqual(range(95, 86)); // and not 5 behind them
  page.server.tell(changes("p3", removal(95), removal(94)));
  expect(ids(list)).toEqual(range(93, 86));
  (await application.asked()).answer(newest(93, 15), "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
  expect(ids(list)).toEqual(range(93, 84));
});

test("a row that moves beyond the last row known is gone, one that moves before it is there", async () => {
  const page = new Page();
  const { list } = await windowOf(page, newest(100, 15));
  page.server.tell(
    changes("p1", upsert({ id: 100, created: 1 }), upsert({ id: 3, created: 99.5 })),
  );
  expect(ids(list)).toEqual([3, ...range(99, 91)]);
});

test("where there are no more rows than those, all are shown as they come", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, newest(8, 15));
  expect(list.hasMore).toBe(false);
  page.server.tell(changes("p1", upsert({ id: 50, created: -1 })));
  expect(ids(list)).toEqual([...range(8, 1), 50]);
  page.server.tell(changes("p2", ...range(8, 3).map((id) => removal(id))));
  expect(ids(list)).toEqual([2, 1, 50]);
  expect(application.requests).toEqual([]);
});

test("more() shows what is there, or fetches it by a new token while the old rows stay", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, newest(100, 15));
  const more = list.more();
  const request = await application.asked();
  expect(request.limit).toBe(25);
  request.answer(newest(100, 25), "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2")]);
  await idle();
  expect(list.status).toBe("live");
  page.server.tell(changes("p1", upsert(row(101))), wentLive("p2", "a2"));
  await more;
  expect(ids(list)).toEqual(range(101, 82));

  // Where the web application gave more than it was asked for there is nothing to fetch.
  const other = await windowOf(new Page(), newest(100, 28));
  await other.list.more();
  expect(ids(other.list)).toEqual(range(100, 81));
  expect(other.application.requests).toEqual([]);
});

test("more() is not lost on rows that are under way, which were asked for before", async () => {
  const page = new Page();
  const made = page.live(OPTIONS);
  let shown = false;
  made.list.more().then(() => (shown = true));
  const request = await made.application.asked();
  request.answer(newest(100, request.limit!), "first");
  (await page.server.called("openSubscriptions")).answer([opened("a", { live: true })]);
  await idle();
  expect(shown).toBe(false);
  const second = await made.application.asked();
  expect(second.limit).toBe(25);
  second.answer(newest(100, 25), "second");
  (await page.server.called("openSubscriptions")).answer([opened("a2", { live: true })]);
  await idle();
  expect(shown).toBe(true);
  expect(ids(made.list)).toEqual(range(100, 81));

  // There are enough rows, but those that will take their place are fewer.
  const other = new Page();
  const { list, application } = await windowOf(other, newest(100, 28));
  list.refetch();
  const refetched = await application.asked();
  expect(refetched.limit).toBe(15);
  refetched.answer(newest(100, 15), "second");
  const opening = await other.server.called("openSubscriptions");
  list.more();
  opening.answer([opened("b2", { live: true })]);
  await other.server.called("closeSubscriptions");
  const wider = await application.asked();
  expect(wider.limit).toBe(25);
  wider.answer(newest(100, 25), "third");
  (await other.server.called("openSubscriptions")).answer([opened("b3", { live: true })]);
  await idle();
  expect(ids(list)).toEqual(range(100, 81));
});

test("pages of the web application's own size are the bound, for as long as it says there are more", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, { next: "/?page=2", results: newest(100, 6) });
  expect(ids(list)).toEqual(range(100, 95));
  expect(list.hasMore).toBe(true);
  page.server.tell(changes("p1", upsert(row(5))));
  expect(ids(list)).toEqual(range(100, 95));
  expect(application.requests).toEqual([]);

  const last = await windowOf(new Page(), { next: null, results: newest(12, 12) });
  await last.list.more();
  expect(last.list.hasMore).toBe(false);
  expect(ids(last.list)).toEqual(range(12, 1));
});

test("rows that nobody looks at are forgotten", async () => {
  const page = new Page();
  const { list, application } = await windowOf(page, newest(100, 15));
  for (let n = 101; n <= 200; n++) page.server.tell(changes(`p${n}`, upsert(row(n))));
  expect(ids(list)).toEqual(range(200, 191));
  const gone = range(200, 160).map((id) => removal(id));
  page.server.tell(changes("p", ...gone));
  // It forgot those: what it would show now it must ask for.
  (await application.asked()).answer(newest(159, 15), "second");
  expect(list.items.length).toBeLessThan(10);
});

test("a write that moves a row beyond the last one known takes it out of sight", async () => {
  const page = new Page();
  const { list } = await windowOf(page, newest(100, 15));
  list.mutate({ id: 100, created: 1 }, new Promise(() => {}));
  expect(ids(list)).toEqual(range(99, 90));
  list.mutate({ title: "new" } as any, new Promise(() => {}));
  expect(list.items[0].title).toBe("new");
});

test("the number of rows is asked for as ?limit=, or as the page says", async () => {
  const page = new Page();
  const asked: string[] = [];
  const original = globalThis.fetch;
  globalThis.fetch = (async (url: string, request: RequestInit) => {
    asked.push(`${url} ${(request.headers as any)["X-Snorky"]} ${(request.headers as any).team}`);
    return new Response("[]");
  }) as typeof fetch;
  const urls = ["/tasks/", "/tasks/?team=1", (limit?: number) => `/tasks/?page_size=${limit}`];
  const lists = urls.map((url, index) =>
    page.snorky.services.datasync.live({
      ...OPTIONS,
      url,
      headers: index ? () => ({ team: "b" }) : { team: "a" },
    }),
  );
  await idle();
  for (const list of lists) list.close();
  globalThis.fetch = original;
  expect(asked.slice(0, 3)).toEqual([
    "/tasks/?limit=15 Subscribe a",
    "/tasks/?team=1&limit=15 Subscribe b",
    "/tasks/?page_size=15 Subscribe b",
  ]);
});
