/**
 * Filters written as TypeScript, with the types of the rows: what is built is plain JSON.
 *
 *     const task = fields<Task>();
 *     const mine = and(task("team").eq(3), not(task("state").in(["done", "dropped"])));
 *
 * Every export stands alone, so a bundler keeps only what a page uses.
 */

/** Any JSON value. */
export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

/** A filter in prefix notation, as it travels. */
export type Filter =
  | readonly ["==" | "!=", field: string, value: Json]
  | readonly ["<" | "<=" | ">" | ">=", field: string, value: number | string]
  | readonly ["in", field: string, values: readonly Json[]]
  | readonly ["isnull", field: string, isNull: boolean]
  | readonly ["startswith", field: string, prefix: string]
  | Joined
  | readonly ["not", filter: Filter];

/** `and` or `or`, and the filters that it joins. */
export interface Joined extends ReadonlyArray<"and" | "or" | Filter> {
  readonly 0: "and" | "or";
}

/** What may be compared with a field: text for what JSON has no values of, as serializers do. */
type Comparable<Value> = Value extends Date ? string : Value;

type Leaf = null | undefined | boolean | number | string | Date | readonly unknown[];

/** The names of a row's fields, dotted where they lead into nested objects. */
export type FieldOf<Row> = {
  [Name in keyof Row & string]: NonNullable<Row[Name]> extends Leaf
    ? Name
    : Name | `${Name}.${FieldOf<NonNullable<Row[Name]>>}`;
}[keyof Row & string];

/** The type of a field, which dots may lead to. */
export type ValueOf<Row, Field extends string> = Field extends keyof Row
  ? Row[Field]
  : Field extends `${infer Name}.${infer Rest}`
    ? Name extends keyof Row
      ? ValueOf<NonNullable<Row[Name]>, Rest>
      : never
    : never;

/** A field of a row, to be compared. */
export class Field<Value> {
  constructor(readonly name: string) {}

  eq(value: Comparable<Value>): Filter {
    return ["==", this.name, value as Json];
  }

  /** Present, and not equal. */
  ne(value: Comparable<Value>): Filter {
    return ["!=", this.name, value as Json];
  }

  lt(value: Ordered<Value>): Filter {
    return ["<", this.name, value];
  }

  le(value: Ordered<Value>): Filter {
    return ["<=", this.name, value];
  }

  gt(value: Ordered<Value>): Filter {
    return [">", this.name, value];
  }

  ge(value: Ordered<Value>): Filter {
    return [">=", this.name, value];
  }

  in(values: readonly Comparable<Value>[]): Filter {
    return ["in", this.name, [...values] as Json[]];
  }

  /** Null or missing; `isNull(false)`: neither. */
  isNull(isNull = true): Filter {
    return ["isnull", this.name, isNull];
  }

  startsWith(prefix: NonNullable<Value> extends string ? string : never): Filter {
    return ["startswith", this.name, prefix];
  }
}

/** Only numbers and texts have an order. */
type Ordered<Value> = Extract<Comparable<NonNullable<Value>>, number | string>;

/** A field of rows whose type is not known. */
export function field<Value = any>(name: string): Field<Value> {
  return new Field(name);
}

/** What makes the fields of a type of rows: `const task = fields<Task>(); task("team").eq(3)`. */
export function fields<Row>(): <Name extends FieldOf<Row>>(
  name: Name,
) => Field<ValueOf<Row, Name>> {
  return (name) => new Field(name);
}

/** True where all are; without any, for every row. */
export function and(...filters: Filter[]): Filter {
  return ["and", ...filters];
}

/** True where at least one is; without any, for no row. */
export function or(...filters: Filter[]): Filter {
  return ["or", ...filters];
}

export function not(filter: Filter): Filter {
  return ["not", filter];
}
