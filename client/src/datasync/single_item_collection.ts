/** One item, kept by the page itself: handlers read, update and remove it. */

import { Class, type ES5Class } from "../class.js";
import { Collection, Iterator, Position } from "./collection.js";

type Handlers<T> = [
  /** Returns the item; null or undefined when there is none. */
  readHandler: () => T | null | undefined,
  updateHandler: (value: any) => void,
  removeHandler?: (() => void) | null,
];

export interface SingleItemCollection<T = any> extends Collection<T> {
  readHandler: Handlers<T>[0];
  updateHandler: Handlers<T>[1];
  removeHandler?: Handlers<T>[2];
}

export const SingleItemCollection = Class<ES5Class<SingleItemCollection, Handlers<any>>>(
  Collection,
  {
    constructor(readHandler, updateHandler, removeHandler) {
      Object.assign(this, { readHandler, updateHandler, removeHandler });
    },

    insert() {
      console.error("Received insert() request in SingleItemCollection");
    },

    getIterator() {
      return new SingleItemIterator(this);
    },
  },
);

export interface SingleItemIterator<T = any> extends Iterator<T> {
  readonly collection: SingleItemCollection<T>;
  /** @internal */
  _position: Position;
}

export const SingleItemIterator = Class<
  ES5Class<SingleItemIterator, [collection: SingleItemCollection]>
>(Iterator, {
  constructor(collection) {
    Object.assign(this, { collection });
    this._position = new Position(() => (collection.readHandler() == null ? 0 : 1));
  },

  hasNext() {
    return this._position.hasNext();
  },

  next() {
    this._position.advance();
    return this.collection.readHandler();
  },

  remove() {
    this._position.current();
    this.collection.removeHandler?.();
    this._position.removed();
  },

  update(value) {
    this._position.current();
    this.collection.updateHandler(value);
  },
});
