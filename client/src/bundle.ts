/** The script-tag build that brings the globals `my.Class` and `signals.Signal` too. */

import "./globals.js";
import "./script.js";
