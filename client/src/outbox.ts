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
  private messages: Outgoing[] = [];
  private bytes = 0;

  constructor(
    private readonly maxMessages: number,
    private readonly maxBytes: number,
  ) {}

  /** Keep a message for later. Throws ConnectionError where it does not fit. */
  add(text: string): Outgoing {
    const { maxMessages, maxBytes } = this;
    const bytes = byteLength(text);
    if (this.messages.length >= maxMessages || this.bytes + bytes > maxBytes) {
      throw new ConnectionError(
        "overflow",
        `Not connected, and no room: ${this.messages.length} messages (at most ${maxMessages}) ` +
          `and ${this.bytes} + ${bytes} bytes (at most ${maxBytes})`,
      );
    }
    const outgoing: Outgoing = { text, sent: false };
    this.messages.push(outgoing);
    this.bytes += bytes;
    return outgoing;
  }

  /** The oldest message; undefined when there is none. */
  get first(): Outgoing | undefined {
    return this.messages[0];
  }

  /** Drop the oldest message. */
  removeFirst(): void {
    const outgoing = this.messages.shift();
    if (outgoing) this.bytes -= byteLength(outgoing.text);
  }
}

/** In UTF-8. Not every place where pages are tested has a TextEncoder. */
function byteLength(text: string): number {
  return encodeURIComponent(text).replace(/%../g, "x").length;
}
