/**
 * The collections as properties of `DataSync`, for pages that get all of Snorky in one file anyway.
 * Bundlers take them by name, and only where they are imported.
 */

import { ArrayCollection, ArrayIterator } from "./array_collection.js";
import { Collection, Iterator } from "./collection.js";
import { CollectionDeltaProcessor } from "./delta_processor.js";
import { DataSync } from "./service.js";
import { SingleItemCollection, SingleItemIterator } from "./single_item_collection.js";

Object.assign(DataSync, {
  CollectionDeltaProcessor,
  Collection,
  Iterator,
  ArrayCollection,
  ArrayIterator,
  SingleItemCollection,
  SingleItemIterator,
});
