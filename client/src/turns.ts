/**
 * Keeps what a page asks for, takes back and asks for again in that order.
 *
 * A server may take its time to say yes: what is taken back before its answer would be refused as
 * if it had never been there, and stay. So each waits for the answer to its opposite.
 */

import { isDisconnection } from "./errors.js";
import { primitives } from "./primitives.js";

type Ask = () => Promise<any>;

interface Waiting {
  _wants: boolean;
  _ask: Ask;
  _resolve: (value: any) => void;
  _reject: (error: unknown) => void;
}

interface Line {
  /** Whether those under way want it, or want to be rid of it. */
  _wants: boolean;
  _underWay: number;
  _waiting: Waiting[];
}

export type Turns = ReturnType<typeof createTurns>;

export function createTurns() {
  const lines = new Map<unknown, Line>();

  const go = <T>(key: unknown, line: Line, ask: () => Promise<T>): Promise<T> => {
    line._underWay++;
    // One promise: a refusal that the page does not handle is reported by the browser.
    return ask().then(
      (value) => {
        done(key, line);
        return value;
      },
      (error) => {
        done(key, line, error);
        throw error;
      },
    );
  };

  const done = (key: unknown, line: Line, error?: unknown) => {
    if (--line._underWay > 0) return;
    const { _waiting: waiting } = line;
    if (isDisconnection(error)) {
      for (const one of waiting.splice(0)) {
        if (one._wants) one._reject(error);
        else one._resolve(null);
      }
    }
    if (!waiting.length) lines.delete(key);
    else line._wants = waiting[0]._wants;
    while (waiting[0]?._wants === line._wants) {
      const one = waiting.shift()!;
      go(key, line, one._ask).then(one._resolve, one._reject);
    }
  };

  return {
    /**
     * Call `ask`, at once where its opposite is not under way. `key` says what is wanted.
     *
     * Where the connection ends before its turn nothing is asked: what was wanted has failed with
     * it, and what was not wanted has ended with it.
     */
    _take<T>(key: unknown, wants: boolean, ask: () => Promise<T>): Promise<T> {
      const line = lines.get(key) ?? { _wants: wants, _underWay: 0, _waiting: [] };
      lines.set(key, line);
      if (!line._waiting.length && line._wants === wants) return go(key, line, ask);
      return new primitives.Promise<T>((resolve, reject) => {
        line._waiting.push({ _wants: wants, _ask: ask, _resolve: resolve, _reject: reject });
      });
    },
  };
}
