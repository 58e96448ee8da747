import { isBusy } from "../../../src/core/errors.ts";
import type { RecordVersion, SessionStore, Write } from "../../../src/core/store.ts";

/** A new key. */
export function randomKey(): string {
  return `${crypto.randomUUID()}${crypto.randomUUID()}`.replaceAll("-", "");
}

/** The parts of a write that a test chooses. The rest has default values. */
export interface WriteParts {
  readonly a: string;
  readonly expected?: RecordVersion | null;
  readonly now?: number;
  readonly expiresAt?: number;
}

/** A write of a record with one field, `=a`. By default it creates a record that expires after an hour. */
export function writeOf({ a, expected = null, now = Date.now(), expiresAt = now + 3_600_000 }: WriteParts): Write {
  const fields = new Map([["=a", a]]);
  return {
    id: crypto.randomUUID(),
    record: { fields, lastSeenAt: now },
    changed: fields,
    expected,
    expiresAt,
  };
}

/** The field `=a` of a record, or null if there is none. */
export async function valueOf(store: SessionStore, key: string): Promise<string | null> {
  return (await store.load(key))?.fields.get("=a") ?? null;
}

/** Saves, and expects that there is no conflict. */
export async function saved(store: SessionStore, key: string, parts: WriteParts): Promise<RecordVersion> {
  const version = await store.save(key, writeOf(parts));
  if (version === "conflict") throw new Error("save() answered conflict");
  return version;
}

/** The error of a call, which must fail. */
export async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("The call should have failed");
}

/** Whether a read met a locked file of SQLite. The core does not repeat reads, but a test that needs only the writes does. */
function isLocked(error: unknown): boolean {
  return Object(error).errcode === 5 || String(Object(error).code).startsWith("SQLITE_BUSY");
}

/** Adds one to the number in a record. Repeats after each conflict, and while the store is busy. */
export async function increment(store: SessionStore, key: string): Promise<void> {
  for (;;) {
    try {
      const found = await store.load(key);
      if (found === null) throw new Error("There is no record");
      const a = String(Number(found.fields.get("=a")) + 1);
      if ((await store.save(key, writeOf({ a, expected: found.version }))) !== "conflict") return;
    } catch (error) {
      if (!isBusy(error) && !isLocked(error)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
  }
}

/** A server that can crash. */
export interface Crashing {
  crash(): Promise<void>;
  restart(): Promise<void>;
}

/**
 * Increments a number while the server crashes and starts again. Each acknowledged increment must be there, and none may count twice.
 * The number lies between the acknowledged increments and those plus the unanswered ones.
 */
export async function countThroughCrash(
  store: SessionStore,
  server: Crashing,
): Promise<{ least: number; count: number; most: number }> {
  const key = randomKey();
  await saved(store, key, { a: "0" });
  let acknowledged = 0;
  let unknown = 0;
  let crashing: Promise<void> | undefined;
  const write = async (): Promise<void> => {
    while (acknowledged < 200) {
      const found = await Promise.resolve(store.load(key)).catch(() => null);
      if (found === null) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      const a = String(Number(found.fields.get("=a")) + 1);
      try {
        if ((await store.save(key, writeOf({ a, expected: found.version }))) !== "conflict") acknowledged++;
      } catch {
        unknown++;
      }
      if (acknowledged >= 50) crashing ??= server.crash().then(() => server.restart());
    }
  };
  await Promise.all([write(), write(), write(), write()]);
  await crashing;
  return { least: acknowledged, count: Number(await valueOf(store, key)), most: acknowledged + unknown };
}
