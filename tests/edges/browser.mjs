// What a browser adds to the requests of a page, and Node does not: its origin and its cookies.
import { AsyncLocalStorage } from "node:async_hooks";
import http from "node:http";
import https from "node:https";

const pages = new AsyncLocalStorage();

/** Run `callback`: whatever is asked for then, or later on account of it, has these headers too. */
export const inPage = (headers, callback) => pages.run(headers, callback);

for (const module of [http, https]) {
  const { request } = module;
  module.request = (options, ...rest) =>
    request({ ...options, headers: { ...options.headers, ...pages.getStore() } }, ...rest);
}

const { fetch } = globalThis;
globalThis.fetch = (url, init) =>
  fetch(url, { ...init, headers: { ...init.headers, ...pages.getStore() } });
