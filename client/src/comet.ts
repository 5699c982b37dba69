/**
 * `import "snorky/comet"`: the transports "sse" and "polling", for pages that may be where
 * WebSockets do not get through. Script builds and `snorky.mjs` have it in them.
 */

import { Fallbacks } from "./fallbacks.js";
import { known } from "./transports.js";

known._transports = Fallbacks;
