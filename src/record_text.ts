import { SessionError } from "./errors.ts";
import type { SessionRecord } from "./store.ts";

/** One text for a whole record, for engines that keep one value. {@linkcode recordFromText} reads it. */
export function recordToText(record: SessionRecord): string {
  return JSON.stringify([record.lastSeenAt, Object.fromEntries(record.fields)]);
}

/** The record that {@linkcode recordToText} wrote; of anything else, a record without fields. */
export function recordFromText(text: unknown): SessionRecord {
  try {
    const parsed: unknown = JSON.parse(String(text));
    if (Array.isArray(parsed) && typeof parsed[0] === "number") {
      return { lastSeenAt: parsed[0], fields: new Map(Object.entries<string>(parsed[1])) };
    }
  } catch {
    // Not JSON, or no fields in it: corrupt, which is the core's to judge.
  }
  return { lastSeenAt: 0, fields: new Map() };
}

/**
 * Refuses what an engine would refuse, before any I/O.
 *
 * @param engine The engine's name, for the message.
 * @param size The size of the encoded record, in bytes.
 * @param limit The most that the engine takes, in bytes.
 * @throws {SessionError} `ERR_RECORD_TOO_LARGE`
 */
export function refuseTooLarge(engine: string, size: number, limit: number): void {
  if (size > limit) {
    throw new SessionError(
      "ERR_RECORD_TOO_LARGE",
      `Cannot store the session: its record is ${size} bytes, ${engine} takes ${limit}`,
    );
  }
}

const utf8 = new TextEncoder();

/** The size of a text in UTF-8 bytes, as engines count it. */
export function byteLength(text: string): number {
  return utf8.encode(text).length;
}
