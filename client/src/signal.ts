/**
 * Signals: one event each, with listeners. The interface is that of js-signals 1.0.
 */

import { Class, type ES5Class } from "./class.js";

/** A listener that returns `false` keeps the event from those after it. */
export type Listener<A extends any[] = any[]> = (...args: A) => unknown;

export interface Signal<A extends any[] = any[]> {
  /** Set it to false to let `dispatch` do nothing. */
  active: boolean;
  /** Set it to true to call new listeners at once with what was dispatched last. */
  memorize: boolean;
  /** Call `listener` at each dispatch, those of higher priority first. Added once only. */
  add(listener: Listener<A>, context?: unknown, priority?: number): SignalBinding<A>;
  /** The same for one dispatch. */
  addOnce(listener: Listener<A>, context?: unknown, priority?: number): SignalBinding<A>;
  /** Remove what was added with this very context. Returns the listener. */
  remove(listener: Listener<A>, context?: unknown): Listener<A>;
  removeAll(): void;
  has(listener: Listener<A>, context?: unknown): boolean;
  getNumListeners(): number;
  /** Called by a listener: keep the event from those after it. */
  halt(): void;
  /** Call the listeners. May itself be passed on as a listener: it is bound to its signal. */
  dispatch(...args: A): void;
  /** Forget what was memorized. */
  forget(): void;
  /** Remove all listeners and forget. */
  dispose(): void;
  /** @internal */
  _bindings: SignalBinding<A>[];
  /** @internal */
  _memorized: A | null;
  /** @internal */
  _halted: boolean;
}

export interface SignalClass extends ES5Class<Signal, []> {
  new <A extends any[] = any[]>(): Signal<A>;
}

/** One listener of one signal, returned by `add` and `addOnce`. */
export class SignalBinding<A extends any[] = any[]> {
  /** Set it to false to leave this listener out. */
  active = true;
  /** Arguments put before those of each dispatch. */
  params: unknown[] | null = null;

  constructor(
    private readonly _signal: Signal<A>,
    /** @internal */ readonly _listener: Listener<A>,
    /** @internal */ readonly _once: boolean,
    public context: unknown,
    /** @internal */ readonly priority: number,
  ) {}

  /** Call the listener, as the signal does, and return what it returns. */
  execute(args: A): unknown {
    if (!this.active || !this.isBound()) return undefined;
    // Before the call: it may throw, dispatch again or add itself anew.
    if (this._once) this.detach();
    const all = this.params ? [...this.params, ...args] : args;
    return this._listener.apply(this.context, all as A);
  }

  /** Take the listener off its signal. Returns the listener, null if it was off already. */
  detach(): Listener<A> | null {
    return this.isBound() ? this._signal.remove(this._listener, this.context) : null;
  }

  isBound(): boolean {
    return this._signal._bindings.includes(this);
  }

  isOnce(): boolean {
    return this._once;
  }

  getListener(): Listener<A> {
    return this._listener;
  }

  getSignal(): Signal<A> {
    return this._signal;
  }
}

export const Signal = Class<SignalClass>({
  active: true,
  memorize: false,

  constructor() {
    this._bindings = [];
    this._memorized = null;
    this._halted = false;
    const { dispatch } = this;
    this.dispatch = (...args) => dispatch.apply(this, args);
  },

  add(listener, context, priority = 0) {
    return bind(this, listener, context, priority, false);
  },

  addOnce(listener, context, priority = 0) {
    return bind(this, listener, context, priority, true);
  },

  remove(listener, context) {
    requireFunction(listener, "remove");
    const removed = find(this, listener, context);
    this._bindings = this._bindings.filter((binding) => binding !== removed);
    return listener;
  },

  removeAll() {
    this._bindings = [];
  },

  has(listener, context) {
    return find(this, listener, context) !== undefined;
  },

  getNumListeners() {
    return this._bindings.length;
  },

  halt() {
    this._halted = true;
  },

  dispatch(...args) {
    if (!this.active) return;
    if (this.memorize) this._memorized = args;
    this._halted = false;
    // Changes make a new array: this dispatch goes over the listeners there were at its start.
    for (const binding of this._bindings) {
      if (binding.execute(args) === false || this._halted) break;
    }
  },

  forget() {
    this._memorized = null;
  },

  dispose() {
    this.removeAll();
    this.forget();
  },
});

function bind(
  signal: Signal,
  listener: Listener,
  context: unknown,
  priority: number,
  once: boolean,
): SignalBinding {
  requireFunction(listener, once ? "addOnce" : "add");
  let binding = find(signal, listener, context);
  if (binding && binding._once !== once) {
    throw new Error("A listener is added once, or for good: remove it first.");
  }
  if (!binding) {
    binding = new SignalBinding(signal, listener, once, context, priority);
    // The sort is stable: equal priorities are called in the order of adding.
    signal._bindings = [...signal._bindings, binding].sort((a, b) => b.priority - a.priority);
  }
  if (signal.memorize && signal._memorized) binding.execute(signal._memorized);
  return binding;
}

function find(signal: Signal, listener: Listener, context: unknown): SignalBinding | undefined {
  return signal._bindings.find(
    (binding) => binding._listener === listener && binding.context === context,
  );
}

function requireFunction(listener: unknown, method: string): void {
  if (typeof listener !== "function") {
    throw new Error(`${method}() expects a function as listener, got ${typeof listener}`);
  }
}
