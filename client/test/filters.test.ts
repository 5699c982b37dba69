import { build } from "esbuild";
import { expect, expectTypeOf, test } from "vitest";
import { and, field, type FieldOf, fields, type Filter, not, or } from "../src/filters.js";

interface Task {
  id: number;
  title: string;
  done: boolean;
  due: Date | null;
  tags: string[];
  state: "open" | "done";
  owner: { name: string; team: { id: number } | null };
}

const task = fields<Task>();

test.each<[Filter, unknown]>([
  [task("id").eq(3), ["==", "id", 3]],
  [task("due").ne(null), ["!=", "due", null]],
  [task("id").lt(3), ["<", "id", 3]],
  [task("id").le(3), ["<=", "id", 3]],
  [task("due").gt("2026-01-01T00:00:00Z"), [">", "due", "2026-01-01T00:00:00Z"]],
  [task("title").ge("m"), [">=", "title", "m"]],
  [task("state").in(["open", "done"]), ["in", "state", ["open", "done"]]],
  [task("due").isNull(), ["isnull", "due", true]],
  [task("due").isNull(false), ["isnull", "due", false]],
  [task("owner.name").startsWith("An"), ["startswith", "owner.name", "An"]],
  [task("owner.team.id").eq(7), ["==", "owner.team.id", 7]],
  [task("tags").eq(["a"]), ["==", "tags", ["a"]]],
  [and(), ["and"]],
  [or(task("id").eq(1), task("done").eq(true)), ["or", ["==", "id", 1], ["==", "done", true]]],
  [not(and(field("x").eq(1))), ["not", ["and", ["==", "x", 1]]]],
])("%j is plain JSON", (built, json) => {
  expect(JSON.parse(JSON.stringify(built))).toEqual(json);
});

test("fields and values have the types of the row", () => {
  expectTypeOf<FieldOf<Task>>().toEqualTypeOf<
    | "id"
    | "title"
    | "done"
    | "due"
    | "tags"
    | "state"
    | "owner"
    | "owner.name"
    | "owner.team"
    | "owner.team.id"
  >();
  // @ts-expect-error no such field
  task("name");
  // @ts-expect-error no such field in there
  task("owner.age");
  // @ts-expect-error not of the field's type
  task("id").eq("3");
  // @ts-expect-error none of the field's values
  task("state").eq("closed");
  // @ts-expect-error booleans have no order
  task("done").lt(true);
  // @ts-expect-error numbers have no start
  task("id").startsWith("1");
  // @ts-expect-error an operator that there is not
  const unknown: Filter = ["=~", "title", "a"];
  expect(unknown).toBeDefined();
});

test("a list of values is copied", () => {
  const states: ("open" | "done")[] = ["open"];
  const filter = task("state").in(states);
  states.push("done");
  expect(filter).toEqual(["in", "state", ["open"]]);
});

test("a page that only joins filters carries nothing else", async () => {
  const { outputFiles } = await build({
    stdin: { contents: 'export { and } from "./src/filters.ts"', resolveDir: process.cwd() },
    bundle: true,
    format: "esm",
    minify: true,
    write: false,
  });
  expect(outputFiles[0].text.length).toBeLessThan(100);
});
