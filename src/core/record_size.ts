import { SessionError } from "./errors.ts";

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
