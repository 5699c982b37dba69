/**
 * What a delta processor needs of a list: somewhere to insert, and a way to go over the items.
 * Derive from these, or write anything with the same methods.
 */

import { Class, type ES5Class } from "../class.js";

export interface Iterator<T = any> {
  hasNext(): boolean;
  /** Go to the next item and return it. Throws "Busted iterator" if there is none. */
  next(): T;
  /** Remove the item `next` returned last. */
  remove(): void;
  /** Put `value` in the place of the item `next` returned last. */
  update(value: any): void;
}

export interface Collection<T = any> {
  /** Take in an item as the server sent it. */
  insert(value: any): void;
  getIterator(): Iterator<T>;
}

export const Collection = Class<ES5Class<Collection, []>>({
  insert: () => missing("insert"),
  getIterator: () => missing("getIterator"),
});

export const Iterator = Class<ES5Class<Iterator, []>>({
  hasNext: () => missing("hasNext"),
  next: () => missing("next"),
  remove: () => missing("remove"),
  update: () => missing("update"),
});

function missing(method: string): never {
  throw new Error(`The subclass should have a method ${method}()`);
}

/** Where an iterator over `length()` items is, and what may be done there. @internal */
export class Position {
  index = -1;
  private _deleted = false;

  constructor(private readonly _length: () => number) {}

  hasNext(): boolean {
    return this.index + 1 < this._length();
  }

  advance(): number {
    if (!this.hasNext()) throw new Error("Busted iterator");
    this._deleted = false;
    return ++this.index;
  }

  /** The index of the current item. Throws where there is none. */
  current(): number {
    if (this._deleted) throw new Error("Iterator pointing to a deleted item! (call next())");
    if (this.index < 0) throw new Error("Iterator not pointing to an item! (call next())");
    return this.index;
  }

  /** The current item has been removed: the next one is in its place. */
  removed(): void {
    this._deleted = true;
    this.index--;
  }
}
