import { describe, expect, test } from "vitest";
import { Class } from "../../src/class.js";
import { ArrayCollection } from "../../src/datasync/array_collection.js";
import { Collection, Iterator } from "../../src/datasync/collection.js";
import { SingleItemCollection } from "../../src/datasync/single_item_collection.js";
import { expectConsoleErrors } from "../setup.js";

const letters = (text: string) => new ArrayCollection([...text]);

/** One item, kept in a variable of the page. */
function single(initial: unknown) {
  const page: { item: unknown } = { item: initial };
  const collection = new SingleItemCollection(
    () => page.item,
    (value) => {
      page.item = value;
    },
    () => {
      page.item = null;
    },
  );
  return { page, collection };
}

// One promise for every iterator: the same three steps over one item.
describe.each([
  ["an array", () => new ArrayCollection(["a"]) as Collection],
  ["a single item", () => single("a").collection as Collection],
])("an iterator over %s", (_name, make) => {
  test("goes over the items and is busted after", () => {
    const iterator = make().getIterator();
    expect(iterator.hasNext()).toBe(true);
    expect(iterator.next()).toBe("a");
    expect(iterator.hasNext()).toBe(false);
    expect(() => iterator.next()).toThrow("Busted iterator");
    expect(() => iterator.next()).toThrow("Busted iterator");
  });

  test("changes nothing before it points to an item", () => {
    const iterator = make().getIterator();
    const message = "Iterator not pointing to an item! (call next())";
    expect(() => iterator.remove()).toThrow(message);
    expect(() => iterator.update("b")).toThrow(message);
  });

  test("changes nothing where it has removed the item", () => {
    const iterator = make().getIterator();
    iterator.next();
    iterator.remove();
    const message = "Iterator pointing to a deleted item! (call next())";
    expect(() => iterator.remove()).toThrow(message);
    expect(() => iterator.update("b")).toThrow(message);
    expect(iterator.hasNext()).toBe(false);
  });

  test("updates the item", () => {
    const collection = make();
    const iterator = collection.getIterator();
    iterator.next();
    iterator.update("b");
    expect(collection.getIterator().next()).toBe("b");
  });

  test("is an Iterator of a Collection", () => {
    expect(make()).toBeInstanceOf(Collection);
    expect(make().getIterator()).toBeInstanceOf(Iterator);
  });
});

describe("an array collection", () => {
  test("changes the page's own array in place", () => {
    const array = [1, 2];
    const collection = new ArrayCollection(array);
    collection.insert(3);
    const iterator = collection.getIterator();
    iterator.next();
    iterator.update(10);
    iterator.next();
    iterator.remove();
    expect(array).toEqual([10, 3]);
    expect(collection.array).toBe(array);
  });

  test("may lose items while it is gone over, and none is left out", () => {
    const collection = letters("abcd");
    const seen: string[] = [];
    const iterator = collection.getIterator();
    while (iterator.hasNext()) {
      seen.push(iterator.next());
      if ("ac".includes(seen.at(-1)!)) iterator.remove();
    }
    expect(seen.join("")).toBe("abcd");
    expect(collection.array.join("")).toBe("bd");
  });

  test("has nothing to go over when it is empty", () => {
    expect(letters("").getIterator().hasNext()).toBe(false);
  });

  test("transforms items on insert and on update", () => {
    const array: string[] = [];
    const collection = new ArrayCollection(array, { transformItem: (row) => row.title });
    collection.insert({ title: "milk" });
    collection.insert({ title: "bread" });
    const iterator = collection.getIterator();
    iterator.next();
    iterator.update({ title: "butter" });
    expect(array).toEqual(["butter", "bread"]);
  });

  test("may be derived from", () => {
    const Sorted: any = Class(ArrayCollection, {
      constructor: function (this: any, array: number[]) {
        ArrayCollection.call(this, array);
      },
      insert(this: any, value: number) {
        Sorted.Super.prototype.insert.call(this, value);
        this.array.sort();
      },
    });
    const sorted = new Sorted([2]);
    sorted.insert(1);
    expect(sorted.array).toEqual([1, 2]);
  });
});

describe("a single item collection", () => {
  test("refuses inserts with an error on the console", () => {
    const { page, collection } = single("a");
    collection.insert("b");
    expectConsoleErrors(/^Received insert\(\) request in SingleItemCollection$/);
    expect(page.item).toBe("a");
  });

  test("has no item while there is none to read", () => {
    expect(single(null).collection.getIterator().hasNext()).toBe(false);
    expect(single(undefined).collection.getIterator().hasNext()).toBe(false);
    expect(single(0).collection.getIterator().hasNext()).toBe(true);
  });

  test("needs no handler for removals", () => {
    const collection = new SingleItemCollection(
      () => "a",
      () => {},
    );
    const iterator = collection.getIterator();
    iterator.next();
    iterator.remove();
    expect(collection.getIterator().next()).toBe("a");
  });
});

test("an interface's methods say that they are missing", () => {
  expect(() => new Collection().insert(1)).toThrow("insert()");
  expect(() => new Collection().getIterator()).toThrow("getIterator()");
  for (const method of ["hasNext", "next", "remove", "update"] as const) {
    expect(() => (new Iterator() as any)[method]()).toThrow(`${method}()`);
  }
});
