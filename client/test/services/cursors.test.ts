import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { Cursor, Cursors, Document, ForeignCursor, OwnCursor, Snorky } from "../../src/index.js";
import "../../src/classic.js";
import { connect, drop, next, TestServer } from "../server.js";

const server = new TestServer();
beforeAll(() => server.start());

const services = { cursors: Cursors };
const originalPromise = Snorky.Promise;
afterEach(() => {
  Snorky.Promise = originalPromise;
});

/** A window of somebody's. */
const open = (name: string) => connect(`${server.url}?name=${name}`, services);

let documents = 0;

/** A new document with both of them in it. */
async function together() {
  const name = `plan ${documents++}`;
  const [one, two] = [open("alice"), open("bob")];
  return {
    name,
    alice: await one.services.cursors.join({ document: name }),
    bob: await two.services.cursors.join({ document: name }),
    aliceSnorky: one,
  };
}

/** Calls those who wait for it inside resolve(), as jQuery's did. */
class Hasty {
  private waiting: ((value: any) => void)[] = [];

  constructor(work: (resolve: (value: any) => void, reject: () => void) => void) {
    work(
      (value) => this.waiting.forEach((call) => call(value)),
      () => {},
    );
  }

  then(call: (value: any) => unknown) {
    return new Hasty((resolve) => {
      this.waiting.push((value) => resolve(call(value)));
    });
  }
}

describe("a document", () => {
  test("has the cursors that are there", async () => {
    const { name, alice } = await together();
    const [cursor, created] = alice.createCursor({ position: { line: 3 }, status: "typing" });
    await created;
    const cursors = open("carol").services.cursors;
    const document = await cursors.join({ document: name });
    expect(document).toBeInstanceOf(Document);
    expect([document.service, document.name]).toEqual([cursors, name]);
    const [foreign] = document.cursors;
    expect(foreign).toBeInstanceOf(ForeignCursor);
    expect(foreign).toMatchObject({
      isMine: false,
      publicHandle: cursor.publicHandle,
      document,
      position: { line: 3 },
      status: "typing",
      owner: "alice",
    });
  });

  test("shows others come, move and go, by its signals and its service's", async () => {
    const { alice, bob } = await together();
    const heard: unknown[][] = [];
    for (const name of ["cursorAdded", "cursorUpdated", "cursorRemoved"] as const) {
      for (const source of [alice, alice.service]) {
        source[name].add((cursor) => {
          heard.push([name, cursor, cursor.position]);
        });
      }
    }
    const { cursors } = alice;
    alice.createCursor({ position: "alice's" });
    const added = next(alice.cursorAdded);
    const [own] = bob.createCursor({ position: 1 });
    const [cursor] = await added;
    expect(alice.cursors[1]).toBe(cursor);
    expect(cursor.owner).toBe("bob");

    const updated = next(alice.cursorUpdated);
    own.update({ position: 2, status: "typing" });
    expect((await updated)[0]).toBe(cursor);
    expect([cursor.position, cursor.status]).toEqual([2, "typing"]);

    const removed = next(alice.cursorRemoved);
    await own.remove();
    expect((await removed)[0]).toBe(cursor);
    expect(alice.cursors).toBe(cursors);
    expect(alice.cursors.map(({ isMine, position }) => [isMine, position])).toEqual([
      [true, "alice's"],
    ]);
    expect(heard).toEqual(
      ["cursorAdded", "cursorUpdated", "cursorRemoved"].flatMap((name, index) => {
        const event = [name, cursor, index === 0 ? 1 : 2];
        return [event, event];
      }),
    );
  });

  test("is left, with one's own cursors, and shows nothing more", async () => {
    const { name, alice, bob } = await together();
    const [mine] = alice.createCursor();
    alice.createCursor();
    const shown = next(alice.cursorAdded);
    const [, created] = bob.createCursor();
    await Promise.all([created, shown]);
    const seen = next(bob.cursorRemoved);
    expect(await alice.service.leave({ document: name })).toBeNull();
    expect((await seen)[0].owner).toBe("alice");
    expect(mine.removed).toBe(true);
    expect(alice.cursors.map(({ isMine }) => isMine)).toEqual([false]);
    const heard = vi.fn();
    alice.cursorAdded.add(heard);
    const [, another] = bob.createCursor();
    await another;
    const again = await alice.service.join({ document: name });
    expect(again).not.toBe(alice);
    expect(again.cursors).toHaveLength(2);
    expect(heard).not.toHaveBeenCalled();
  });

  test("is refused by the server in its own words", async () => {
    const { alice, name } = await together();
    const { service } = alice;
    await expect(service.join({ document: name })).rejects.toThrow("Already joined");
    await expect(service.leave({ document: "nobody's" })).rejects.toThrow("Not joined");
    await expect((service as any).join()).rejects.toThrow("Invalid params");
    const anonymous = connect(server.url, services).services.cursors;
    await expect(anonymous.join({ document: name })).rejects.toThrow("Not authenticated");
    expect((service as Cursors)._joining.size).toBe(0);
    // The refusals have changed nothing:
    const [, created] = alice.createCursor();
    await created;
  });

  test("is any JSON value", async () => {
    const one = open("alice").services.cursors;
    const document = await one.join({ document: { id: 1, deep: ["x"] } });
    const added = next(document.cursorAdded);
    const other = await open("bob").services.cursors.join({ document: { deep: ["x"], id: 1 } });
    const [cursor, created] = other.createCursor();
    await created;
    expect((await added)[0].publicHandle).toBe(cursor.publicHandle);
  });

  test("is whole for those whom the page's own promises call at once", async () => {
    const { name, bob } = await together();
    const [, created] = bob.createCursor();
    await created;
    Snorky.Promise = Hasty as any;
    let found = -1;
    const { cursors } = open("carol").services;
    cursors.join({ document: name }).then((document) => {
      found = document.cursors.length;
    });
    await vi.waitFor(() => expect(found).not.toBe(-1));
    expect(found).toBe(1);
  });

  test("misses nothing while the page's own promises take their time", async () => {
    const { name, bob } = await together();
    const cursors = open("carol").services.cursors;
    const held: (() => void)[] = [];
    const Late: any = function (work: (...args: any[]) => void) {
      return new Promise((resolve, reject) => {
        work((value: unknown) => held.push(() => resolve(value)), reject);
      });
    };
    Snorky.Promise = Late;
    const joining = cursors.join({ document: name });
    Snorky.Promise = originalPromise;
    await vi.waitFor(() => expect(held).toHaveLength(1));
    const added = next(cursors.cursorAdded);
    const [, created] = bob.createCursor({ position: 7 });
    await created;
    await added;
    held[0]();
    const document = await joining;
    expect(document.cursors.map(({ position }) => position)).toEqual([7]);
  });
});

describe("one's own cursor", () => {
  test("is there at once; its public handle comes with the answer", async () => {
    const { alice } = await together();
    const result = alice.createCursor({ position: 1, status: "here" });
    expect(Array.isArray(result)).toBe(true);
    const [cursor, created] = result;
    expect(cursor).toBeInstanceOf(OwnCursor);
    expect(alice.cursors).toEqual([cursor]);
    expect(cursor).toMatchObject({
      isMine: true,
      publicHandle: undefined,
      document: alice,
      position: 1,
      status: "here",
      removed: false,
      pendingPromiseCount: 1,
    });
    expect(cursor.isSynchronized()).toBe(false);
    expect(await created).toBe(cursor.publicHandle);
    expect(Number.isInteger(cursor.publicHandle)).toBe(true);
    expect([cursor.pendingPromiseCount, cursor.isSynchronized()]).toEqual([0, true]);
  });

  test("has a private handle of its own, in all documents", async () => {
    const { alice } = await together();
    const other = await alice.service.join({ document: `other than ${alice.name}` });
    const made = [alice, other, alice].map((document) => document.createCursor());
    await Promise.all(made.map(([, created]) => created));
    expect(new Set(made.map(([cursor]) => cursor.privateHandle)).size).toBe(3);
  });

  test("is moved at once, also before the server knows it", async () => {
    const { alice, bob } = await together();
    const [cursor] = alice.createCursor({ position: 1, status: "here" });
    const updated = cursor.update({ position: 2 });
    expect([cursor.position, cursor.status]).toEqual([2, "here"]);
    expect(cursor.pendingPromiseCount).toBe(2);
    const seen = next(bob.cursorUpdated);
    expect(await updated).toBeNull();
    expect(cursor.isSynchronized()).toBe(true);
    expect((await seen)[0]).toMatchObject({ position: 2, status: "here" });
  });

  test("sends nothing when nothing changed", async () => {
    const { alice } = await together();
    const [cursor, created] = alice.createCursor({ position: { x: 1, y: 2 } });
    await created;
    const send = vi.spyOn(alice.service, "sendMessage");
    for (const same of [{}, undefined as any, { position: { y: 2, x: 1 } }, { status: null }]) {
      expect(await cursor.update(same)).toBeNull();
      expect(cursor.isSynchronized()).toBe(true);
    }
    expect(send).not.toHaveBeenCalled();
    const { position } = cursor;
    position.x = 5; // in place, as pages do
    await cursor.update({ position });
    expect(send).toHaveBeenCalledTimes(1);
  });

  test("takes undefined for null, as JSON has it", async () => {
    const { alice, bob } = await together();
    const [cursor] = alice.createCursor({ position: 1, status: undefined });
    const seen = next(bob.cursorUpdated);
    await cursor.update({ position: undefined });
    expect((await seen)[0]).toMatchObject({ position: null, status: null });
    expect([cursor.position, cursor.status]).toEqual([null, null]);
  });

  test("takes only a position and a status", async () => {
    const { alice } = await together();
    const [cursor, created] = alice.createCursor();
    await created;
    const wrong = () => cursor.update({ position: 1, owner: "eve" } as any);
    expect(wrong).toThrow("Can't update 'owner' of cursor.");
    expect(cursor.position).toBeNull();
    expect(cursor.isSynchronized()).toBe(true);
  });

  test("is taken back where the server refuses", async () => {
    const { alice } = await together();
    const [cursor, created] = alice.createCursor({ position: 1 });
    await created;
    const big = "x".repeat(5000);
    const refused = cursor.update({ position: big, status: "big" });
    expect(cursor.position).toBe(big);
    await expect(refused).rejects.toThrow("Cursor too large");
    expect([cursor.position, cursor.status]).toEqual([1, null]);
    expect(cursor.isSynchronized()).toBe(true);

    const replaced = cursor.update({ position: big });
    const later = cursor.update({ position: 3 });
    await expect(replaced).rejects.toThrow("Cursor too large");
    expect(cursor.position).toBe(3);
    await later;
    await expect(cursor.update({ position: big })).rejects.toThrow("Cursor too large");
    expect(cursor.position).toBe(3);

    const made = Array.from({ length: 16 }, () => alice.createCursor());
    const [seventeenth, answer] = made.pop()!;
    expect(alice.cursors).toHaveLength(17);
    await expect(answer).rejects.toThrow("Too many cursors");
    expect(alice.cursors).toHaveLength(16);
    expect(alice.cursors).not.toContain(seventeenth);
    expect(seventeenth.removed).toBe(true);
  });

  test("alone goes when it is removed", async () => {
    const { alice, bob } = await together();
    const seen = next(alice.cursorAdded);
    bob.createCursor();
    await seen;
    const [cursor] = alice.createCursor();
    const [other, created] = alice.createCursor();
    await created;
    const gone = cursor.remove();
    expect([cursor.removed, other.removed]).toEqual([true, false]);
    expect(alice.cursors.map(({ isMine }) => isMine)).toEqual([false, true]);
    expect(alice.cursors[1]).toBe(other);
    expect(await gone).toBeNull();
    expect(cursor.isSynchronized()).toBe(true);
    await expect(cursor.remove()).rejects.toThrow("No such cursor");
    expect(alice.cursors).toHaveLength(2);
  });
});

describe("the classes", () => {
  test("are on the global", () => {
    expect(Snorky.Cursors).toBe(Cursors);
    expect({ ...Cursors }).toMatchObject({ Document, Cursor, ForeignCursor, OwnCursor });
    expect(new ForeignCursor({} as Document, {})).toBeInstanceOf(Cursor);
    expect(OwnCursor.prototype).toBeInstanceOf(Cursor);
  });

  test("may be derived from as pages did before ES6, without calling `init`", async () => {
    const Mine = new (Snorky.Class as any)(Snorky.Cursors, {
      constructor: function (this: Cursors, name: string, snorky: Snorky) {
        Snorky.Cursors.call(this, name, snorky);
      },
      init() {},
    });
    const { cursors } = connect(`${server.url}?name=eve`, { cursors: Mine }).services as any;
    const document: Document = await cursors.join({ document: `plan ${documents++}` });
    const [cursor, created] = document.createCursor();
    expect(await created).toBe(cursor.publicHandle);
  });
});

describe("after a reconnection", () => {
  test("one joins anew, in `connected`; the old document is over", async () => {
    const name = `plan ${documents++}`;
    const snorky = open("alice");
    const { cursors } = snorky.services;
    const joined: Document[] = [];
    snorky.connected.add(() => {
      cursors.join({ document: name }).then((document) => joined.push(document));
    });
    await vi.waitFor(() => expect(joined).toHaveLength(1));
    const [mine, created] = joined[0].createCursor();
    await created;
    await drop(server, snorky);
    expect(mine.removed).toBe(true);
    await vi.waitFor(() => expect(joined).toHaveLength(2));
    expect(joined[1].cursors).toEqual([]);

    const old = vi.fn();
    joined[0].cursorAdded.add(old);
    const added = next(joined[1].cursorAdded);
    const bob = await open("bob").services.cursors.join({ document: name });
    const [, another] = bob.createCursor();
    await another;
    await added;
    expect(old).not.toHaveBeenCalled();
    await expect(mine.update({ position: 1 })).rejects.toThrow("No such cursor");
  });

  test("a join that waited for the connection is carried out", async () => {
    const snorky = open("alice");
    snorky.disconnect();
    const joining = snorky.services.cursors.join({ document: `plan ${documents++}` });
    snorky.connect();
    const document = await joining;
    const [, created] = document.createCursor();
    await created;
  });
});
