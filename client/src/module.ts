/** `snorky.mjs`: all of Snorky as one ES module, for pages without a bundler. */

import "./comet.js";
import "./datasync/statics.js";

export * from "./index.js";
