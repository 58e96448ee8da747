/**
 * What the core keeps in a record beside the user's data, in the field `@`.
 *
 * @module
 */
import { type Fields, METADATA_FIELD, type RecordFields, withChanges } from "./record_fields.ts";
import type { SessionRecord } from "./store.ts";
import { isObject } from "./kind_of.ts";

/** A value that JSON can hold. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue | undefined };

/** Timeouts of one session, in seconds. An absent timeout follows the options. */
export interface OwnTimeouts {
  /** The session ends after this many seconds without a request. @default The option `idleTimeout` */
  readonly idle?: number | undefined;
  /** The session ends this many seconds after it began; `false` for never. @default The option `absoluteTimeout` */
  readonly absolute?: number | false | undefined;
  /** The cookie's `Max-Age` in seconds; null for a cookie that ends with the browser. @default The option `cookie.maxAge` */
  readonly cookie?: number | null | undefined;
}

/** The part of a retired record that names its successor, so that a logout with the old id ends the successor as well. */
export interface Successor {
  /** The store key of the session that took over. */
  readonly key: string;
  /** When the id was retired, in epoch milliseconds. */
  readonly retiredAt: number;
  /**
   * Only with a grace: the new id under a pad that only the old id yields, and the instant until which the old id opens
   * the session. With `untilUsed`, the old id opens it until a minute after the client first used the new id.
   */
  readonly grace?: { readonly id: string; readonly until: number; readonly untilUsed?: true };
  /** Whether the retired session must not be reinstated, even if the response with the new id fails. */
  readonly isFinal?: true;
}

/** The facts that the core and its plugins keep about a session. Instants are epoch milliseconds. */
export interface Metadata {
  /** When the session began. */
  readonly createdAt: number;
  /** When the absolute timeout began: with the session, or at the last reauthentication. */
  readonly absoluteSince: number;
  /** When the user last proved who they are: `regenerate({ reauthenticated: true })`. */
  readonly authenticatedAt?: number | undefined;
  /** When the id was last renewed, for `rotateEvery`; absent if it never was. */
  readonly rotatedAt?: number | undefined;
  /** Set on the successor of a rotation by `rotateEvery`, until the client has presented the new id. */
  readonly unconfirmed?: true | undefined;
  /** When the client first presented an id that was renewed by age. */
  readonly usedAt?: number | undefined;
  /** The timeouts that `setTimeouts` gave this session. */
  readonly timeouts?: OwnTimeouts | undefined;
  /** Present in a retired record, which is no session. */
  readonly successor?: Successor | undefined;
  /** The names of recent writes in one text, the last one first: see `write_names.ts`. */
  readonly writes?: string | undefined;
  /** When the last of these writes was stored. */
  readonly writtenAt?: number | undefined;
  /** The facts of a plugin, under `+` and its name. */
  readonly [plugin: `+${string}`]: JsonValue | undefined;
}

const FORMAT = "1";
/** The position of the word that binds the metadata to its key. */
const BOUND_AT = FORMAT.length + 1;
/** The length of that word: 64 bits suffice to notice a record that was copied under another key. */
const BOUND = 16;

/** Why a record cannot be read. */
type Unreadable = "corrupt" | "misplaced" | "newer";

/** Adds metadata to fields, bound to the key under which they are stored. */
export function withMetadata(fields: Fields, metadata: Metadata, key: string): RecordFields {
  // A list of entries would have to be made and read first.
  const changed = new Map<string, string | null>();
  changed.set(METADATA_FIELD, metadataText(metadata, key));
  return withChanges(fields, changed, changed);
}

/**
 * The text of metadata, bound to the key under which it is stored: words, then JSON
 * of the facts that only some sessions have.
 */
export function metadataText(metadata: Metadata, key: string): string {
  const { createdAt, absoluteSince, writtenAt = 0, writes = "" } = metadata;
  const words = `${FORMAT} ${binding(key)} ${createdAt} ${absoluteSince} ${writtenAt} ${writes}`;
  let others: Record<string, unknown> | undefined;
  for (const name in metadata) {
    const fact = metadata[name as keyof Metadata];
    if (fact !== undefined && !isWord(name)) (others ??= {})[name] = fact;
  }
  return others === undefined ? words : `${words} ${JSON.stringify(others)}`;
}

/** Whether a fact is one of the words, and not in the JSON. */
function isWord(name: string): boolean {
  return name === "createdAt" || name === "absoluteSince" || name === "writtenAt" || name === "writes";
}

/** Reads the metadata of a record, or says why it cannot be read. It does not throw, whatever the store returned. */
export function readMetadata(record: SessionRecord, key: string): Metadata | Unreadable {
  const text = record.fields.get(METADATA_FIELD);
  if (typeof text !== "string" || !Number.isFinite(record.lastSeenAt)) return "corrupt";
  if (!text.startsWith(`${FORMAT} `)) return isNewer(text) ? "newer" : "corrupt";
  // The words are found by position, without a list of words, because each load comes here.
  const created = text.indexOf(" ", BOUND_AT);
  const since = text.indexOf(" ", created + 1);
  const written = text.indexOf(" ", since + 1);
  const writes = text.indexOf(" ", written + 1);
  const others = text.indexOf(" ", writes + 1);
  // If a space is missing, these are not in order.
  if (since < created || written < since || writes < written) return "corrupt";
  const createdAt = Number(text.slice(created, since));
  const absoluteSince = Number(text.slice(since, written));
  const writtenAt = Number(text.slice(written, writes));
  if (!Number.isFinite(createdAt + absoluteSince + writtenAt)) return "corrupt";
  if (text.slice(BOUND_AT, created) !== binding(key)) return "misplaced";
  const hasOthers = others > writes;
  const recent = text.slice(writes + 1, hasOthers ? others : undefined);
  if (!hasOthers) return { createdAt, absoluteSince, writtenAt, writes: recent };
  const found = parse(text.slice(others));
  return found === null ? "corrupt" : { ...found, createdAt, absoluteSince, writtenAt, writes: recent };
}

/** The metadata of a record; undefined if there is no record, or if its metadata cannot be read. */
export function metadataOf(record: SessionRecord | null, key: string): Metadata | undefined {
  const metadata = record === null ? "corrupt" : readMetadata(record, key);
  return typeof metadata === "string" ? undefined : metadata;
}

function isNewer(text: string): boolean {
  const format = /^\d+(?= |$)/.exec(text)?.[0];
  return format !== undefined && format !== FORMAT;
}

function binding(key: string): string {
  return key.slice(0, BOUND);
}

function parse(text: string): Partial<Metadata> | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return isOthers(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

/** Whether a value has only facts that the core can read. The facts of plugins are not checked. */
function isOthers(value: unknown): value is Partial<Metadata> {
  if (!isObject(value)) return false;
  // A fact that is absent counts as valid.
  const { authenticatedAt = 0, rotatedAt = 0, usedAt = 0, unconfirmed = true, timeouts = {}, successor } = value;
  return (
    [authenticatedAt, rotatedAt, usedAt].every(Number.isFinite) &&
    unconfirmed === true &&
    areTimeouts(timeouts) &&
    (successor === undefined || isSuccessor(successor))
  );
}

function areTimeouts(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { idle = 0, absolute = 0, cookie = 0 } = value;
  // `absolute` may also be false, and `cookie` null.
  return [idle, absolute === false ? 0 : absolute, cookie ?? 0].every(Number.isFinite);
}

function isSuccessor(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { key, retiredAt, grace, isFinal = true } = value;
  const isPointer = typeof key === "string" && Number.isFinite(retiredAt) && isFinal === true;
  return isPointer && (grace === undefined || isGrace(grace));
}

function isGrace(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { id, until, untilUsed = true } = value;
  return typeof id === "string" && Number.isFinite(until) && untilUsed === true;
}
