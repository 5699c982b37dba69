/** JSON Web Tokens for the tests' server, as a web application makes them. */

import { createHmac } from "node:crypto";

const SECRET = "a secret of the client's tests, long enough";

let made = 0;

/** No two are the same. `lasts`: seconds. */
export function tokenOf(sub: string, { lasts = 600 } = {}): string {
  const exp = Math.floor(Date.now() / 1000) + lasts;
  const text = [{ alg: "HS256" }, { sub, aud: "tests", exp, jti: `${made++}` }]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}
