/**
 * Calls a store on a locked file of SQLite, writes once the file is free, and prints what another connection sees then:
 * `<client> <file>`.
 */
import { isBusy } from "../../../src/core/errors.ts";
import { CLIENTS } from "./clients.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./steps.ts";

const [client = "", file = ""] = process.argv.slice(2);
const open = CLIENTS[client];
if (open === undefined) throw new Error(`There is no client ${client}`);
const [mine, other] = [await open(file), await open(file)];
const key = randomKey();
const expected = await saved(mine.store, key, { a: "1" });
other.exec?.("BEGIN IMMEDIATE");
const failures = [
  await failureOf(() => mine.store.save(key, writeOf({ a: "2", expected }))),
  await failureOf(() => mine.store.save(randomKey(), writeOf({ a: "2" }))),
  await failureOf(() => mine.store.delete(key, expected)),
];
const readable = await valueOf(mine.store, key);
other.exec?.("COMMIT");
await saved(mine.store, key, { a: "2", expected });
// A client that keeps the failed statements open would not have committed, and would still hold the lock.
const seen = await valueOf(other.store, key);
await saved(other.store, randomKey(), { a: "3" });
console.log(JSON.stringify({ busy: failures.map(isBusy), readable, seen }));
mine.close();
other.close();
