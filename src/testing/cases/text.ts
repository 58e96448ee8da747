import type { StoredRecord } from "../../core/store.ts";
import { changing, comesBack, created, creation, holds, present, randomKey, saved, upTo } from "../store_checks.ts";
import type { Check } from "./case.ts";

/** Names that a store might use itself, or that have a meaning elsewhere. */
const NAMES: readonly string[] = [
  "",
  " ",
  "0",
  "10",
  "-1",
  "a.b",
  "a/b",
  "../a",
  "a:b",
  "a b",
  "*",
  "%",
  "\\",
  '"',
  "'",
  "\0",
  "\n",
  "line\nbreak",
  "=a\n=b",
  "\r\n",
  "A",
  "a",
  "=a",
  "~a",
  "@",
  "@@",
  "!",
  "__proto__",
  "constructor",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "toJSON",
  "version",
  "v",
  "lastSeenAt",
  "t",
  "seen",
  "expiresAt",
  "exp",
  "ttl",
  "fields",
  "data",
  "record",
  "key",
  "id",
  "_",
  "$",
];

const VALUES: readonly string[] = [
  "",
  " ",
  "0",
  "007",
  "1e400",
  "9007199254740993",
  "-0",
  "NaN",
  "true",
  "null",
  "undefined",
  "nil",
  '{"a":1}',
  "[1,2]",
  '"quoted"',
  '{"a":',
  "\\",
  "\\n",
  "%41",
  "a+b",
  "<b>&amp;",
  "'; --",
  "$1",
  "\0",
  "line\r\nbreaks\n",
  "\n",
  "\n=f0\n1",
  "=f1",
  "\ttabs\t",
  " spaces around ",
];

const SCRIPTS: readonly string[] = [
  "ÿ¡é",
  "e\u0301",
  "Ω≈ç√",
  "漢字かな",
  "עברית",
  "👩‍👩‍👧‍👦",
  "\u{10ffff}",
  "\ufeffBOM first",
  "\u2028\u2029",
  "\u0080",
  "\ufffd",
];

/** The requirements for texts: each one must be found as it was stored. */
export const textCases: Readonly<Record<string, Check>> = {
  async "values that look like JSON, numbers or nothing come back as they went"(store) {
    await comesBack(store, new Map(VALUES.map((value, i) => [`f${i}`, value])));
    // Under names such as the core gives, for which a store may have a shorter form.
    await comesBack(store, new Map(VALUES.map((value, i) => [`=f${i}`, value])));
  },

  async "text of every script comes back as it went"(store) {
    await comesBack(store, new Map(SCRIPTS.map((text) => [text, text])));
    await comesBack(store, new Map(SCRIPTS.map((text) => [`=${text}`, JSON.stringify(text)])));
  },

  async "half surrogate pairs come back as they went"(store) {
    await comesBack(
      store,
      new Map([
        ["\ud800", "\udfff"],
        ["=\udc00", '"\ud83d"'],
        ["=b", "\ude00\ud83d"],
      ]),
    );
  },

  async "any text is a field name"(store) {
    const key = await comesBack(store, new Map(NAMES.map((name, i) => [name, `value ${i}`])));
    for (const name of ["__proto__", "", "version", "line\nbreak"]) {
      const removal = changing(await present(store, key), new Map([[name, null]]));
      await saved(store, key, removal);
      await holds(store, key, removal.record);
    }
  },

  async "a value of 64 KiB comes back as it went"(store) {
    // Half of the largest record if that is less.
    const size = Math.min(65_536, Math.floor(store.traits.maxBytes / 2));
    const value = "0123456789abcdef".repeat(Math.ceil(size / 16)).slice(0, size);
    await comesBack(store, new Map(Object.entries({ large: value, small: "x" })));
  },

  async "a thousand fields come back as they went"(store) {
    const key = await comesBack(store, new Map(upTo(1000).map((i) => [`f${i}`, `${i}`])));
    const removal = changing(await present(store, key), new Map(upTo(500).map((i) => [`f${i * 2}`, null])));
    await saved(store, key, removal);
    await holds(store, key, removal.record);
  },

  async "records are copies: what a caller does to its own reaches nobody"(store) {
    const key = randomKey();
    const fields = new Map([["a", "1"]]);
    const record = { fields, lastSeenAt: Date.now() };
    const created = creation(record);
    const wanted = { ...record, fields: new Map(fields) };
    await saved(store, key, created);
    fields.set("a", "tampered");
    tamper(await holds(store, key, wanted));
    const found = await holds(store, key, wanted);
    const change = changing(found, { a: "2" });
    const changed = { ...change.record, fields: new Map(change.record.fields) };
    await saved(store, key, change);
    tamper(change.record);
    tamper(await holds(store, key, changed));
    await saved(store, key, changing(await holds(store, key, changed), {}));
    await holds(store, key, changed);
  },

  async "a record that was found stays as it was found"(store) {
    const { key, found } = await created(store, { a: "1" });
    const before = { ...found, fields: new Map(found.fields) };
    await saved(store, key, changing(found, { a: "2", b: "added" }));
    await store.delete(key);
    // The record may be read late, and must not show later writes.
    const { fields } = found;
    if (fields.get("a") !== before.fields.get("a") || fields.size !== 1) {
      throw new Error("A record that load() had answered changed when another one was saved");
    }
  },
};

function tamper({ fields }: Pick<StoredRecord, "fields">): void {
  if (isWritable(fields)) fields.set("a", "tampered").set("b", "tampered");
}

function isWritable(fields: ReadonlyMap<string, string>): fields is Map<string, string> {
  return "set" in fields && typeof fields.set === "function";
}
