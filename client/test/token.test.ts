/** Who has a token comes in, stays with new ones, and is told why when there are none. */

import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket } from "ws";
import "../src/comet.js";
import { type Disconnection, Snorky, type SnorkyOptions, type Transport } from "../src/index.js";
import { connect, next, service, TestServer } from "./server.js";
import { consoleErrorCount, expectConsoleErrors } from "./setup.js";
import { tokenOf } from "./tokens.js";
import { patient } from "./patience.js";

const server = new TestServer();
beforeAll(() => server.start());

const Door = service("look", "leave");
const TRANSPORTS: Transport[] = ["websocket", "sse", "polling"];
const LONG = { timeout: patient(30_000) };

let people = 0;
const somebody = () => `somebody ${people++}`;

function enter(options: SnorkyOptions, place = "members") {
  return connect(server.url.replace(/ws$/, `${place}/ws`), { door: Door }, options);
}

/** Gives a new token each time, and remembers them all. */
function tokensOf(name: string, lasts?: number) {
  const given: string[] = [];
  const token = async () => {
    given.push(tokenOf(name, { lasts }));
    return given.at(-1)!;
  };
  return { token, given };
}

async function sentAway(snorky: ReturnType<typeof enter>, code: number, reason: string) {
  const away = next(snorky.disconnected);
  snorky.services.door.leave({ code, reason }).catch(() => {}); // no time to answer
  return (await away)[0];
}

describe.each(TRANSPORTS)("by %s", (transport) => {
  const transports = [transport];

  test.each([
    ["a text", (token: string) => token],
    ["a function", (token: string) => () => token],
    ["a function that takes its time", (token: string) => async () => token],
  ])("%s says who it is", async (_name, option) => {
    const name = somebody();
    const snorky = enter({ token: option(tokenOf(name)), transports });
    expect([snorky.isConnecting, snorky.transport]).toEqual([true, transport]);
    expect((await snorky.services.door.look()).identity).toBe(name);
  });

  test("each connection is made with a fresh token", async () => {
    const { token, given } = tokensOf(somebody());
    const snorky = enter({ token, transports });
    await next(snorky.connected);
    expect(given).toHaveLength(1);
    const disconnection = await sentAway(snorky, 3002, "token expired");
    expect(disconnection).toMatchObject({ code: 3002, reason: "token expired" });
    expect(disconnection.nextAttempt).not.toBeNull();
    await next(snorky.connected);
    expect((await snorky.services.door.look()).connections).toBe(2);
    expect(given).toHaveLength(2);
  });

  test("who has but one token stays away when it has expired", async () => {
    const snorky = enter({ token: tokenOf(somebody()), transports });
    await next(snorky.connected);
    expect(await sentAway(snorky, 3002, "token expired")).toEqual({
      code: 3002,
      reason: "token expired",
      nextAttempt: null,
    });
    expectConsoleErrors(/for good \(3002: token expired\)/);
    const name = somebody();
    snorky.options.token = tokenOf(name);
    snorky.connect();
    expect((await snorky.services.door.look()).identity).toBe(name);
  });

  test("the server may send away for good who has a function too", async () => {
    const snorky = enter({ token: tokensOf(somebody()).token, transports });
    await next(snorky.connected);
    expect((await sentAway(snorky, 3501, "not authenticated")).nextAttempt).toBeNull();
    expectConsoleErrors(/for good \(3501: not authenticated\)/);
  });
});

/** One story on each transport, at the same time: it takes as long as tokens last. */
test("new tokens come over the open connection, for as long as there are any", LONG, () =>
  Promise.all(
    TRANSPORTS.map(async (transport) => {
      const name = somebody();
      const { token, given } = tokensOf(name, 5); // and the server's grace, 4 seconds
      const end = Date.now() + 10_000;
      let gives = true;
      const give = () => {
        if (!gives) throw new Error("logged out");
        return token();
      };
      const snorky = enter({ token: give, transports: [transport] });
      const ends: Disconnection[] = [];
      snorky.disconnected.add((disconnection) => {
        ends.push(disconnection);
      });
      await next(snorky.connected);
      await vi.waitUntil(() => Date.now() > end, { timeout: 20_000, interval: 100 });
      expect(await snorky.services.door.look()).toMatchObject({ identity: name, connections: 1 });
      expect(ends).toEqual([]);
      expect(given.length).toBeGreaterThan(1);

      gives = false;
      await vi.waitUntil(() => ends.length > 2, { timeout: 20_000, interval: 100 });
      expect(ends[0]).toMatchObject({
        code: 3002,
        reason: expect.stringMatching(/token expired/i),
      });
      expect(ends[1]).toMatchObject({ code: 1006, reason: "no token: logged out" });
      expect(snorky.isConnected).toBe(false);
    }),
  ),
);

describe("a function that gives no token", () => {
  test.each([
    ["fails", () => Promise.reject(new Error("not logged in")), "no token: not logged in"],
    [
      "throws",
      () => {
        throw new Error("not logged in");
      },
      "no token: not logged in",
    ],
    ["rejects with a text", () => Promise.reject("no"), "no token: no"],
    ["gives nothing", () => undefined, "no token: expected a token of .*, got undefined"],
    ["gives a text that is none", () => "my secret", "no token: expected .*, got string"],
    ["never answers", () => new Promise(() => {}), "no token within 0.2 s"],
  ] as [string, () => any, string][])("%s: a failed attempt", async (_name, token, reason) => {
    const snorky = enter({ token, connectTimeout: 0.2, transports: TRANSPORTS });
    expect(snorky.transport).toBe("websocket");
    const [disconnection] = await next(snorky.disconnected);
    expect(disconnection).toMatchObject({ code: 1006, reason: expect.stringMatching(reason) });
    expect(disconnection.reason).not.toMatch("my secret");
    expect([snorky.isConnecting, snorky.transport]).toEqual([false, null]);
    snorky.options.token = tokensOf("late").token;
    await next(snorky.connected); // by itself, as after any failed attempt
    expect(snorky.transport).toBe("websocket");
  });

  test("is forgotten when the page disconnects meanwhile", async () => {
    let give!: (token: string) => void;
    const token = () => new Promise<string>((resolve) => (give = resolve));
    const snorky = enter({ token });
    snorky.disconnect();
    expect((await next(snorky.disconnected))[0]).toMatchObject({ code: 1000, nextAttempt: null });
    give(tokenOf("nobody"));
    // By the time another client has come, ours would be there too.
    await next(connect(server.url, {}).connected);
    expect([snorky.isConnecting, snorky.isConnected]).toEqual([false, false]);
  });
});

test("a text that is no token is refused, there and then, and not shown", () => {
  expect(() => enter({ token: "my secret" })).toThrow(/^expected a token .*, got string$/);
});

test("an expired token is told from others where the server can say so", async () => {
  const token = tokenOf(somebody(), { lasts: -10 });
  const snorky = enter({ token, transports: ["sse", "polling"] });
  const disconnection = (await next(snorky.disconnected))[0];
  expect(disconnection).toEqual({ code: 3002, reason: "401 Token expired", nextAttempt: null });
  expectConsoleErrors(/for good \(3002/);
});

describe("heartbeats", () => {
  test("go with a token as without", async () => {
    const snorky = enter({ token: tokenOf(somebody()), heartbeatInterval: 0.1 });
    await next(snorky.connected);
    const beats = vi.spyOn((snorky as any).socket, "send");
    await vi.waitFor(() => expect(beats.mock.calls.length).toBeGreaterThan(2), 20_000);
  });

  test("may be switched off", async () => {
    const snorky = enter({ token: tokenOf(somebody()), heartbeatInterval: 0 });
    await next(snorky.connected);
    expect((snorky as any)._heartbeat).toBeNull();
  });
});

describe("socket classes of the page's own", () => {
  function enterBy(SocketClass: any, address: string, token: string) {
    const snorky = new Snorky(SocketClass, address, { door: Door }, { token });
    onTestFinished(() => snorky.disconnect());
    return snorky;
  }

  test("bring the token in the query", async () => {
    class Own extends WebSocket {}
    const [name, url] = [somebody(), server.url.replace(/ws$/, "members/ws")];
    for (const address of [url, `${url}?v=1`]) {
      const { door } = enterBy(Own, address, tokenOf(name)).services;
      expect((await door.look()).identity).toBe(name);
    }
  });

  test("that cannot connect do not tell it either", () => {
    class Own {
      constructor(address: string) {
        throw new SyntaxError(`cannot connect to ${address}`);
      }
    }
    const error = "SyntaxError: cannot connect to nowhere?token=...";
    expect(() => enterBy(Own, "nowhere", tokenOf("x"))).toThrow(error);
  });
});

test("a server that takes no new tokens is asked once", LONG, async () => {
  const { token, given } = tokensOf(somebody(), 3);
  const snorky = enter({ token, callTimeout: 1 }, "visitors");
  const reasons: string[] = [];
  snorky.disconnected.add(({ reason }) => {
    reasons.push(reason);
  });
  // Without renewal each connection lasts for one token and the grace.
  await vi.waitUntil(() => reasons.length === 2, { timeout: 25_000, interval: 50 });
  expect(reasons.every((reason) => reason.startsWith("token expired"))).toBe(true);
  expect(await snorky.services.door.look()).toMatchObject({ connections: 3, strays: 1 });
  expect(given).toHaveLength(4);
});

test("new tokens are not sent where the option says so", LONG, async () => {
  const { token, given } = tokensOf(somebody(), 2);
  const snorky = enter({ token, identityService: "" });
  await next(snorky.connected);
  await next(snorky.disconnected);
  expect(given).toHaveLength(1);
});

test("a page's own service of that name hears what it asked, and nothing else", LONG, async () => {
  const { token, given } = tokensOf(somebody(), 3);
  const Identity = service("refresh");
  const url = server.url.replace(/ws$/, "members/ws");
  const snorky = connect(url, { identity: Identity }, { token });
  const heard = vi.fn();
  snorky.services.identity.packetReceived.add(heard);
  await vi.waitUntil(() => given.length > 1, { timeout: 20_000, interval: 50 });
  const { expiresIn } = await snorky.services.identity.refresh({ token: tokenOf("x") }).catch(
    () => ({ expiresIn: "refused" }), // it is somebody else's
  );
  expect(expiresIn).toBe("refused");
  expect(heard).toHaveBeenCalledTimes(1);
});

test("tokens are not logged", LONG, async () => {
  const lines: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...args) => {
    lines.push(args.map((arg) => `${arg} ${JSON.stringify(arg)}`).join(" "));
  });
  onTestFinished(() => log.mockRestore());
  for (const transport of TRANSPORTS) {
    const { token, given } = tokensOf(somebody(), 3);
    const snorky = enter({ token, transports: [transport], debug: true });
    await vi.waitUntil(() => lines.some((line) => line.includes("expiresIn")), {
      timeout: 20_000,
    });
    expect(given.length).toBeGreaterThan(1);
    for (const secret of given) expect(lines.join("\n")).not.toContain(secret);
    lines.length = 0;
    snorky.disconnect();
  }
  expect(consoleErrorCount()).toBe(0);
});
