/**
 * Builds the client: dist/ for npm, ../snorky/static/ for Python users, who need no Node.js.
 *
 * dist/es/ has the modules one by one, so that bundlers take what a page imports.
 *
 * With --check nothing is written: it fails if ../snorky/static/ is not what the sources give, or
 * the version not that of the Python package. With --dist=FOLDER only that folder is written.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const staticFolder = join(here, "../snorky/static");
const option = process.argv.find((each) => each.startsWith("--dist="));
const dist = option ? resolve(option.slice("--dist=".length)) : join(here, "dist");
const version = versionForNpm();

/** Members whose names begin with "_" are ours alone: what only machines read has shorter ones. */
const shortNames = { mangleProps: /^_[a-z]/, mangleCache: namesByUse() };

/** [file, entry point, esbuild options] */
const builds = [
  ["snorky.js", "script.ts", { format: "iife" }],
  ["snorky.min.js", "script.ts", { format: "iife", minify: true, ...shortNames }],
  ["snorky.bundle.js", "bundle.ts", { format: "iife" }],
  ["snorky.bundle.min.js", "bundle.ts", { format: "iife", minify: true, ...shortNames }],
  ["snorky.mjs", "module.ts", { format: "esm" }],
  ["angular-snorky.js", "angular.ts", { format: "iife" }],
  ["angular-snorky.min.js", "angular.ts", { format: "iife", minify: true }],
];

/**
 * For all builds the same. On objects that pages see, or derive from, also the short ones begin with
 * "_", so that nothing of a page's own is in their place.
 */
function namesByUse() {
  const uses = {};
  const seen = new Set();
  const words = new Set();
  for (const file of sourceFiles()) {
    const text = readFileSync(join(here, "src", file), "utf8");
    const isSeen = /export (class Snorky|const \w+ = Class)/.test(text);
    for (const [word] of text.matchAll(/[\w$]+/g)) {
      words.add(word);
      if (!/^_[a-z]/.test(word)) continue;
      uses[word] = (uses[word] ?? 0) + 1;
      if (isSeen) seen.add(word);
    }
  }
  const names = Object.keys(uses).sort((a, b) => uses[b] - uses[a] || (a < b ? -1 : 1));
  const short = shortest(words);
  const shortSeen = shortest(words, "_");
  return Object.fromEntries(
    names.map((name) => [name, (seen.has(name) ? shortSeen : short).next().value]),
  );
}

function* shortest(taken, prefix = "") {
  const letters = [..."etsionrachlfdupmgvbkywxTOASIEDjqzCMPBLRNFHUGWVYKJQXZ"];
  for (const first of ["", ...letters]) {
    for (const letter of letters) {
      const name = prefix + first + letter;
      if (!taken.has(name)) yield name;
    }
  }
}

function sourceFiles() {
  const files = readdirSync(join(here, "src"), { recursive: true });
  return files.filter((file) => file.endsWith(".ts")).sort();
}

async function compile([file, entryPoint, options]) {
  const { outputFiles } = await build({
    ...options,
    absWorkingDir: here,
    entryPoints: [`src/${entryPoint}`],
    bundle: true,
    ignoreAnnotations: true, // package.json speaks of what is published, not of our sources
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
  const problems = stale.map(({ file }) => `snorky/static/${file} is not what client/src gives.`);
  if (packageJson().version !== version) problems.push(`client/package.json is not ${version}.`);
  if (problems.length > 0) {
    console.error(`${problems.join("\n")}\nRun "npm run build" and commit it.`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  for (const folder of option ? [dist] : [dist, staticFolder]) {
    mkdirSync(folder, { recursive: true });
    for (const { file, bytes } of outputs) writeFileSync(join(folder, file), bytes);
  }
  await writeModules(join(dist, "es"));
  if (!option) {
    setVersion();
    for (const { file, bytes } of outputs) {
      const sizes = `${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`;
      console.log(`${file.padEnd(22)} ${sizes}`);
    }
  }
}

/** The modules apart, with their types beside them. */
async function writeModules(folder) {
  const scripts = ["angular.ts", "bundle.ts", "classic.ts", "globals.ts", "module.ts", "script.ts"];
  await build({
    ...shortNames,
    absWorkingDir: here,
    entryPoints: sourceFiles()
      .filter((file) => !scripts.includes(file))
      .map((file) => join("src", file)),
    outbase: "src",
    outdir: folder,
    format: "esm",
    target: "es2022",
    charset: "utf8",
  });
  const tsc = join(here, "node_modules/typescript/bin/tsc");
  const project = join(here, "tsconfig.declarations.json");
  execFileSync(process.execPath, [tsc, "-p", project, "--outDir", folder], { stdio: "inherit" });
}

/** The Python package's version, as npm writes versions: 1.0.0.dev0 is 1.0.0-dev.0. */
function versionForNpm() {
  const snorky = readFileSync(join(here, "../snorky/__init__.py"), "utf8");
  const [, numbers, kind, number] = snorky.match(
    /version = "(\d+\.\d+\.\d+)(?:\.?(dev|a|b|rc)(\d+))?"$/m,
  );
  return kind ? `${numbers}-${kind}.${number}` : numbers;
}

function packageJson() {
  return JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
}

function setVersion() {
  for (const name of ["package.json", "package-lock.json"]) {
    const content = JSON.parse(readFileSync(join(here, name), "utf8"));
    content.version = version;
    if (content.packages) content.packages[""].version = version;
    writeFileSync(join(here, name), `${JSON.stringify(content, null, 2)}\n`);
  }
}

function isCurrent(path, bytes) {
  try {
    return readFileSync(path).equals(bytes);
  } catch {
    return false;
  }
}
