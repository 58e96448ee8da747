/**
 * One of several processes on one folder. `increment <directory> <key> <times>` counts in one session, `hammer <directory> <key>...` changes and
 * touches each session until it is deleted, `rewrite <directory> <key>` changes one until the process is killed, and `overflow <directory> <key>`
 * writes a record that is too large for the disk.
 */
import { fileStore } from "../../src/stores/file.ts";
import type { RecordVersion, StoredRecord } from "../../src/core/store.ts";

const [task = "", directory = "", ...args] = process.argv.slice(2);
const store = fileStore({ directory });

async function change(
  key: string,
  found: StoredRecord,
  fields: [string, string][],
): Promise<RecordVersion | "conflict"> {
  const changed = new Map(fields);
  const lastSeenAt = found.lastSeenAt + 1;
  const record = { fields: new Map([...found.fields, ...changed]), lastSeenAt };
  const write = {
    id: crypto.randomUUID(),
    record,
    changed,
    expected: found.version,
    expiresAt: lastSeenAt + 3_600_000,
  };
  return await store.save(key, write);
}

async function present(key: string): Promise<StoredRecord> {
  const found = await store.load(key);
  if (found === null) throw new Error("The session is gone");
  return found;
}

async function increment(key: string): Promise<boolean> {
  const before = await present(key);
  const own = `own-${process.pid}`;
  const plusOne = (name: string): [string, string] => [name, `${Number(before.fields.get(name) ?? 0) + 1}`];
  return (await change(key, before, [plusOne("count"), plusOne(own)])) !== "conflict";
}

switch (task) {
  case "increment": {
    const [key = "", times = ""] = args;
    for (let done = 0; done < Number(times);) if (await increment(key)) done++;
    break;
  }
  case "hammer":
    for (const key of args) {
      for (let before = await store.load(key); before !== null; before = await store.load(key)) {
        await change(key, before, [["count", `${Number(before.fields.get("count")) + 1}`]]);
        const touched = await store.load(key);
        if (touched !== null) await change(key, touched, []);
      }
    }
    break;
  case "rewrite": {
    const [key = ""] = args;
    for (let round = 0; ; round++) {
      const letter = "abc"[round % 3] ?? "";
      const before = await present(key);
      await change(key, before, [
        ["one", letter.repeat(100_000)],
        ["two", letter],
      ]);
      if (round === 10) process.stdout.write("running\n");
    }
  }
  case "overflow": {
    const [key = ""] = args;
    const before = await present(key);
    const error: unknown = await change(key, before, [["large", "x".repeat(100_000)]]).catch(
      (reason: unknown) => reason,
    );
    process.stdout.write(error instanceof Error && "code" in error ? String(error.code) : String(error));
    break;
  }
  default:
    throw new Error(`There is no task ${task}`);
}
