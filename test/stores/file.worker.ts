/**
 * One of several processes on one folder: `increment <directory> <key> <times>` counts in one session,
 * `hammer <directory> <key>...` changes and touches each session until it is gone, `rewrite <directory> <key>`
 * changes one until the process is killed, `overflow <directory> <key>` writes what cannot be written.
 */
import { fileStore } from "../../src/stores/file.ts";
import type { Loaded, Version } from "../../src/store.ts";

const [task = "", directory = "", ...args] = process.argv.slice(2);
const store = fileStore({ directory });

async function change(key: string, before: Loaded, fields: [string, string][]): Promise<Version> {
  const changed = new Map(fields);
  const record = { fields: new Map([...before.fields, ...changed]), lastSeenAt: before.lastSeenAt };
  return store.change(key, { record, changed }, before.version, before.lastSeenAt + 3_600_000);
}

async function present(key: string): Promise<Loaded> {
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
        await store.touch(key, before.lastSeenAt + 1, before.lastSeenAt + 3_600_000, before);
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
