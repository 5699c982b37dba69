/**
 * Services one calls: every call is answered once, by the server or by a ConnectionError.
 */

import { Class } from "./class.js";
import { ConnectionError } from "./errors.js";
import type { Outgoing } from "./outbox.js";
import { primitives } from "./primitives.js";
import { Service, type ServiceClass } from "./service.js";
import type { Signal } from "./signal.js";
import { Timer } from "./timer.js";

export interface RPCService extends Service {
  /** Dispatched with each message that is not the answer to a call. */
  notificationReceived: Signal<[notification: any]>;
  /** Run a command. Rejected with an Error that carries the server's text. */
  rpcCall<T = any>(command: string, params?: object): Promise<T>;
  /**
   * @internal What `rpcCall` does, for those who must have the answer before what follows it: they
   * are told within the dispatch of the message.
   */
  _call(
    command: string,
    params: object,
    resolve: (data: any) => void,
    reject: (error: Error) => void,
  ): void;
  /** @internal */
  _connectionClosed(error: ConnectionError): void;
  /** @internal */
  _calls: Map<unknown, OpenCall>;
  /** @internal */
  _nextCallId: number;
}

interface OpenCall {
  _outgoing?: Outgoing;
  _timer?: Timer;
  _resolve(data: unknown): void;
  _reject(error: Error): void;
}

export interface RPCServiceClass<T extends RPCService = RPCService> extends ServiceClass<T> {
  /** Add a method for each command. It takes the command's params as one object. */
  addRPCMethods(names: readonly string[]): void;
}

export const RPCService = Class<RPCServiceClass>(Service, {
  _setUp() {
    this.notificationReceived = new primitives.Signal();
    this._calls = new Map();
    this._nextCallId = 0;
    this.packetReceived.add(receive, this);
  },

  rpcCall(command, params = {}) {
    return new primitives.Promise((resolve, reject) =>
      this._call(command, params, resolve, reject),
    );
  },

  _call(command, params, resolve, reject) {
    const callId = this._nextCallId++;
    const { callTimeout } = this.snorky.options;
    const call: OpenCall = { _resolve: resolve, _reject: reject };
    // First, as a socket may answer while it is sending.
    this._calls.set(callId, call);
    try {
      call._outgoing = this.sendMessage({ command, params, callId });
    } catch (error) {
      this._calls.delete(callId);
      reject(error as Error);
      return;
    }
    const startTimeout = () => {
      if (!this._calls.has(callId)) return;
      call._timer = new Timer();
      call._timer.limit(callTimeout, () => {
        const text = `No answer to "${command}" of "${this.name}" within ${callTimeout} s`;
        close(this, callId)?._reject(new ConnectionError("timeout", text));
      });
    };
    // In the queue it waits for as long as there is no connection.
    if (call._outgoing?.sent ?? true) startTimeout();
    else call._outgoing!.onSent = startTimeout;
  },

  _connectionClosed(error) {
    for (const [callId, call] of this._calls) {
      // What still waits in the queue will be sent on the next connection.
      if (call._outgoing?.sent ?? true) close(this, callId)?._reject(error);
    }
  },

  STATIC: {
    addRPCMethods(this: RPCServiceClass, names: readonly string[]) {
      for (const name of names) {
        if (name in this.prototype) {
          throw new Error(`Refusing to overwrite method "${name}"`);
        }
        (this.prototype as any)[name] = function (this: RPCService, params?: object) {
          return this.rpcCall(name, params);
        };
      }
    },
  },
});

function receive(this: RPCService, message: any): void {
  const type = message?.type;
  if (type !== "response" && type !== "error") {
    this.notificationReceived.dispatch(message);
    return;
  }
  const call = close(this, message.callId);
  if (!call) {
    console.error(`Snorky: an answer with unknown callId in service "${this.name}":`, message);
  } else if (type === "response") {
    call._resolve(message.data);
  } else {
    call._reject(new Error(message.message));
  }
}

/** Take a call from the open ones. Who closes it settles its promise. */
function close(service: RPCService, callId: unknown): OpenCall | undefined {
  const call = service._calls.get(callId);
  if (call) {
    service._calls.delete(callId);
    call._timer?.stop();
  }
  return call;
}
