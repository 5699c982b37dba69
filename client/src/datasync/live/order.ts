/** Keys and the order of rows, as the database has them. */

import type { LiveKey, LiveOrder } from "./options.js";

export type Compare<Row> = (a: Row, b: Row) => number;

export const namesOf = (key: LiveKey | undefined): readonly string[] => [key ?? "id"].flat();

/** One text for each value of a model's key; a list where it has several fields. */
export const keyText = (key: unknown): string => JSON.stringify(key);

/** The key of a row; undefined where a field of it is missing. */
export function keyOf(row: any, names: readonly string[]): string | undefined {
  const values = names.map((name) => row?.[name]);
  if (values.some((value) => value == null)) return undefined;
  return keyText(values.length > 1 ? values : values[0]);
}

/** An instant, and its fraction of a second apart: databases know more digits than `Date`. */
const INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)$/;

const plain = (field: string): string => field.replace(/^-/, "");

/** Kinds are apart; within one, numbers come before texts. */
type Sortable = readonly [kind: number, number: number, text: string];

/** Values of one type are compared; what is missing comes after all. */
function sortable(value: any): Sortable {
  if (value == null) return [2, 0, ""];
  if (typeof value !== "string") return [0, +value, ""];
  const [, second, fraction = "", zone] = INSTANT.exec(value) ?? [];
  return second ? [1, Date.parse(second + zone), fraction.replace(/0+$/, "")] : [1, 0, value];
}

export function comparer<Row>(
  order: LiveOrder<Row> | undefined,
  names: readonly string[],
): Compare<Row> | undefined {
  if (typeof order === "function") return order;
  if (!order?.length) return undefined;
  const fields = [order].flat() as string[];
  fields.push(...names.filter((name) => !fields.some((field) => plain(field) === name)));
  const known = new WeakMap<object, Sortable[]>();
  // Rows are never changed in place: what is compared is made once for each.
  const valuesOf = (row: any): Sortable[] => {
    let values = known.get(row);
    if (!values) {
      known.set(row, (values = fields.map((field) => sortable(row[plain(field)]))));
    }
    return values;
  };
  return (a, b) => {
    const [left, right] = [valuesOf(a), valuesOf(b)];
    for (let index = 0; index < fields.length; index++) {
      const result = compareParts(left[index], right[index]);
      if (result) return fields[index][0] === "-" ? -result : result;
    }
    return 0;
  };
}

const compareParts = (a: Sortable, b: Sortable): number =>
  a[0] - b[0] || a[1] - b[1] || compareTexts(a[2], b[2]);

/** By code point, as databases compare bytes of UTF-8: `<` compares halves of surrogate pairs. */
function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  let index = 0;
  while (a[index] === b[index]) index++;
  return (a.codePointAt(index) ?? -1) - (b.codePointAt(index) ?? -1);
}
