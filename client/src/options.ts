/** A text, or a function that is asked before each attempt to connect. */
export type Token = string | (() => string | Promise<string>);

/** "websocket" is the socket class given; the others go over plain HTTP. */
export type Transport = "websocket" | "sse" | "polling";

/** The fourth argument of `new Snorky(...)`. Times are in seconds. */
export interface SnorkyOptions {
  /** Log messages and connections to the console. Default false. */
  debug?: boolean;
  /** What to connect by: the first that works. Default ["websocket"]. */
  transports?: readonly Transport[];
  /** Where "sse" and "polling" connect. Default: `comet` beside the address, `/ws` -> `/comet`. */
  cometAddress?: string;
  /** Who the user is, for the server's `authenticate`. Read, or asked, at each attempt. */
  token?: Token;
  /** Takes new tokens from a function over the open connection. Default "identity", "" = none. */
  identityService?: string;
  /** Reconnect after a drop. Default true. */
  reconnect?: boolean;
  /** Bound of the random delay before the first attempt; it doubles with each. Default 0.5. */
  minReconnectDelay?: number;
  /** The most that bound grows to. Default 20. */
  maxReconnectDelay?: number;
  /** How long an attempt to connect may take. Default 20, 0 = any time. */
  connectTimeout?: number;
  /**
   * The same while other transports are left to try, unless this one worked last.
   * Default 5, 0 = as `connectTimeout`.
   */
  fallbackTimeout?: number;
  /** How long the server may take to answer a call. Default 90, 0 = any time. */
  callTimeout?: number;
  /** Silence after which the client asks the server for a sign of life. Default 25, 0 = never. */
  heartbeatInterval?: number;
  /** Messages that may wait for a connection. Default 1000. */
  maxQueuedMessages?: number;
  /** Their size in bytes of UTF-8, and that of what the socket has not sent yet. Default 1 MiB. */
  maxQueuedBytes?: number;
}

export const defaultOptions: Required<SnorkyOptions> = {
  debug: false,
  transports: ["websocket"],
  cometAddress: "",
  token: "",
  identityService: "identity",
  reconnect: true,
  minReconnectDelay: 0.5,
  maxReconnectDelay: 20,
  connectTimeout: 20,
  fallbackTimeout: 5,
  callTimeout: 90,
  heartbeatInterval: 25,
  maxQueuedMessages: 1000,
  maxQueuedBytes: 1024 * 1024,
};
