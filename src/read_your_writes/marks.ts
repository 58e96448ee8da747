/**
 * Marks: when the fields of a record were recently changed. They are kept in a field of the record, so `encryption()`
 * hides the names in them.
 *
 * @module
 */
import { CAPABILITY, type Fields, METADATA_FIELD, withChanges } from "../core/record_fields.ts";
import { difference } from "../core/store_repository/record_write.ts";

/** The field that holds the marks. */
const MARKS_FIELD = `${CAPABILITY}recent`;

/** When each recently changed field was changed, in epoch milliseconds. The metadata count as one field. */
export interface Marks {
  readonly at: ReadonlyMap<string, number>;
  /** The latest instant of a write that no response brought to its client, such as one of a job. */
  readonly unsentAt: number;
}

/** The marks of a record without recent changes. */
export const NO_MARKS: Marks = { at: new Map(), unsentAt: 0 };

/** The marks of a record. */
export function readMarks(fields: Fields): Marks {
  const text = fields.get(MARKS_FIELD);
  if (text === undefined) return NO_MARKS;
  try {
    const [unsentAt, namesByInstant]: [number, Record<string, string[]>] = JSON.parse(text);
    const at = new Map<string, number>();
    for (const [instant, names] of Object.entries(namesByInstant))
      for (const name of names) at.set(name, Number(instant));
    return { at, unsentAt };
  } catch {
    // Another program has written the field. The record counts as one without marks.
    return NO_MARKS;
  }
}

/** Fields with marks. All fields that one write changes have the same instant. */
export function withMarks(fields: Fields, { at, unsentAt }: Marks): Fields {
  const namesByInstant: Record<string, string[]> = {};
  for (const [name, instant] of at) (namesByInstant[instant] ??= []).push(name);
  return withChanges(fields, new Map([[MARKS_FIELD, JSON.stringify([unsentAt, namesByInstant])]]));
}

/** Fields as the core may see them; the same object if there are no marks. */
export function withoutMarks(fields: Fields): Fields {
  return fields.has(MARKS_FIELD) ? withChanges(fields, new Map([[MARKS_FIELD, null]])) : fields;
}

/** The latest of all instants. */
export function latestOf({ at }: Marks): number {
  return [...at.values()].reduce((latest, instant) => Math.max(latest, instant), 0);
}

/** The names of the fields that differ, without the metadata and the marks. */
export function changedNames(before: Fields, after: Fields): string[] {
  return [...difference(before, after).keys()].filter((name) => name !== METADATA_FIELD && name !== MARKS_FIELD);
}
