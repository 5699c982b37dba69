/** How the package is built: its files apart, and nothing that imports itself by a detour. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { patient } from "./patience.js";

const client = fileURLToPath(new URL("..", import.meta.url));

/** What each source file imports or exports from, types too. */
function imports(): Map<string, string[]> {
  const source = join(client, "src");
  const found = new Map<string, string[]>();
  for (const file of readdirSync(source, { recursive: true }) as string[]) {
    if (!file.endsWith(".ts")) continue;
    const text = readFileSync(join(source, file), "utf8");
    const paths = [...text.matchAll(/^(?:import|export|\})[^;"]*"(\.[^"]+)\.js";$/gm)];
    found.set(
      file,
      paths.map(([, path]) => `${normalize(join(dirname(file), path))}.ts`),
    );
  }
  return found;
}

test("no file imports itself by a detour, for types neither", () => {
  const all = imports();
  expect(all.get("connection.ts")).toContain("service.ts");
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, way: string[]) => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(" > "));
    else if (!done.has(file)) {
      for (const other of all.get(file) ?? []) visit(other, [...way, file]);
      done.add(file);
    }
  };
  for (const file of all.keys()) visit(file, []);
  expect(circles).toEqual([]);
});

let folder: string;

beforeAll(() => {
  // Within the client's folder: the type checker of the page is the client's.
  folder = mkdtempSync(join(tmpdir(), "snorky-client-"));
  const page = join(folder, "node_modules/snorky");
  execFileSync(process.execPath, ["build.mjs", `--dist=${join(page, "dist")}`], { cwd: client });
  writeFileSync(join(page, "package.json"), readFileSync(join(client, "package.json")));
}, patient(60_000));

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Of what a page gets that writes this, in bytes. */
async function gzipped(contents: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    minify: true,
    logLevel: "error",
    write: false,
    format: "esm",
    target: "es2022",
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

test.each([
  ["", 50],
  ["Class", 450],
  ["Signal", 1100],
  ["Snorky, PubSub", 6500],
  ["Snorky, DataSync", 11_000],
])("a page gets what it imports, and no more: %s", async (names, bytes) => {
  const page = names ? `export { ${names} } from "snorky"` : 'import "snorky"';
  expect(await gzipped(page)).toBeLessThan(bytes);
});

test("the transports over plain HTTP are for those who import them", async () => {
  const [without, comet] = ["", 'import "snorky/comet";'].map((first) =>
    gzipped(`${first} export { Snorky, PubSub } from "snorky"`),
  );
  expect((await comet) - (await without)).toBeGreaterThan(1500);
});

test("names that are ours alone are short, and in no page's way", async () => {
  const folderOfModules = join(folder, "node_modules/snorky/dist/es");
  const names = new Set<string>();
  for (const file of readdirSync(folderOfModules, { recursive: true }) as string[]) {
    if (!file.endsWith(".js")) continue;
    const text = readFileSync(join(folderOfModules, file), "utf8");
    for (const [, name] of text.matchAll(/\.(_\w+)/g)) names.add(name);
  }
  expect(names.size).toBeGreaterThan(30);
  expect([...names].filter((name) => name.length > 3)).toEqual([]);
});

test("the script builds keep what they are loaded for", async () => {
  expect(await gzipped('import "snorky/snorky.bundle.min.js"')).toBeGreaterThan(8000);
});

test("a page's own service has types", { timeout: patient(60_000) }, () => {
  writeFileSync(
    join(folder, "page.ts"),
    `
    import { RPCService, Snorky, type Host, type Signal } from "snorky";

    class Calculator extends RPCService {
      answers!: Signal<[number]>;
      override init() {
        this.answers = new Snorky.Signal();
      }
      double(number: number): Promise<number> {
        return this.sum({ number1: number, number2: number });
      }
    }
    interface Calculator {
      sum(params: { number1: number; number2: number }): Promise<number>;
    }
    Calculator.addRPCMethods(["sum"]);

    const snorky = new Snorky(WebSocket, "ws://localhost/ws", { calculator: Calculator });
    export const sum: Promise<number> = snorky.services.calculator.sum({ number1: 1, number2: 2 });
    export const host: Host = snorky.services.calculator.snorky;
    // @ts-expect-error: it takes numbers
    snorky.services.calculator.sum({ number1: "1", number2: 2 });
    // @ts-expect-error: there is no such service
    snorky.services.ghost;
    `,
  );
  const tsc = join(client, "node_modules/typescript/bin/tsc");
  for (const resolution of ["Bundler", "NodeNext"]) {
    const kind = resolution === "Bundler" ? "ESNext" : resolution;
    const options = ["--strict", "--noEmit", "--module", kind, "--moduleResolution", resolution];
    const { stdout } = run(tsc, [...options, "--target", "ES2022", "page.ts"]);
    expect(stdout).toBe("");
  }
});

function run(script: string, args: string[]): { stdout: string } {
  try {
    execFileSync(process.execPath, [script, ...args], { cwd: folder, encoding: "utf8" });
    return { stdout: "" };
  } catch (error) {
    return { stdout: (error as { stdout: string }).stdout };
  }
}
