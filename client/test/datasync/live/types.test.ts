import { expectTypeOf, test } from "vitest";
import {
  DataSync,
  type LiveList,
  type LiveStatus,
  ResponseError,
  type Signal,
  Snorky,
} from "../../../src/index.js";

interface Task {
  id: number;
  title: string;
  done: boolean;
}

test("what a list holds is known to TypeScript", () => {
  // Never called: only its types are looked at.
  const story = (snorky: Snorky<{ datasync: typeof DataSync }>) => {
    const { datasync } = snorky.services;
    const tasks = datasync.live<Task>({ url: "/api/tasks/", order: ["-done", "title"] });
    expectTypeOf(tasks).toEqualTypeOf<LiveList<Task>>();
    expectTypeOf(tasks.items).toEqualTypeOf<readonly Task[]>();
    expectTypeOf(tasks.status).toEqualTypeOf<LiveStatus>();
    expectTypeOf(tasks.error).toEqualTypeOf<Error | null>();
    expectTypeOf(tasks.changed).toEqualTypeOf<Signal<[list: LiveList<Task>]>>();
    expectTypeOf(tasks.mutate({ id: 1, done: true }, fetch("/"))).toEqualTypeOf<Promise<void>>();
    expectTypeOf(tasks.subscribe((items) => items[0].title)).toEqualTypeOf<() => void>();
    expectTypeOf(new ResponseError(new Response()).status).toEqualTypeOf<number>();

    // @ts-expect-error -- no such field
    tasks.mutate({ id: 1, name: "x" }, fetch("/"));
    // @ts-expect-error -- the items are the list's: never changed in place
    tasks.items.push({ id: 1, title: "", done: false });
    // @ts-expect-error -- not an option
    datasync.live({ address: "/" });
    datasync.live<Task>({
      fetch: ({ headers, signal }) => fetch("/", { headers, signal }),
      // @ts-expect-error -- rows of another type
      rows: () => [{ id: "1" }],
    });
    datasync.live({ url: "/" }).items[0].anything.at.all;
  };
  expectTypeOf(story).toBeFunction();
});
