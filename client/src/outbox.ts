/**
 * Messages that wait for a connection, bounded in number and in bytes.
 */

import { ConnectionError } from "./errors.js";

/** A message on its way. */
export interface Outgoing {
  readonly text: string;
  /** It has been handed to a socket. */
  sent: boolean;
  /** Called when that has happened, if it had to wait. */
  onSent?: () => void;
}

export class Outbox {
  private _messages: Outgoing[] = [];
  private _bytes = 0;

  constructor(
    private readonly _maxMessages: number,
    private readonly _maxBytes: number,
  ) {}

  /** Keep a message for later. Throws ConnectionError where it does not fit. */
  add(text: string): Outgoing {
    const { _maxMessages: maxMessages, _maxBytes: maxBytes } = this;
    const bytes = byteLength(text);
    if (this._messages.length >= maxMessages || this._bytes + bytes > maxBytes) {
      throw new ConnectionError(
        "overflow",
        `No room: ${this._messages.length} messages (at most ${maxMessages}) ` +
          `and ${this._bytes} + ${bytes} bytes (at most ${maxBytes})`,
      );
    }
    const outgoing: Outgoing = { text, sent: false };
    this._messages.push(outgoing);
    this._bytes += bytes;
    return outgoing;
  }

  /** The oldest message; undefined when there is none. */
  get first(): Outgoing | undefined {
    return this._messages[0];
  }

  /** Drop the oldest message. */
  removeFirst(): void {
    const outgoing = this._messages.shift();
    if (outgoing) this._bytes -= byteLength(outgoing.text);
  }
}

/** In UTF-8. Not every place where pages are tested has a TextEncoder. */
function byteLength(text: string): number {
  return encodeURIComponent(text).replace(/%../g, "x").length;
}
