/**
 * Classes made of plain functions: callable as `Base.call(this, ...)` and good for `extends`.
 *
 * Everything users derive from is made here, because pages written before ES6 call the base's
 * constructor on an object of their own, which an ES6 class refuses.
 */

/** A constructor that may also be applied to an object that already exists. */
export interface ES5Class<T = any, A extends any[] = any[]> {
  new (...args: A): T;
  (this: T, ...args: A): void;
  prototype: T;
  /** What the class was derived from. */
  Super?: any;
}

/** The members of a class: methods, an own `constructor`, and `STATIC` for the class itself. */
export type ClassBody<C extends ES5Class> = Partial<C["prototype"]> & {
  constructor?: ((...args: ConstructorParameters<C>) => void) | Function;
  STATIC?: Record<string, unknown>;
} & ThisType<C["prototype"]>;

type AnyConstructor = abstract new (...args: any[]) => any;

/**
 * Make a class: `Class([Base, [Mixin, ...]] body)`, with or without `new`.
 *
 * Constructor and statics are inherited. A mixin adds what the class does not have otherwise.
 */
export function Class<C extends ES5Class>(body: ClassBody<C>): C;
export function Class<C extends ES5Class>(Base: AnyConstructor, body: ClassBody<C>): C;
export function Class(...parts: any[]): any;
export function Class(...parts: any[]): any {
  const body = parts.pop();
  const Base = parts.shift();
  const made = constructorFrom(body, Base ?? Object);

  if (Base) {
    Object.setPrototypeOf(made, Base);
    made.Super = Base;
  }
  made.prototype = Object.create((Base ?? Object).prototype, {
    constructor: { value: made, writable: true, configurable: true },
  });
  define(made.prototype, body, (name) => name !== "constructor" && name !== "STATIC");
  for (const mixin of parts) {
    addMissing(made.prototype, typeof mixin === "function" ? mixin.prototype : mixin);
  }
  define(made, body.STATIC ?? {}, () => true);
  return made;
}

function constructorFrom(body: any, Base: any): any {
  const own = Object.hasOwn(body, "constructor") ? body.constructor : null;
  // The function itself becomes the class, so that its name means the class inside it:
  // constructor: function Chat() { Chat.Super.call(this); }
  if (own && Object.hasOwn(own, "prototype")) return own;
  if (own) {
    return function (this: unknown, ...args: unknown[]) {
      return own.apply(this, args);
    };
  }
  return function (this: unknown, ...args: unknown[]) {
    // Reflect.construct serves bases that are ES6 classes too.
    return new.target ? Reflect.construct(Base, args, new.target) : Base.apply(this, args);
  };
}

function define(target: object, members: object, wanted: (name: string) => boolean): void {
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(members))) {
    if (wanted(name)) Object.defineProperty(target, name, descriptor);
  }
}

function addMissing(target: object, mixin: object): void {
  for (let from = mixin; from && from !== Object.prototype; from = Object.getPrototypeOf(from)) {
    define(target, from, (name) => !(name in target));
  }
}
