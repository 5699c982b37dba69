/** Applies deltas to the collections of a page. */

import { Class, type ES5Class } from "../class.js";
import { canonical } from "../json.js";
import type { Collection, Iterator } from "./collection.js";

/** A change of one row. `tag` is not the server's: page code may set it before processing. */
export type Delta = { model: string; tag?: string } & (
  { type: "insert" | "delete"; data: any } | { type: "update"; newData: any; oldData: any }
);

/** By model, or by model and then by the tag of the delta. */
export type Collections = Record<string, Collection | Record<string, Collection>>;

export interface DeltaProcessorOptions {
  /** Whether an item of a collection is the row `other` of the delta. Default: by `id`. */
  itemsAreEqual?: (item: any, other: any, delta: Delta) => boolean;
}

export interface CollectionDeltaProcessor {
  collections: Collections;
  itemsAreEqual(item: any, other: any, delta: Delta): boolean;
  processDelta(delta: Delta): void;
}

export const CollectionDeltaProcessor = Class<
  ES5Class<
    CollectionDeltaProcessor,
    [collections?: Collections | null, options?: DeltaProcessorOptions | null]
  >
>({
  constructor(collections, options) {
    this.collections = collections ?? {};
    if (options?.itemsAreEqual) this.itemsAreEqual = options.itemsAreEqual;
  },

  itemsAreEqual(item, other, delta) {
    if (other?.id != null) return item?.id != null && item.id == other.id;
    // A row without id cannot be known again, unless it is there as it was.
    return delta.type !== "insert" && canonical(item) === canonical(other);
  },

  processDelta(delta) {
    const collection = collectionFor(this.collections, delta);
    if (!collection) {
      console.error("Snorky: received a delta for an unknown model or tag:", delta);
      return;
    }
    switch (delta.type) {
      case "insert": {
        const present = find(this, collection, delta.data, delta);
        if (present) present.update(delta.data);
        else collection.insert(delta.data);
        break;
      }
      case "update":
        find(this, collection, delta.oldData, delta)?.update(delta.newData);
        break;
      case "delete":
        find(this, collection, delta.data, delta)?.remove();
        break;
      default:
        console.error("Snorky: received a delta of an unknown type:", delta);
    }
  },
});

function collectionFor(collections: Collections, delta: Delta): Collection | undefined {
  const entry = own(collections, delta?.model);
  if (entry === undefined || isCollection(entry)) return entry;
  const tagged = own(entry, delta.tag);
  return isCollection(tagged) ? tagged : undefined;
}

function own<T>(entries: Record<string, T>, key: string | undefined): T | undefined {
  return key !== undefined && Object.hasOwn(entries, key) ? entries[key] : undefined;
}

function isCollection(value: any): value is Collection {
  return typeof value?.insert === "function" && typeof value.getIterator === "function";
}

/** An iterator at the first item equal to `row`. */
function find(
  processor: CollectionDeltaProcessor,
  collection: Collection,
  row: unknown,
  delta: Delta,
): Iterator | undefined {
  const iterator = collection.getIterator();
  while (iterator.hasNext()) {
    if (processor.itemsAreEqual(iterator.next(), row, delta)) return iterator;
  }
  return undefined;
}
