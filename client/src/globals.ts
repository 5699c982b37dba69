/** `my.Class` and `signals.Signal` for pages that have not loaded my.class.js and signals.js. */

import { Class } from "./class.js";
import { Signal } from "./signal.js";

const page = globalThis as any;

page.my ??= {};
page.my.Class ??= Class;
page.signals ??= {};
page.signals.Signal ??= Signal;
