/**
 * Documents with the cursors of everybody who is in them. A document ends with the connection:
 * join it in `connected`.
 */

import { Class } from "../class.js";
import { canonical } from "../json.js";
import { RPCService, type RPCServiceClass } from "../rpc.js";
import { primitives } from "../primitives.js";
import { createTurns, type Turns } from "../turns.js";
import {
  Cursor,
  discard,
  Document,
  type DocumentService,
  ForeignCursor,
  OwnCursor,
} from "./cursors_document.js";

export interface Cursors extends DocumentService {
  /** @internal Those one is in, by name. */
  _documents: Map<string | undefined, Document>;
  /** @internal Those one is about to be in, by the callId of `join`. */
  _joining: Map<unknown, Document>;
  /** @internal By document. */
  _turns: Turns;
}

export interface CursorsClass extends RPCServiceClass<Cursors> {
  Document: typeof Document;
  Cursor: typeof Cursor;
  ForeignCursor: typeof ForeignCursor;
  OwnCursor: typeof OwnCursor;
}

export const Cursors = Class<CursorsClass>(RPCService, {
  _setUp() {
    RPCService.prototype._setUp.call(this);
    this.cursorAdded = new primitives.Signal();
    this.cursorUpdated = new primitives.Signal();
    this.cursorRemoved = new primitives.Signal();
    this._documents = new Map();
    this._joining = new Map();
    this._turns = createTurns();
    // Before the promise of `join` is resolved: it may call those who wait for it at once, or only
    // when notifications have come.
    this.packetReceived.add(joined, this, 1);
    this.notificationReceived.add(receive, this);
  },

  join(params) {
    return this._turns._take(canonical(params?.document), true, () => {
      const callId = this._nextCallId;
      const document = new Document(this, params?.document);
      this._joining.set(callId, document);
      return this.rpcCall("join", params).then(
        () => document,
        (error) => {
          this._joining.delete(callId);
          throw error;
        },
      );
    });
  },

  leave(params) {
    const key = canonical(params?.document);
    end(this, key);
    return this._turns._take(key, false, () => {
      end(this, key); // it may have been joined since
      return this.rpcCall<null>("leave", params);
    });
  },

  _connectionClosed(error) {
    RPCService.prototype._connectionClosed.call(this, error);
    for (const key of this._documents.keys()) end(this, key);
  },

  STATIC: { Document, Cursor, ForeignCursor, OwnCursor },
});

function joined(this: Cursors, message: any): void {
  const document = this._joining.get(message?.callId);
  if (!document || message.type !== "response") return;
  this._joining.delete(message.callId);
  for (const data of message.data.cursors) {
    document.cursors.push(new ForeignCursor(document, data));
  }
  this._documents.set(canonical(document.name), document);
}

function receive(this: Cursors, notification: any): void {
  const data = notification?.cursor;
  const document = this._documents.get(canonical(data?.document));
  if (!document) return; // left already
  const { cursors } = document;
  if (notification.type === "cursorAdded") {
    const cursor = new ForeignCursor(document, data);
    cursors.push(cursor);
    announce(this, "cursorAdded", cursor);
    return;
  }
  const cursor = cursors.find(
    (each): each is ForeignCursor => !each.isMine && each.publicHandle === data.publicHandle,
  );
  if (!cursor) return;
  if (notification.type === "cursorUpdated") {
    cursor.position = data.position;
    cursor.status = data.status;
    announce(this, "cursorUpdated", cursor);
  } else if (notification.type === "cursorRemoved") {
    cursors.splice(cursors.indexOf(cursor), 1);
    announce(this, "cursorRemoved", cursor);
  }
}

function announce(
  service: Cursors,
  signal: "cursorAdded" | "cursorUpdated" | "cursorRemoved",
  cursor: ForeignCursor,
): void {
  cursor.document[signal].dispatch(cursor);
  service[signal].dispatch(cursor);
}

/** One is out of a document, and one's cursors with it. */
function end(service: Cursors, key: string | undefined): void {
  const document = service._documents.get(key);
  service._documents.delete(key);
  for (const cursor of [...(document?.cursors ?? [])]) {
    if (cursor.isMine) discard(cursor);
  }
}
