/** A document as one of its clients sees it: its own cursors, and everybody else's. */

import { Class, type ES5Class } from "../class.js";
import { canonical } from "../json.js";
import { primitives } from "../primitives.js";
import type { RPCService } from "../rpc.js";
import type { Signal } from "../signal.js";

/** A document is any JSON value, usually a string. */
export interface DocumentParams {
  document: unknown;
}

/** The service that a document is part of. */
export interface DocumentService extends RPCService {
  /** Dispatched with somebody else's cursor, in any document; documents have the same signals. */
  cursorAdded: Signal<[cursor: ForeignCursor]>;
  cursorUpdated: Signal<[cursor: ForeignCursor]>;
  cursorRemoved: Signal<[cursor: ForeignCursor]>;
  join(params: DocumentParams): Promise<Document>;
  leave(params: DocumentParams): Promise<null>;
}

/** Both are any JSON value. */
export interface CursorPlace {
  position: any;
  status: any;
}

export interface Cursor extends CursorPlace {
  isMine: boolean;
  /** Undefined until the server has answered. */
  publicHandle: number | undefined;
  document: Document;
}

/** Somebody else's, or one of another window of the same identity. */
export interface ForeignCursor extends Cursor {
  isMine: false;
  /** The identity whose it is. */
  owner: any;
}

export interface OwnCursor extends Cursor {
  isMine: true;
  privateHandle: number;
  /** By the page, by a refusal, or by leaving the document. */
  removed: boolean;
  /** Calls that the server has not answered yet. */
  pendingPromiseCount: number;
  /** Move it at once, and tell the others. What the server refuses is taken back. */
  update(newData: Partial<CursorPlace>): Promise<null>;
  remove(): Promise<null>;
  /** Whether the server has answered everything. */
  isSynchronized(): boolean;
  /** @internal What the server was told last, as JSON: a page may change a position in place. */
  _sent: Texts;
  /** @internal What it has accepted last. */
  _accepted: Texts;
}

type Texts = Record<keyof CursorPlace, string>;

export interface Document {
  service: DocumentService;
  name: any;
  /** All that are in it, one's own included. Always the same array. */
  cursors: (ForeignCursor | OwnCursor)[];
  cursorAdded: Signal<[cursor: ForeignCursor]>;
  cursorUpdated: Signal<[cursor: ForeignCursor]>;
  cursorRemoved: Signal<[cursor: ForeignCursor]>;
  /** The cursor is there at once; the promise is resolved with its public handle. */
  createCursor(place?: Partial<CursorPlace>): [OwnCursor, Promise<number>];
}

const KEYS = ["position", "status"] as const;

export const Cursor = Class<ES5Class<Cursor, [Document, CursorPlace]>>({
  isMine: false,
  publicHandle: undefined,

  constructor(document, { position, status }) {
    Object.assign(this, { document, position, status });
  },
});

export const ForeignCursor = Class<ES5Class<ForeignCursor, [Document, any]>>(Cursor, {
  constructor(document, data) {
    Cursor.call(this, document, data);
    this.publicHandle = data.publicHandle;
    this.owner = data.owner;
  },
});

export const OwnCursor = Class<ES5Class<OwnCursor, [Document, number, CursorPlace]>>(Cursor, {
  isMine: true,

  constructor(document, privateHandle, place) {
    Cursor.call(this, document, place);
    this.privateHandle = privateHandle;
    this.removed = false;
    this.pendingPromiseCount = 0;
    this._sent = { position: text(place.position), status: text(place.status) };
    this._accepted = { ...this._sent };
  },

  update(newData) {
    const changes: Partial<CursorPlace> = {};
    const texts: Partial<Texts> = {};
    for (const key of Object.keys(newData ?? {}) as (keyof CursorPlace)[]) {
      if (!KEYS.includes(key)) throw new Error(`Can't update '${key}' of cursor.`);
      const value = newData[key] ?? null;
      if (text(value) === this._sent[key]) continue;
      changes[key] = value;
      texts[key] = text(value);
    }
    if (Object.keys(changes).length === 0)
      return new primitives.Promise((resolve) => resolve(null));
    Object.assign(this, changes);
    Object.assign(this._sent, texts);
    return answered(
      this,
      call<null>(this, "updateCursor", { newData: changes }),
      () => Object.assign(this._accepted, texts),
      () => takeBack(this, texts),
    );
  },

  remove() {
    discard(this);
    return answered(this, call<null>(this, "removeCursor"));
  },

  isSynchronized() {
    return this.pendingPromiseCount === 0;
  },
});

let privateHandles = 0;

export const Document = Class<ES5Class<Document, [DocumentService, unknown]>>({
  constructor(service, name) {
    Object.assign(this, { service, name, cursors: [] });
    this.cursorAdded = new primitives.Signal();
    this.cursorUpdated = new primitives.Signal();
    this.cursorRemoved = new primitives.Signal();
  },

  createCursor({ position = null, status = null } = {}) {
    const cursor = new OwnCursor(this, privateHandles++, { position, status });
    this.cursors.push(cursor);
    const answer = answered(
      cursor,
      call<number>(cursor, "createCursor", { document: this.name, position, status }),
      (publicHandle) => {
        cursor.publicHandle = publicHandle;
      },
      () => discard(cursor),
    );
    return [cursor, answer];
  },
});

/** Take an own cursor out of its document. */
export function discard(cursor: OwnCursor): void {
  const { cursors } = cursor.document;
  const index = cursors.indexOf(cursor);
  if (index >= 0) cursors.splice(index, 1);
  cursor.removed = true;
}

function call<T>(cursor: OwnCursor, command: string, params = {}): Promise<T> {
  const { privateHandle, document } = cursor;
  return document.service.rpcCall(command, { privateHandle, ...params });
}

/** Count `answer` as pending until it is there. */
function answered<T>(
  cursor: OwnCursor,
  answer: Promise<T>,
  accepted: (value: T) => void = () => {},
  refused: () => void = () => {},
): Promise<T> {
  cursor.pendingPromiseCount++;
  return answer.then(
    (value) => {
      cursor.pendingPromiseCount--;
      accepted(value);
      return value;
    },
    (error) => {
      cursor.pendingPromiseCount--;
      refused();
      throw error;
    },
  );
}

/** Undo an update, unless a later one has replaced it. */
function takeBack(cursor: OwnCursor, texts: Partial<Texts>): void {
  for (const key of KEYS) {
    if (texts[key] === undefined || texts[key] !== cursor._sent[key]) continue;
    cursor._sent[key] = cursor._accepted[key];
    cursor[key] = JSON.parse(cursor._accepted[key]);
  }
}

function text(value: unknown): string {
  return canonical(value ?? null)!;
}
