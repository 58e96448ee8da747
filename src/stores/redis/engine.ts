import type { MaybePromise } from "../../core/maybe_promise.ts";
import { assertRecordSize } from "../../core/record_size.ts";
import type { StoredRecord, Write } from "../../core/store.ts";
import type { KnownValues } from "./known_values.ts";
import type { Send } from "./commands.ts";

/** The parts that differ between the servers and clients that speak Redis. */
export interface Engine {
  /** For messages. */
  readonly name: string;
  /** The largest record, in bytes as `measure` counts them. */
  readonly maxBytes: number;
  readonly send: Send;
  /** The reply to `GET` or `HGETALL`; for a key of another type, a value in which no layout finds a head. */
  read(command: "GET" | "HGETALL", key: string): Promise<unknown>;
  /** The size of a text in a command, in bytes. */
  measure(text: string): number;
  /** Given if the server may have `SET … IFEQ`. */
  readonly known?: KnownValues;
}

/** The form of a record in Redis. It begins with a head: its version, a space and a digit. */
export interface Layout {
  load(key: string): Promise<StoredRecord | null>;
  /** Stores a record under a version, and returns whether it was stored. */
  save(key: string, write: Write, version: string, life: string): MaybePromise<boolean>;
  /** The field of the head, as the first argument of {@linkcode SCRIPT}; empty if the key itself begins with the head. */
  readonly head: "!" | "";
}

/** The version of a value without a head. Such a value is not a record: it can be removed, and is never overwritten. */
export const CORRUPT = "?";

/** The version in the head with which a text begins. */
export function versionOf(text: string): string {
  return /^([\w.-]+) \d/.exec(text)?.[1] ?? CORRUPT;
}

/** The longest character: a control character in JSON, `\u0000`. */
const MAX_BYTES_PER_CHARACTER = 6;

/** Refuses a record that is larger than the engine takes, before any I/O. */
export function assertSize({ name, maxBytes, measure }: Engine, text: string): void {
  // Measuring a text takes longer than seeing that it is short.
  if (text.length * MAX_BYTES_PER_CHARACTER > maxBytes) assertRecordSize(name, measure(text), maxBytes);
}
