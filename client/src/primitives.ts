/** What pages may replace, as `Snorky.Signal` and so on: read at each use. */

import { Class } from "./class.js";
import { Signal, type SignalClass } from "./signal.js";

export interface Primitives {
  Signal: SignalClass;
  Promise: PromiseConstructor;
  Class: typeof Class;
}

export const primitives: Primitives = { Signal, Promise, Class };
