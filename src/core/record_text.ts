/**
 * One text for a whole record, for engines that keep one value. The text is `1`, 13 digits of `lastSeenAt`, and two lines for each field.
 *
 * @module
 */
import { METADATA_FIELD, RecordFields, toLines } from "./record_fields.ts";
import type { SessionRecord } from "./store.ts";

/** 13 digits are enough for each instant until the year 2286. */
const INSTANT_DIGITS = 13;
const HEAD_LENGTH = 1 + INSTANT_DIGITS;

/**
 * The text of a record. {@linkcode parseRecord} reads it.
 *
 * @param record The record, as `save` of a store gets it
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
  const lines = toLines(fields);
  const instant = String(Math.max(0, Math.trunc(lastSeenAt))).padStart(INSTANT_DIGITS, "0");
  if (lines === undefined || instant.length > INSTANT_DIGITS) return `2${JSON.stringify([lastSeenAt, [...fields]])}`;
  return `1${instant}${lines}`;
}

/**
 * The record that {@linkcode serializeRecord} wrote. It never throws: any other text gives a
 * record that the core treats as corrupt, or as one of a newer version.
 *
 * @param text The text, as the engine has kept it
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
      const isRecord = typeof lastSeenAt === "number" && entries.every(isField);
      if (isRecord) return { fields: new Map(entries), lastSeenAt };
    } catch {
      // This library did not write the text. The core treats the record as corrupt.
    }
  }
  // A newer version of this library wrote the text. The core does not overwrite such a record: see `readMetadata`.
  const newer = /^[3-9]/.exec(text);
  return { fields: new Map(newer === null ? [] : [[METADATA_FIELD, newer[0]]]), lastSeenAt: 0 };
}

const FIRST_FORMAT = 0x31;

function isField([name, value]: readonly unknown[]): boolean {
  return typeof name === "string" && typeof value === "string";
}
