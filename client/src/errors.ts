/** Why the client could not ask the server, or got no answer. */
export type ConnectionErrorReason =
  /** The connection ended before the answer came: the call may have been carried out. */
  | "disconnected"
  /** No answer within `callTimeout`. */
  | "timeout"
  /** Too much is waiting to be sent already: this call was not taken. */
  | "overflow";

/** A call failed for the connection's sake. What the server refuses is a plain `Error`. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";

  constructor(
    readonly reason: ConnectionErrorReason,
    message: string,
  ) {
    super(message);
  }
}

/** Whether the connection ended before the answer came. */
export function isDisconnection(error: unknown): boolean {
  return error instanceof ConnectionError && error.reason === "disconnected";
}

/** What somebody else's error says. They may throw anything. */
export function textOf(error: any): string {
  return `${error?.message ?? error}`;
}

/** Run code of the page: its errors are its own and must not stop ours. */
export function guard(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    console.error(error);
  }
}
