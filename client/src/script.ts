/**
 * The script-tag build: defines the global `Snorky`.
 *
 * A page that has loaded signals.js before us listens with its signals everywhere.
 */

import { Snorky } from "./connection.js";
import "./classic.js";

const page = globalThis as any;

if (typeof page.signals?.Signal === "function") Snorky.Signal = page.signals.Signal;
page.Snorky = Snorky;
