/**
 * The fields of a record. They are kept as lines of text until a caller needs all of them: two lines for each field,
 * its name and its value. The data come last, so that a lookup of any other field does not search them. A change
 * splices the text; a field that is not read is not parsed.
 *
 * @module
 */
// The name of a field begins with a sign, which says what the field holds. No value that the core stores begins with a
// sign, so that no value is taken for a name.

/** The sign of data. */
export const DATA = "=";
/** The sign of data with a time to live: an instant stands before the value. */
export const EXPIRING = "%";
/** The sign of flash values, which can have a time to live as well. */
export const FLASH = "~";
/** The sign of fields that a capability adds, such as a lease. No key of a session becomes such a name. */
export const CAPABILITY = "*";

/** The field that holds all others, encrypted. */
export const SEALED_FIELD: string = CAPABILITY;
/** The field that holds the metadata. */
export const METADATA_FIELD = "@";

const SIGNS = "=%~*@";

/** Whether a text begins with a sign, as each field name of the core does. */
export function hasSign(text: string): boolean {
  return SIGNS.includes(text[0] ?? "?");
}

/** The fields of a record, by name. */
export type Fields = ReadonlyMap<string, string>;

/** The difference between two states of fields: the new text of each changed field, and null for a removed one. */
export type Difference = ReadonlyMap<string, string | null>;

/** The difference between two equal states. */
export const NO_CHANGES: Difference = new Map();

/** In characters. In a smaller text, each search is so fast that nothing is prepared for it. */
const LARGE_TEXT = 1000;
/** After this many lookups of data in a large text, the text is parsed into a map. */
const LOOKUPS_BEFORE_MAP = 4;

/**
 * The fields of a record: a base (lines of text, or a map) and the changes since then. They cannot be written to;
 * `with` returns new ones.
 */
export class RecordFields implements ReadonlyMap<string, string> {
  readonly #base: string | Fields;
  readonly #changed: Difference;
  #map: Fields | undefined;
  #lookups = 0;
  #lines: string | undefined;

  /** Takes fields as lines or as a map, and the changes of them: null for a field that is removed. */
  constructor(base: string | Fields, changed: Difference = NO_CHANGES) {
    this.#base = base;
    this.#changed = changed;
  }

  /**
   * Whether fields are of this class. For fields of another copy of this package it is false, and they are used as an ordinary map.
   */
  static is(fields: object): fields is RecordFields {
    return #base in fields;
  }

  /**
   * These fields with `changed` applied. The caller must not modify `changed` afterwards. If it gives the same map as `both`, the
   * older changes are added to that map, which saves a copy.
   */
  with(changed: Difference, both?: Map<string, string | null>): RecordFields {
    if (changed.size === 0) return this;
    if (this.#changed.size === 0 || this.#lines !== undefined)
      return new RecordFields(this.#lines ?? this.#base, changed);
    // The new changes come first: they are those of the metadata, which also come first in the text, so that `splice`
    // need not sort.
    const all = both ?? new Map(changed);
    for (const [name, value] of this.#changed) if (!all.has(name)) all.set(name, value);
    return new RecordFields(this.#base, all);
  }

  get(name: string): string | undefined {
    const changed = this.#changed.size === 0 ? undefined : this.#changed.get(name);
    if (changed !== undefined) return changed ?? undefined;
    const base = this.#base;
    if (typeof base !== "string") return base.get(name);
    if (this.#map !== undefined) return this.#map.get(name);
    if (isData(name) && base.length >= LARGE_TEXT && ++this.#lookups > LOOKUPS_BEFORE_MAP) return this.#whole.get(name);
    return lookUp(base, name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  get size(): number {
    return this.#whole.size;
  }

  /** The fields as lines; undefined if lines cannot hold them. */
  get lines(): string | undefined {
    if (this.#lines === undefined) {
      if (typeof this.#base === "string") this.#lines = splice(this.#base, this.#changed);
      else this.#lines = toLines(this.#whole);
    }
    return this.#lines;
  }

  /** Whether there may be a field whose name begins with a sign. */
  mayHave(sign: string): boolean {
    const base = this.#base;
    if (typeof base === "string" ? partFor(base, sign).includes(`\n${sign}`) : base.size > 0) return true;
    return hasNames(this.#changed, sign);
  }

  keys(): MapIterator<string> {
    return this.#whole.keys();
  }

  values(): MapIterator<string> {
    return this.#whole.values();
  }

  entries(): MapIterator<[string, string]> {
    return this.#whole.entries();
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.#whole.entries();
  }

  forEach(visit: (value: string, name: string, fields: Fields) => void): void {
    for (const [name, value] of this.#whole) visit(value, name, this);
  }

  /** The changes, if these fields are `before` with changes applied; undefined otherwise. */
  changesSince(before: Fields): Difference | undefined {
    if (this.#base === before) return this.#changed;
    if (!RecordFields.is(before)) return undefined;
    return this.#base === before.#lines || (before.#changed.size === 0 && before.#base === this.#base)
      ? this.#changed
      : undefined;
  }

  get #whole(): Fields {
    return (this.#map ??= wholeOf(this.#base, this.#changed));
  }
}

/** No fields, as lines: fields that are added to them need no check whether lines can hold them. */
export const NO_FIELDS: Fields = new RecordFields("");

/** Fields with changes applied to them, as {@linkcode RecordFields.with} does: null for a field that is removed. */
export function withChanges(fields: Fields, changed: Difference, both?: Map<string, string | null>): RecordFields {
  return RecordFields.is(fields) ? fields.with(changed, both) : new RecordFields(fields, changed);
}

/** Whether a difference has a field whose name begins with a sign. */
export function hasNames(changed: Difference, sign: string): boolean {
  // Most differences are empty, and an iterator costs memory.
  if (changed.size > 0) for (const name of changed.keys()) if (name.startsWith(sign)) return true;
  return false;
}

function wholeOf(base: string | Fields, changed: Difference): Fields {
  if (typeof base !== "string" && changed.size === 0) return base;
  const whole = typeof base === "string" ? parseLines(base) : new Map(base);
  for (const [name, value] of changed) {
    if (value === null) whole.delete(name);
    else whole.set(name, value);
  }
  return whole;
}

function parseLines(lines: string): Map<string, string> {
  const parts = lines.split("\n");
  const fields = new Map<string, string>();
  for (let at = 1; at + 1 < parts.length; at += 2) fields.set(parts[at] ?? "", parts[at + 1] ?? "");
  return fields;
}

/** Fields as lines, the data last; undefined if lines cannot hold them. */
export function toLines(fields: Fields): string | undefined {
  if (RecordFields.is(fields)) return fields.lines;
  if (!isPlain(fields)) return undefined;
  let lines = "";
  let data = "";
  for (const [name, value] of fields) {
    if (isData(name)) data += `\n${name}\n${value}`;
    else lines += `\n${name}\n${value}`;
  }
  return lines + data;
}

/** Whether lines can hold the fields of a map, so that a name and a value are never mistaken for each other. */
function isPlain(fields: Fields): boolean {
  for (const [name, value] of fields) {
    if (!hasSign(name) || hasSign(value)) return false;
    if (name.includes("\n") || value.includes("\n") || !name.isWellFormed() || !value.isWellFormed()) return false;
  }
  return true;
}

function isData(name: string): boolean {
  return name.startsWith(DATA);
}

/** The part of the lines to search for a field of this name: a large text without its data, unless the field is data. */
function partFor(lines: string, name: string): string {
  if (isData(name) || lines.length < LARGE_TEXT) return lines;
  const data = lines.indexOf(`\n${DATA}`);
  return data < 0 ? lines : lines.slice(0, data);
}

/** The position of a field's name in the lines; negative if they do not have the field. */
function findName(lines: string, name: string): number {
  // Each name begins with a sign and no value does, so the first match is the name.
  return partFor(lines, name).indexOf(`\n${name}\n`);
}

/** The end of the value that begins at `from`. */
function endOfValue(lines: string, from: number): number {
  const end = lines.indexOf("\n", from);
  return end < 0 ? lines.length : end;
}

function lookUp(lines: string, name: string): string | undefined {
  const at = findName(lines, name);
  if (at < 0) return undefined;
  const from = at + name.length + 2;
  return lines.slice(from, endOfValue(lines, from));
}

/**
 * Lines with changes applied. All positions are looked up in the original lines: a search in a text that was just
 * concatenated would copy it.
 */
function splice(lines: string, changed: Difference, isSorted = false): string {
  let spliced = "";
  let done = 0;
  let before = "";
  let after = "";
  for (const [name, value] of changed) {
    const at = findName(lines, name);
    if (at >= 0 && at < done && !isSorted) return splice(lines, sorted(lines, changed), true);
    // The field is new. So it is if another program has damaged the lines, and the name was in the place of a value that was just replaced.
    if (at < done) {
      if (value === null) continue;
      if (isData(name)) after += `\n${name}\n${value}`;
      else before += `\n${name}\n${value}`;
      continue;
    }
    const from = at + name.length + 2;
    spliced += value === null ? lines.slice(done, at) : lines.slice(done, from) + value;
    done = endOfValue(lines, from);
  }
  return before + spliced + lines.slice(done) + after;
}

/** Changes in the order in which the lines have their fields. */
function sorted(lines: string, changed: Difference): Difference {
  const places = [...changed].map(([name, value]) => ({ name, value, at: findName(lines, name) }));
  return new Map(places.sort((left, right) => left.at - right.at).map(({ name, value }) => [name, value]));
}
