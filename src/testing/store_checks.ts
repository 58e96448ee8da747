/**
 * The steps and checks that the cases of a store share. Each failure is a plain `Error` that names the expected and the
 * actual value.
 *
 * @module
 */
import type { MaybePromise } from "../core/maybe_promise.ts";
import type { RecordVersion, SessionRecord, SessionStore, StoredRecord, Write } from "../core/store.ts";

/** Fields, as a record or as a map. */
type FieldsLike<Value = string> = Readonly<Record<string, Value>> | ReadonlyMap<string, Value>;

/** An expiry for the engine that no case reaches. */
export function inAnHour(): number {
  return Date.now() + 3_600_000;
}

export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Some changes, and then no changes, because a store may implement a write without changes in another way. */
export function andNone(changes: Record<string, string>): readonly Record<string, string>[] {
  return [changes, {}];
}

// Records and writes.

export function recordOf(fields: FieldsLike, lastSeenAt: number = Date.now()): SessionRecord {
  return { fields: mapOf(fields), lastSeenAt };
}

/** The write that creates a record. */
export function creation(record: SessionRecord, expiresAt: number = inAnHour()): Write {
  return { id: writeId(), record, changed: new Map(record.fields), expected: null, expiresAt };
}

/** The write that changes some fields of a record that was found; null removes one. Without changes, it is a touch. */
export function changing(
  found: StoredRecord,
  changes: FieldsLike<string | null>,
  lastSeenAt: number = found.lastSeenAt,
  expiresAt: number = inAnHour(),
): Write {
  const changed = mapOf(changes);
  const fields = new Map(found.fields);
  for (const [name, value] of changed) {
    if (value === null) fields.delete(name);
    else fields.set(name, value);
  }
  return { id: writeId(), record: { fields, lastSeenAt }, changed, expected: found.version, expiresAt };
}

function writeId(): string {
  return randomKey().slice(0, 32);
}

function mapOf<Value>(fields: FieldsLike<Value>): Map<string, Value> {
  return new Map(isMap(fields) ? fields : Object.entries(fields));
}

function isMap<Value>(fields: FieldsLike<Value>): fields is ReadonlyMap<string, Value> {
  return typeof fields.get === "function";
}

// Steps that several cases take.

/** Creates a record under a new key, and finds it. */
export async function created(
  store: SessionStore,
  fields: FieldsLike,
): Promise<{ readonly key: string; readonly found: StoredRecord }> {
  const key = randomKey();
  const record = recordOf(fields);
  await saved(store, key, creation(record), "save() of a new record");
  return { key, found: await holds(store, key, record) };
}

/** Saves, and fails if the store refuses that. */
export async function saved(
  store: SessionStore,
  key: string,
  write: Write,
  what: string = "save()",
): Promise<RecordVersion> {
  return version(await store.save(key, write), what);
}

/** Saves, and fails unless the store refuses that. */
export async function refused(store: SessionStore, key: string, write: Write, what: string): Promise<void> {
  equal(await store.save(key, write), "conflict", what);
}

/** Creates a record, changes all its values, and changes them back. Each state must be found as it was written. */
export async function comesBack(store: SessionStore, fields: ReadonlyMap<string, string>): Promise<string> {
  const { key, found } = await created(store, fields);
  // Once more by a change, which a store may implement in another way than a creation.
  const changed = changing(found, new Map([...fields].map(([name, value]) => [name, `${value}!`])));
  await saved(store, key, changed);
  const between = await holds(store, key, changed.record);
  const back = changing(between, fields);
  await saved(store, key, back);
  await holds(store, key, back.record);
  return key;
}

/** Changes the newest state until no other write comes between. */
export async function changeUntilSaved(
  store: SessionStore,
  key: string,
  changes: (found: StoredRecord) => FieldsLike,
): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    const found = await present(store, key);
    const answer = await store.save(key, changing(found, changes(found)));
    if (answer !== "conflict") return;
  }
  throw new Error("save() at the version just loaded answered conflict 1000 times");
}

// What must hold.

/** The record, which must be there. */
export async function present(store: SessionStore, key: string): Promise<StoredRecord> {
  const found = await store.load(key);
  if (found === null) throw new Error("load() of a stored record answered null");
  version(found.version, "load()");
  return found;
}

/** The record, which must be as wanted. */
export async function holds(
  store: SessionStore,
  key: string,
  wanted: SessionRecord,
  compare: "all" | "fields" = "all",
): Promise<StoredRecord> {
  const found = await present(store, key);
  for (const [name, value] of wanted.fields) equal(found.fields.get(name), value, `the field ${show(name)}`);
  for (const name of found.fields.keys()) {
    that(wanted.fields.has(name), `load() found the field ${show(name)}, which should not be there`);
  }
  equal(found.fields.size, wanted.fields.size, "the number of fields");
  if (compare === "all") equal(found.lastSeenAt, wanted.lastSeenAt, "lastSeenAt");
  return found;
}

export async function missing(store: SessionStore, key: string, what: string): Promise<void> {
  equal(await store.load(key), null, what);
}

export function sameFields(one: ReadonlyMap<string, string>, two: ReadonlyMap<string, string>): boolean {
  return one.size === two.size && [...one].every(([name, value]) => two.get(name) === value);
}

/** The answer, which must be a version. */
export function version(answer: unknown, what: string): RecordVersion {
  const isText = typeof answer === "string" && answer !== "" && answer !== "conflict";
  if (isText || (typeof answer === "number" && !Number.isNaN(answer))) return answer;
  throw new Error(`${what} gave ${show(answer)} where a version was expected`);
}

/** The error of a call that must fail. The call may throw or reject. */
export async function fails(what: string, call: () => MaybePromise<unknown>): Promise<unknown> {
  let answer: unknown;
  try {
    answer = await call();
  } catch (error) {
    return error;
  }
  throw new Error(`${what} should have failed, but answered ${show(answer)}`);
}

export function codeOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
}

export function equal(actual: unknown, wanted: unknown, what: string): void {
  that(Object.is(actual, wanted), `${what}: expected ${show(wanted)}, got ${show(actual)}`);
}

export function that(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

export function show(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (isReadable(part) ? [...part.entries()] : part)) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text;
}

/** Whether a value is a map, which JSON would show as an empty object. */
function isReadable(value: unknown): value is ReadonlyMap<string, string> {
  return typeof value === "object" && value !== null && "get" in value && "entries" in value;
}
