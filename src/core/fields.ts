import { kindOf } from "./kind_of.ts";
import {
  type DATA,
  type Difference,
  EXPIRING,
  type Fields,
  FLASH,
  hasNames,
  NO_CHANGES,
  RecordFields,
  withChanges,
} from "./record_fields.ts";

/** The signs of the fields that hold what a program stores. */
export type Sign = typeof DATA | typeof EXPIRING | typeof FLASH;

/** @throws {TypeError} If a key is not a string. A program in JavaScript may pass any value */
export function assertKey(key: unknown): void {
  if (typeof key !== "string") throw new TypeError(`A key of a session must be a string; it is ${kindOf(key)}`);
}

/** The name of a field. A key with a line end, a lone surrogate or a quote at its beginning is written as JSON. */
export function fieldName(sign: Sign, key: string): string {
  assertKey(key);
  return sign + (isPlainKey(key) ? key : JSON.stringify(key));
}

function isPlainKey(key: string): boolean {
  return !key.startsWith('"') && !key.includes("\n") && key.isWellFormed();
}

/** The key in the name of a field. If another program has damaged the name, the answer is a key that has no value. */
export function keyOf(name: string): string {
  const key = name.slice(1);
  if (!key.startsWith('"')) return key;
  try {
    return String(JSON.parse(key));
  } catch {
    return key;
  }
}

/** A text with the instant at which it expires, in epoch milliseconds. Without an instant it never expires. */
export function withEnd(text: string, endsAt: number | undefined): string {
  return `${endsAt ?? ""} ${text}`;
}

/** A text, and the instant at which it expires, in epoch milliseconds. */
export interface Ending {
  readonly text: string;
  readonly endsAt: number;
}

/** Splits the result of {@linkcode withEnd} into the text and its end. */
export function splitEnd(text: string): Ending {
  const at = text.indexOf(" ");
  return { text: text.slice(at + 1), endsAt: at === 0 ? Infinity : Number(text.slice(0, at)) };
}

/** The text and the end of a field that can expire; undefined if there is no field, or if its end has come. */
export function unexpired(field: string | undefined, now: number): Ending | undefined {
  if (field === undefined) return undefined;
  const found = splitEnd(field);
  return found.endsAt > now ? found : undefined;
}

/** The fields of a session as one request sees them: the fields of the record, with the changes of the request. */
export class FieldsView {
  readonly base: Fields;
  #changed: Map<string, string | null> | undefined;
  /** The fields with the changes; undefined until a caller needs them. */
  #fields: Fields | undefined;

  constructor(base: Fields) {
    this.base = base;
  }

  /** Only what differs from the base; null for a removed field. */
  get changed(): Difference {
    return this.#changed ?? NO_CHANGES;
  }

  get(name: string): string | undefined {
    const changed = this.#changed?.get(name);
    return changed === undefined ? this.base.get(name) : (changed ?? undefined);
  }

  /** Sets the text of a field; undefined removes it. Fields that a caller has got stay as they are. */
  set(name: string, text: string | undefined): void {
    const isAsBefore = this.base.get(name) === text;
    if (isAsBefore && this.#changed?.has(name) !== true) return;
    if (this.#fields !== undefined) this.#changed = new Map(this.#changed);
    this.#fields = undefined;
    this.#changed ??= new Map();
    if (isAsBefore) this.#changed.delete(name);
    else this.#changed.set(name, text ?? null);
  }

  delete(name: string): void {
    this.set(name, undefined);
  }

  /** The names that begin with a sign. */
  names(sign: Sign): string[] {
    const names: string[] = [];
    // Most sessions have only plain data, and the names of the base must be parsed.
    if (!this.mayHave(sign)) return names;
    for (const name of this.base.keys()) if (name.startsWith(sign) && this.changed.get(name) !== null) names.push(name);
    // A field is marked as removed only if the base has it.
    for (const name of this.changed.keys()) if (name.startsWith(sign) && !this.base.has(name)) names.push(name);
    return names;
  }

  /** The fields with the changes; the same object as the base if nothing has changed. */
  get fields(): Fields {
    return (this.#fields ??= this.changed.size === 0 ? this.base : withChanges(this.base, this.changed));
  }

  /** Whether a field with this sign may exist. It may answer true although there is no such field. */
  mayHave(sign: Sign): boolean {
    if (hasNames(this.changed, sign)) return true;
    return RecordFields.is(this.base) ? this.base.mayHave(sign) : this.base.size > 0;
  }
}

/** Removes data and flash values whose time to live has passed. */
export function sweep(view: FieldsView, now: number): void {
  for (const sign of [EXPIRING, FLASH] as const)
    for (const name of view.names(sign)) if (unexpired(view.get(name), now) === undefined) view.delete(name);
}
