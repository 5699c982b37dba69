/**
 * Builds the client: dist/ for npm, ../snorky/static/ for Python users, who need no Node.js.
 *
 * With --check nothing is written: it fails if ../snorky/static/ is not what the sources give.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const staticFolder = join(here, "../snorky/static");
const dist = join(here, "dist");
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));

/** [file, entry point, esbuild options] */
const builds = [
  ["snorky.js", "script.ts", { format: "iife" }],
  ["snorky.min.js", "script.ts", { format: "iife", minify: true }],
  ["snorky.bundle.js", "bundle.ts", { format: "iife" }],
  ["snorky.bundle.min.js", "bundle.ts", { format: "iife", minify: true }],
  ["snorky.mjs", "index.ts", { format: "esm" }],
  ["angular-snorky.js", "angular.ts", { format: "iife" }],
  ["angular-snorky.min.js", "angular.ts", { format: "iife", minify: true }],
];

async function compile([file, entryPoint, options]) {
  const { outputFiles } = await build({
    ...options,
    absWorkingDir: here,
    entryPoints: [`src/${entryPoint}`],
    bundle: true,
    write: false,
    target: "es2020",
    charset: "utf8",
    banner: { js: `/*! Snorky ${version} | MPL-2.0 */` },
  });
  return { file, bytes: outputFiles[0].contents };
}

const outputs = await Promise.all(builds.map(compile));

if (process.argv.includes("--check")) {
  const stale = outputs.filter(({ file, bytes }) => !isCurrent(join(staticFolder, file), bytes));
  if (stale.length > 0) {
    const names = stale.map(({ file }) => `snorky/static/${file}`).join(", ");
    console.error(`Not what client/src gives: ${names}. Run "npm run build" and commit it.`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  for (const folder of [dist, staticFolder]) {
    mkdirSync(folder, { recursive: true });
    for (const { file, bytes } of outputs) writeFileSync(join(folder, file), bytes);
  }
  const tsc = join(here, "node_modules/typescript/bin/tsc");
  const project = join(here, "tsconfig.declarations.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", join(dist, "types")], {
    stdio: "inherit",
  });
  for (const { file, bytes } of outputs) {
    const sizes = `${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`;
    console.log(`${basename(file).padEnd(22)} ${sizes}`);
  }
}

function isCurrent(path, bytes) {
  try {
    return readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}
