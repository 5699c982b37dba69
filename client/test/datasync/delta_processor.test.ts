import { describe, expect, test } from "vitest";
import { ArrayCollection } from "../../src/datasync/array_collection.js";
import { CollectionDeltaProcessor, type Delta } from "../../src/datasync/delta_processor.js";
import { SingleItemCollection } from "../../src/datasync/single_item_collection.js";
import { expectConsoleErrors } from "../setup.js";

const insert = (data: any, tag?: string): Delta => ({ type: "insert", model: "Task", data, tag });
const remove = (data: any): Delta => ({ type: "delete", model: "Task", data });
const update = (oldData: any, newData: any): Delta => ({
  type: "update",
  model: "Task",
  oldData,
  newData,
});

/** What the deltas make of the rows. */
function process(rows: any[], ...deltas: Delta[]): any[] {
  const processor = new CollectionDeltaProcessor({ Task: new ArrayCollection(rows) });
  for (const delta of deltas) processor.processDelta(delta);
  return rows;
}

describe("rows with an id", () => {
  test("are inserted, updated and deleted", () => {
    const [milk, bread, butter] = [
      { id: 1, title: "milk" },
      { id: 2, title: "bread" },
      { id: 2, title: "butter" },
    ];
    expect(process([milk], insert(bread))).toEqual([milk, bread]);
    expect(process([milk, bread], update(bread, butter))).toEqual([milk, butter]);
    expect(process([milk, bread], remove(milk))).toEqual([bread]);
  });

  test("replace the row that is there already when they are inserted", () => {
    const rows = process([{ id: 1, title: "milk" }, { id: 2 }], insert({ id: 1, title: "bread" }));
    expect(rows).toEqual([{ id: 1, title: "bread" }, { id: 2 }]);
  });

  test("are known by their id alone, text or number", () => {
    expect(process([{ id: 1, title: "old" }], remove({ id: "1" }))).toEqual([]);
    expect(process([{ id: 0 }], remove({ id: 0 }))).toEqual([]);
  });

  test("may be given a new id", () => {
    expect(process([{ id: 1 }], update({ id: 1 }, { id: 7 }))).toEqual([{ id: 7 }]);
  });

  test("change the first of several equal ones only", () => {
    const twins = () => [{ id: 1 }, { id: 1 }];
    expect(process(twins(), remove({ id: 1 }))).toEqual([{ id: 1 }]);
    expect(process(twins(), update({ id: 1 }, { id: 1, a: 1 }))).toEqual([
      { id: 1, a: 1 },
      { id: 1 },
    ]);
  });

  test("that are not there are neither updated nor deleted", () => {
    expect(process([{ id: 1 }], update({ id: 2 }, { id: 2, a: 1 }), remove({ id: 3 }))).toEqual([
      { id: 1 },
    ]);
  });

  test("never equal a row without one", () => {
    expect(process([{ title: "milk" }], remove({ id: 1, title: "milk" }))).toHaveLength(1);
    expect(process([null, 3, "x"], remove({ id: 1 }))).toHaveLength(3);
  });
});

describe("rows without an id", () => {
  test("are always appended", () => {
    expect(process([{ a: 1 }], insert({ a: 1 }))).toEqual([{ a: 1 }, { a: 1 }]);
    expect(process([], insert("x"), insert("x"))).toEqual(["x", "x"]);
  });

  test("are found by their JSON, whatever the order of its keys", () => {
    const rows = () => [{ a: 2 }, { a: 1, b: { c: [1], d: null } }];
    const same = { b: { d: null, c: [1] }, a: 1 };
    expect(process(rows(), remove(same))).toEqual([{ a: 2 }]);
    expect(process(rows(), update(same, { a: 3 }))).toEqual([{ a: 2 }, { a: 3 }]);
    expect(process(rows(), remove({ a: "2" }))).toHaveLength(2);
  });
});

describe("collections", () => {
  test("may be chosen by the tag of the delta", () => {
    const [open, done]: any[][] = [[], []];
    const processor = new CollectionDeltaProcessor({
      Task: { open: new ArrayCollection(open), done: new ArrayCollection(done) },
    });
    processor.processDelta(insert({ id: 1 }, "done"));
    expect([open, done]).toEqual([[], [{ id: 1 }]]);
  });

  test("may be filled in later", () => {
    const rows: any[] = [];
    const processor = new CollectionDeltaProcessor();
    processor.collections.Task = new ArrayCollection(rows);
    processor.processDelta(insert({ id: 1 }));
    expect(rows).toEqual([{ id: 1 }]);
  });

  test("are anything with insert and getIterator", () => {
    const inserted: any[] = [];
    const processor = new CollectionDeltaProcessor({
      Task: {
        insert: (value: any) => inserted.push(value),
        getIterator: () => new ArrayCollection([]).getIterator(),
      },
    });
    processor.processDelta(insert({ id: 1 }));
    expect(inserted).toEqual([{ id: 1 }]);
  });

  test("of a single item are read, updated and removed through the page", () => {
    let user: any = { id: 1, name: "Ann" };
    const processor = new CollectionDeltaProcessor({
      Task: new SingleItemCollection(
        () => user,
        (value) => {
          user = value;
        },
        () => {
          user = null;
        },
      ),
    });
    processor.processDelta(update({ id: 2 }, { id: 2, name: "Bob" }));
    expect(user.name).toBe("Ann");
    processor.processDelta(update({ id: 1 }, { id: 1, name: "Anna" }));
    expect(user.name).toBe("Anna");
    processor.processDelta(remove({ id: 1 }));
    expect(user).toBeNull();
    processor.processDelta(insert({ id: 2 }));
    expectConsoleErrors(/Received insert/);
  });

  test.each([
    ["an unknown model", { type: "insert", model: "Ghost", data: {} }],
    ["a model named like a method", { type: "insert", model: "constructor", data: {} }],
    ["an unknown tag", { type: "insert", model: "Tagged", tag: "toString", data: {} }],
    ["no tag", { type: "insert", model: "Tagged", data: {} }],
    ["an unknown type", { type: "upsert", model: "Task", data: {} }],
    ["nothing in it", null],
  ])("ignore a delta with %s, with an error on the console", (_name, delta) => {
    const rows: any[] = [];
    const processor = new CollectionDeltaProcessor({
      Task: new ArrayCollection(rows),
      Tagged: { a: new ArrayCollection(rows) },
    });
    processor.processDelta(delta as any);
    expect(rows).toEqual([]);
    expectConsoleErrors(/received a delta/);
  });
});

test("the page may say what is equal, and is told the delta", () => {
  const seen: any[] = [];
  const rows = [{ key: "a" }, { key: "b" }];
  const processor = new CollectionDeltaProcessor(
    { Task: new ArrayCollection(rows) },
    {
      itemsAreEqual(item, other, delta) {
        seen.push([item, other, delta.type]);
        return item.key === other.key;
      },
    },
  );
  processor.processDelta(update({ key: "b" }, { key: "c" }));
  expect(rows).toEqual([{ key: "a" }, { key: "c" }]);
  expect(seen).toEqual([
    [{ key: "a" }, { key: "b" }, "update"],
    [{ key: "b" }, { key: "b" }, "update"],
  ]);
});
