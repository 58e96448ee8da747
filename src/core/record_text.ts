/**
 * One text for a whole record, for engines that keep one value. The text is `1`, 13 digits of `lastSeenAt`, and two lines for each field:
 * its name and its value. A change splices the text; nothing is parsed that nobody reads.
 *
 * @module
 */
import { SessionError } from "./errors.ts";
import type { SessionRecord } from "./store.ts";

type Fields = ReadonlyMap<string, string>;
type Changes = ReadonlyMap<string, string | null>;

const NOTHING: Changes = new Map();
/** After so many lookups in a large text, a map is made of it. */
const LOOKUPS_BEFORE_MAP = 4;
const LARGE_TEXT = 1000;

/**
 * The fields of a record: a base, which is a text of lines or a map, and what was changed since. It is a map that nobody can write to;
 * `with` answers another one.
 */
export class RecordFields implements ReadonlyMap<string, string> {
  readonly #base: string | Fields;
  readonly #changed: Changes;
  #map: Fields | undefined;
  #lookups = 0;
  #lines: string | undefined;

  /** Takes fields as lines or as a map, and changes of them: null for a field that is removed. */
  constructor(base: string | Fields, changed: Changes = NOTHING) {
    this.#base = base;
    this.#changed = changed;
  }

  /** Whether fields are of this class. Those of another copy of this package are maps like any other. */
  static is(fields: object): fields is RecordFields {
    return #base in fields;
  }

  /** These fields with other changes applied to them, which must not be changed afterwards. */
  with(changed: Changes): RecordFields {
    if (changed.size === 0) return this;
    const base = this.#lines ?? this.#base;
    if (this.#changed.size === 0 || this.#lines !== undefined) return new RecordFields(base, changed);
    return new RecordFields(base, new Map([...this.#changed, ...changed]));
  }

  get(name: string): string | undefined {
    const changed = this.#changed.get(name);
    if (changed !== undefined) return changed ?? undefined;
    const base = this.#base;
    if (typeof base !== "string") return base.get(name);
    if (this.#map === undefined && base.length >= LARGE_TEXT && ++this.#lookups > LOOKUPS_BEFORE_MAP)
      return this.#whole.get(name);
    return this.#map === undefined ? lookUp(base, name) : this.#map.get(name);
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
      else if (isPlain(this.#whole)) this.#lines = linesOf(this.#whole);
    }
    return this.#lines;
  }

  /** Whether there may be a field whose name begins with a sign. */
  mayHave(sign: string): boolean {
    const base = this.#base;
    if (typeof base === "string" ? base.includes(`\n${sign}`) : base.size > 0) return true;
    for (const name of this.#changed.keys()) if (name.startsWith(sign)) return true;
    return false;
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

  /** The changes, if this is `before` with nothing but changes; undefined otherwise. */
  changesSince(before: Fields): Changes | undefined {
    if (this.#base === before) return this.#changed;
    if (!isRecordFields(before)) return undefined;
    return this.#base === before.#lines || (before.#changed.size === 0 && before.#base === this.#base)
      ? this.#changed
      : undefined;
  }

  get #whole(): Fields {
    return (this.#map ??= wholeOf(this.#base, this.#changed));
  }
}

/** Whether fields are a text with changes. */
export function isRecordFields(fields: Fields): fields is RecordFields {
  return RecordFields.is(fields);
}

/** Fields with changes applied to them: null for a field that is removed. The changes must not be changed afterwards. */
export function withChanges(fields: Fields, changed: Changes): RecordFields {
  return isRecordFields(fields) ? fields.with(changed) : new RecordFields(fields, changed);
}

function wholeOf(base: string | Fields, changed: Changes): Fields {
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

function linesOf(fields: Fields): string {
  let lines = "";
  for (const [name, value] of fields) lines += `\n${name}\n${value}`;
  return lines;
}

/** Where a field's name begins. A value may equal a name: it is told apart by what it follows. */
function findName(lines: string, name: string): number {
  // Values of the core are JSON and never begin with the sign that each name begins with, so the first match is the name.
  return lines.indexOf(`\n${name}\n`);
}

function lookUp(lines: string, name: string): string | undefined {
  const at = findName(lines, name);
  if (at < 0) return undefined;
  const from = at + name.length + 2;
  const to = lines.indexOf("\n", from);
  return to < 0 ? lines.slice(from) : lines.slice(from, to);
}

function splice(lines: string, changed: Changes): string {
  let result = lines;
  for (const [name, value] of changed) {
    const at = findName(result, name);
    if (at < 0) {
      if (value !== null) result += `\n${name}\n${value}`;
      continue;
    }
    const from = at + name.length + 2;
    const to = result.indexOf("\n", from);
    result = result.slice(0, value === null ? at : from) + (value ?? "") + (to < 0 ? "" : result.slice(to));
  }
  return result;
}

/** 13 digits hold each instant from 2001 to 2286. */
const INSTANT_DIGITS = 13;
const HEAD_LENGTH = 1 + INSTANT_DIGITS;
/** The first characters of field names that the core gives. No value of the core begins with one. */
const SIGNS = "=~%@*";

/**
 * The text of a record. {@linkcode parseRecord} reads it.
 *
 * @param record The record, as `save` of a store is given it
 * @returns The text, of any length
 *
 * @example
 * ```ts
 * import { parseRecord, serializeRecord } from "with-session";
 *
 * const text = serializeRecord({ fields: new Map([["=user", '"ada"']]), lastSeenAt: Date.now() });
 * export const user = parseRecord(text).fields.get("=user"); // "ada", in quotes
 * ```
 */
export function serializeRecord(record: SessionRecord): string {
  const { fields, lastSeenAt } = record;
  const lines = isRecordFields(fields) ? fields.lines : isPlain(fields) ? linesOf(fields) : undefined;
  const instant = String(Math.max(0, Math.trunc(lastSeenAt))).padStart(INSTANT_DIGITS, "0");
  if (lines === undefined || instant.length > INSTANT_DIGITS) return `2${JSON.stringify([lastSeenAt, [...fields]])}`;
  return `1${instant}${lines}`;
}

/**
 * The record that {@linkcode serializeRecord} wrote. It never throws: any other text gives a record that the core treats as corrupt, or as one of a newer version.
 *
 * @param text What the engine has kept
 * @returns The record, as `load` of a store returns it
 */
export function parseRecord(text: string): SessionRecord {
  if (text.charCodeAt(0) === FIRST_FORMAT) {
    const lastSeenAt = Number(text.slice(1, HEAD_LENGTH));
    const isRecord = lastSeenAt >= 0 && (text.length === HEAD_LENGTH || text[HEAD_LENGTH] === "\n");
    if (isRecord) return { fields: new RecordFields(text.slice(HEAD_LENGTH)), lastSeenAt };
  } else if (text.startsWith("2[")) {
    try {
      const [lastSeenAt, entries]: [number, [string, string][]] = JSON.parse(text.slice(1));
      if (typeof lastSeenAt === "number") return { fields: new Map(entries), lastSeenAt };
    } catch {
      // Not written by this library: corrupt, which the core judges.
    }
  }
  // A newer version of this library wrote it. The core leaves such a record alone: see `readMetadata`.
  const newer = /^[3-9]/.exec(text);
  return { fields: new Map(newer === null ? [] : [["@", newer[0]]]), lastSeenAt: 0 };
}

const FIRST_FORMAT = 0x31;

/** Whether lines can hold the fields of a map without a doubt about where a name or a value begins. */
function isPlain(fields: Fields): boolean {
  for (const [name, value] of fields) {
    if (!SIGNS.includes(name[0] ?? "?") || SIGNS.includes(value[0] ?? "?")) return false;
    if (name.includes("\n") || value.includes("\n") || !name.isWellFormed() || !value.isWellFormed()) return false;
  }
  return true;
}

/**
 * Refuses a record that the engine would refuse, before any I/O.
 *
 * @param engine The engine's name, for the message
 * @param bytes The size of the encoded record
 * @param limit The most that the engine accepts, in bytes
 * @throws {SessionError} `ERR_RECORD_TOO_LARGE`
 */
export function assertRecordSize(engine: string, bytes: number, limit: number): void {
  if (bytes <= limit) return;
  throw new SessionError(
    "ERR_RECORD_TOO_LARGE",
    `Cannot store the session: its record is ${bytes} bytes, ${engine} accepts ${limit}; keep less in the session`,
  );
}

const utf8 = new TextEncoder();

/** The size of a text in UTF-8 bytes, as engines count it. */
export function byteLength(text: string): number {
  return utf8.encode(text).length;
}
