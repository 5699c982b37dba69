/** Real servers that end with the file that starts them, clients that end with their test. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach } from "vitest";
import {
  type Disconnection,
  RPCService,
  type ServiceClasses,
  type Signal,
  Snorky,
  type SnorkyOptions,
} from "../src/index.js";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = process.env.SNORKY_PYTHON ?? "../.venv/bin/python";

/** The Snorky server of a program, in a process of its own until all tests of the file are done. */
export class TestServer {
  private process: ChildProcess | undefined;
  private port = 0;

  constructor(private readonly program: "server.py" | "asgi_server.py" = "server.py") {
    servers.push(this);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/ws`;
  }

  /** Start, or start again on the same port. */
  async start(): Promise<void> {
    const child = spawn(python, [`test/${this.program}`, String(this.port)], {
      cwd: `${here}/..`,
      stdio: ["ignore", "pipe", "ignore"],
    });
    this.process = child;
    for await (const line of createInterface(child.stdout!)) {
      const [word, port] = line.split(" ");
      if (word === "listening") {
        this.port = Number(port);
        return;
      }
    }
    throw new Error(`${python} test/${this.program} ended with status ${child.exitCode}`);
  }

  /** End as by power failure. */
  async kill(): Promise<void> {
    const child = this.process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  /** Let it fall silent without closing anything. */
  freeze(): void {
    this.process!.kill("SIGSTOP");
  }

  thaw(): void {
    this.process!.kill("SIGCONT");
  }
}

const servers: TestServer[] = [];
const open: Snorky[] = [];

afterAll(() => Promise.all(servers.map((server) => server.kill())));

afterEach(() => {
  for (const snorky of open.splice(0)) {
    snorky.disconnected.removeAll();
    snorky.disconnect();
  }
});

/** Does not wait long for anything. */
const impatient: SnorkyOptions = { minReconnectDelay: 0.02, maxReconnectDelay: 0.1 };

export function connect<S extends ServiceClasses>(
  url: string,
  services: S,
  options: SnorkyOptions = {},
): Snorky<S> {
  const snorky = new Snorky(WebSocket, url, services, { ...impatient, ...options });
  open.push(snorky);
  return snorky;
}

/** A service of the server's that has methods for these commands. */
export function service(...commands: string[]): new (...args: any[]) => any {
  class Named extends RPCService {}
  Named.addRPCMethods(commands);
  return Named;
}

/** A connection of its own to the server's `control`. */
export function controlOf(server: TestServer): any {
  const Control = service("countConnections", "closeOthers", "refuse", "stall");
  return connect(server.url, { control: Control }).services.control;
}

/** What the signal is dispatched with next. */
export function next<A extends any[]>(signal: Signal<A>): Promise<A> {
  return new Promise((resolve) => {
    signal.addOnce((...args: A) => resolve(args));
  });
}

/** Let the server close the connection. Resolves as soon as the client knows. */
export async function drop(
  server: TestServer,
  snorky: Snorky,
  { code = 3000, reason = "" } = {},
): Promise<Disconnection> {
  const dropped = next(snorky.disconnected);
  // Its answer may come later than what it does, or after the test.
  controlOf(server)
    .closeOthers({ code, reason })
    .catch(() => {});
  return (await dropped)[0];
}
