/** Records, writes and clients that the tests of the Redis stores share. */
import type { RecordVersion, SessionRecord, SessionStore, StoredRecord, Write } from "../../src/core/store.ts";

export const key = "0123456789abcdef".repeat(4);
export const other = "fedcba9876543210".repeat(4);
export const now = 1_700_000_000_000;
export const later: number = now + 60_000;

/** The layouts. A store must do the same in both. */
export const layouts = ["value", "hash"] as const;

let writes = 0;

/** A name like those of the core, and unique among all processes. */
export function writeId(): string {
  return `write-${process.pid}-${String(++writes).padStart(10, "0")}`;
}

export function recordOf(fields: Record<string, string>, lastSeenAt: number = now): SessionRecord {
  return { fields: new Map(Object.entries(fields)), lastSeenAt };
}

export function creation(fields: Record<string, string>, expiresAt: number = later, lastSeenAt: number = now): Write {
  const record = recordOf(fields, lastSeenAt);
  return { id: writeId(), record, changed: record.fields, expected: null, expiresAt };
}

/** The write that changes a record, or touches it if there are no changes. */
export function changing(
  found: StoredRecord,
  changes: Record<string, string | null>,
  { expiresAt = later, lastSeenAt = found.lastSeenAt }: { expiresAt?: number; lastSeenAt?: number } = {},
): Write {
  const changed = new Map(Object.entries(changes));
  const fields = new Map(found.fields);
  for (const [name, value] of changed) {
    if (value === null) fields.delete(name);
    else fields.set(name, value);
  }
  return { id: writeId(), record: { fields, lastSeenAt }, changed, expected: found.version, expiresAt };
}

/** The record, which must exist. */
export async function present(store: SessionStore, at: string = key): Promise<StoredRecord> {
  const found = await store.load(at);
  if (found === null) throw new Error("There is no record");
  return found;
}

/** Saves, and returns the version. A conflict throws. */
export async function saved(store: SessionStore, write: Write, at: string = key): Promise<RecordVersion> {
  const version = await store.save(at, write);
  if (version === "conflict") throw new Error("conflict");
  return version;
}

export function fieldsOf({ fields }: SessionRecord): Record<string, string> {
  return Object.fromEntries(fields);
}

/** Adds one to the field `=count`. Returns whether that was done. */
export async function increment(store: SessionStore, at: string = key): Promise<boolean> {
  const found = await present(store, at);
  const count = String(Number(found.fields.get("=count")) + 1);
  return (await store.save(at, changing(found, { "=count": count }))) !== "conflict";
}

/** A client with only a raw call, in front of another client. `answer` gets each command, and may answer it. */
export function fakeClient(
  answer: (words: string[], pass: () => Promise<unknown>) => unknown,
  client?: { sendCommand(words: string[]): Promise<unknown> },
): { sendCommand(words: string[]): Promise<unknown> } {
  return {
    async sendCommand(words: string[]): Promise<unknown> {
      return await answer(words, async () => {
        if (client === undefined) throw new Error("No server");
        return await client.sendCommand(words);
      });
    },
  };
}

/** Makes a client of a server without `SET … IFEQ` behave as if the server knew it. `redis_valkey.test.ts` uses Valkey itself. */
export function withIfeq(client: { sendCommand(words: string[]): Promise<unknown> }) {
  const script = `if redis.call('GET',KEYS[1])~=ARGV[2] then return false end
return redis.call('SET',KEYS[1],ARGV[1],'PX',ARGV[3])`;
  return fakeClient(([command, name = "", value = "", option, old = "", , life = ""], pass) => {
    if (command !== "SET" || option !== "IFEQ") return pass();
    return client.sendCommand(["EVAL", script, "1", name, value, old, life]);
  }, client);
}
