/** The items of an array of the page's own, which is changed in place. */

import { Class, type ES5Class } from "../class.js";
import { Collection, Iterator, Position } from "./collection.js";

export interface ArrayCollectionOptions<T> {
  /** Makes an item of the page out of one of the server. Runs on insert and on update. */
  transformItem?: (value: any) => T;
}

export interface ArrayCollection<T = any> extends Collection<T> {
  array: T[];
  transformItem(value: any): T;
}

export interface ArrayCollectionClass extends ES5Class<
  ArrayCollection,
  [array: any[], options?: ArrayCollectionOptions<any> | null]
> {
  new <T>(array: T[], options?: ArrayCollectionOptions<T> | null): ArrayCollection<T>;
}

export const ArrayCollection = Class<ArrayCollectionClass>(Collection, {
  constructor(array, options) {
    this.array = array;
    if (options?.transformItem) this.transformItem = options.transformItem;
  },

  transformItem(value) {
    return value;
  },

  insert(value) {
    this.array.push(this.transformItem(value));
  },

  getIterator() {
    return new ArrayIterator(this);
  },
});

export interface ArrayIterator<T = any> extends Iterator<T> {
  readonly collection: ArrayCollection<T>;
  /** @internal */
  _position: Position;
}

export const ArrayIterator = Class<ES5Class<ArrayIterator, [collection: ArrayCollection]>>(
  Iterator,
  {
    constructor(collection) {
      Object.assign(this, { collection });
      this._position = new Position(() => collection.array.length);
    },

    hasNext() {
      return this._position.hasNext();
    },

    next() {
      return this.collection.array[this._position.advance()];
    },

    remove() {
      this.collection.array.splice(this._position.current(), 1);
      this._position.removed();
    },

    update(value) {
      // splice, not assignment: frameworks that watch arrays see it.
      const { collection } = this;
      collection.array.splice(this._position.current(), 1, collection.transformItem(value));
    },
  },
);
