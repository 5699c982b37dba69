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
  wants: boolean;
  go: Ask;
  resolve: (value: any) => void;
  reject: (error: unknown) => void;
}

interface Line {
  /** Whether those under way want it, or want to be rid of it. */
  wants: boolean;
  underWay: number;
  waiting: Waiting[];
}

export class Turns {
  private readonly lines = new Map<unknown, Line>();

  /**
   * Call `ask`, at once where its opposite is not under way. `key` says what is wanted.
   *
   * Where the connection ends before its turn nothing is asked: what was wanted has failed with
   * it, and what was not wanted has ended with it.
   */
  take<T>(key: unknown, wants: boolean, ask: () => Promise<T>): Promise<T> {
    const line = this.lines.get(key) ?? { wants, underWay: 0, waiting: [] };
    this.lines.set(key, line);
    if (line.waiting.length === 0 && line.wants === wants) return this.go(key, line, ask);
    return new primitives.Promise<T>((resolve, reject) => {
      line.waiting.push({ wants, go: ask, resolve, reject });
    });
  }

  private go<T>(key: unknown, line: Line, ask: () => Promise<T>): Promise<T> {
    line.underWay++;
    // One promise: a refusal that the page does not handle is reported by the browser.
    return ask().then(
      (value) => {
        this.done(key, line);
        return value;
      },
      (error) => {
        this.done(key, line, error);
        throw error;
      },
    );
  }

  private done(key: unknown, line: Line, error?: unknown): void {
    if (--line.underWay > 0) return;
    if (isDisconnection(error)) {
      for (const { wants, resolve, reject } of line.waiting.splice(0)) {
        if (wants) reject(error);
        else resolve(null);
      }
    }
    if (line.waiting.length === 0) this.lines.delete(key);
    else line.wants = line.waiting[0].wants;
    while (line.waiting[0]?.wants === line.wants) {
      const { go, resolve, reject } = line.waiting.shift()!;
      this.go(key, line, go).then(resolve, reject);
    }
  }
}
