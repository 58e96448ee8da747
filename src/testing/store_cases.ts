import type { Loaded, RecordChange, SessionRecord, SessionStore, Version } from "../store.ts";

/** A store under test, with what some cases need beside it. A bare `SessionStore` will do as well. */
export interface OpenedStore {
  /** The store. It may hold records already: every case uses fresh random keys. */
  readonly store: SessionStore;
  /** A second store on the same engine under another prefix; without it, the case about prefixes has nothing to do. */
  readonly neighbour?: SessionStore;
  /** Makes the engine fail from now on; without it, the case about failures has nothing to do. */
  readonly fail?: () => void | Promise<void>;
  /** Called at the end of every case, also of one that failed. */
  readonly close?: () => void | Promise<void>;
}

/** Opens the store under test; called once by every case. */
export type OpenStore = () => SessionStore | OpenedStore | Promise<SessionStore | OpenedStore>;

/** One thing that a store must do. */
export interface StoreCase {
  /** What the store must do; the same in every version, for lists of known failures. */
  readonly name: string;
  /** Resolves when the store does it, and rejects with an `Error` that says what it did instead. */
  run(openStore: OpenStore): Promise<void>;
}

/**
 * Everything that a store must do, as data for any test runner.
 *
 * What a store need not promise is decided by its `traits`: names that end in `[compareAndSet]` ask less of a
 * store without it, those in `[prune]` or `[wasDeleted]` nothing of one without that verb. Cases may run one after the other or at
 * once, on one engine or on a new one each. A read must see the write before it, so an eventually consistent
 * store is tested where that holds: on its local simulator, usually.
 *
 * @example
 * ```ts
 * import { memoryStore } from "with-session/stores/memory";
 * import { storeCases } from "with-session/testing";
 *
 * for (const { name, run } of storeCases()) {
 *   // In a test runner: test(name, () => run(() => memoryStore()));
 *   await run(() => memoryStore()).catch((cause) => {
 *     throw new Error(name, { cause });
 *   });
 * }
 * ```
 */
export function storeCases(): StoreCase[] {
  return Object.entries(cases).map(([name, check]) => ({
    name,
    async run(openStore) {
      const result = await openStore();
      const opened = "store" in result ? result : { store: result };
      try {
        await check(opened.store, opened);
      } finally {
        await opened.close?.();
      }
    },
  }));
}

const cases: Record<string, (store: SessionStore, opened: OpenedStore) => Promise<void>> = {
  async "traits are plausible"({ traits }) {
    equal(typeof traits.compareAndSet, "boolean", "the type of traits.compareAndSet");
    equal(typeof traits.persistent, "boolean", "the type of traits.persistent");
    equal(typeof traits.shared, "boolean", "the type of traits.shared");
    that(["strong", "eventual"].includes(traits.consistency), `traits.consistency is ${show(traits.consistency)}`);
    that(traits.minTtl >= 0 && traits.minTtl < Infinity, `traits.minTtl is ${show(traits.minTtl)}`);
    that(traits.maxBytes > 0, `traits.maxBytes is ${show(traits.maxBytes)}`);
  },

  async "load() answers null when nothing was stored"(store) {
    equal(await store.load(randomKey()), null, "load() of an unknown key");
  },

  async "create() stores a record that load() finds"(store) {
    const key = randomKey();
    const record = recordOf({ a: "1", b: "two" });
    isVersion(await store.create(key, record, inAnHour()), "create()");
    await holds(store, key, record);
  },

  async "create() answers taken and changes nothing when the key is in use [compareAndSet]"(store) {
    const { key, record } = await created(store, { a: "first" });
    const second = recordOf({ b: "second" }, record.lastSeenAt + 1);
    const answer = await store.create(key, second, inAnHour());
    if (store.traits.compareAndSet) equal(answer, "taken", "create() of a key in use");
    await holds(store, key, answer === "taken" ? record : second);
  },

  async "create() lets one of many at once win [compareAndSet]"(store) {
    const key = randomKey();
    const records = upTo(8).map((i) => recordOf({ writer: `${i}`, [`only-${i}`]: "x" }));
    const answers = await Promise.all(records.map((record) => store.create(key, record, inAnHour())));
    const winners = records.filter((_, i) => answers[i] !== "taken");
    const found = await present(store, key);
    if (store.traits.compareAndSet) equal(winners.length, 1, "the number of create() calls that won");
    that(
      winners.some((record) => sameFields(record.fields, found.fields)),
      `load() found ${show(found.fields)}, which none of the winners wrote`,
    );
  },

  async "change() changes and adds fields, moves lastSeenAt and keeps the rest"(store) {
    const { key, record } = await created(store, { a: "1", b: "2", c: "3" });
    const before = await present(store, key);
    const change = changeOf(before, { b: "two", d: "4" }, record.lastSeenAt + 5);
    isVersion(await store.change(key, change, before.version, inAnHour()), "change()");
    await holds(store, key, recordOf({ a: "1", b: "two", c: "3", d: "4" }, record.lastSeenAt + 5));
  },

  async "change() removes the fields that are null"(store) {
    const { key } = await created(store, { a: "1", b: "2", c: "3" });
    const before = await present(store, key);
    const change = changeOf(before, { a: null, c: null });
    isVersion(await store.change(key, change, before.version, inAnHour()), "change()");
    await holds(store, key, recordOf({ b: "2" }, before.lastSeenAt));
  },

  async "change() answers conflict and changes nothing when the version is old [compareAndSet]"(store) {
    const { key } = await created(store, { a: "1" });
    const old = await present(store, key);
    const winner = changeOf(old, { a: "winner" });
    isVersion(await store.change(key, winner, old.version, inAnHour()), "change() at the current version");
    const loser = changeOf(old, { a: "loser", b: "loser" });
    const answer = await store.change(key, loser, old.version, inAnHour());
    if (store.traits.compareAndSet) equal(answer, "conflict", "change() at an old version");
    await holds(store, key, answer === "conflict" ? winner.record : loser.record);
  },

  async "change() answers gone and creates nothing when there is no record"(store) {
    const { key } = await created(store, { a: "1", b: "2" });
    const before = await present(store, key);
    await store.delete(key);
    const answer = await store.change(key, changeOf(before, { a: "2" }), before.version, inAnHour());
    equal(answer, "gone", "change() of a deleted record");
    equal(await store.load(key), null, "load() after change() of a deleted record");
  },

  async "change() takes the version that create() or change() answered"(store) {
    const { key, version, record } = await created(store, { count: "0" });
    const once = changeOf(record, { count: "1" });
    const next = await store.change(key, once, version, inAnHour());
    isVersion(next, "change() at the version that create() answered");
    const twice = changeOf(once.record, { count: "2" });
    isVersion(await store.change(key, twice, next, inAnHour()), "change() at the version that change() answered");
    await holds(store, key, twice.record);
  },

  async "change() loses none of many at once, touches between them [compareAndSet]"(store) {
    const { key } = await created(store, { count: "0", kept: "x" });
    const writers = upTo(6).map((writer) =>
      repeat(4, () =>
        changeUntilStored(store, key, (before) => ({
          count: `${Number(before.fields.get("count")) + 1}`,
          [`writer-${writer}`]: "was here",
        })),
      ),
    );
    const touches = repeat(4, async () => {
      const before = await present(store, key);
      const answer = await store.touch(key, before.lastSeenAt + 1, inAnHour(), before);
      that(answer === true || isConflict(store, answer), "touch() of a live record answered false");
    });
    await Promise.all([...writers, touches]);

    const { fields } = await present(store, key);
    if (store.traits.compareAndSet) {
      equal(fields.get("count"), "24", "the count after 6 × 4 increments at once");
      equal(fields.size, 8, "the number of fields after 6 writers added one each");
    }
    equal(fields.get("kept"), "x", "the field that nobody changed");
  },

  async "touch() moves lastSeenAt and the version, and keeps the fields"(store) {
    const { key, record } = await created(store, { a: "1", b: "2" });
    const before = await present(store, key);
    const lastSeenAt = record.lastSeenAt + 60_000;
    equal(await store.touch(key, lastSeenAt, inAnHour(), before), true, "touch() of a live record");
    const after = await holds(store, key, { fields: record.fields, lastSeenAt });
    that(after.version !== before.version, "touch() left the version as it was");
  },

  async "touch() keeps a change made since the caller loaded [compareAndSet]"(store) {
    const { key } = await created(store, { a: "1", b: "2" });
    const stale = await present(store, key);
    const change = changeOf(stale, { a: "changed", b: null, c: "added" });
    isVersion(await store.change(key, change, stale.version, inAnHour()), "change()");
    const answer = await store.touch(key, stale.lastSeenAt + 9, inAnHour(), stale);
    that(answer === true || isConflict(store, answer), `touch() of a live record answered ${show(answer)}`);
    const { fields } = await present(store, key);
    that(
      sameFields(fields, change.record.fields) || (!store.traits.compareAndSet && sameFields(fields, stale.fields)),
      `touch() turned ${show(change.record.fields)} into ${show(fields)}`,
    );
  },

  async "touch() answers false and creates nothing when there is no record"(store) {
    const { key, record } = await created(store, { a: "1" });
    const before = await present(store, key);
    await store.delete(key);
    equal(await store.touch(key, record.lastSeenAt + 1, inAnHour(), before), false, "touch() of a deleted record");
    equal(await store.load(key), null, "load() after touch() of a deleted record");
  },

  async "every write makes a new version"(store) {
    const key = randomKey();
    const record = recordOf({ a: "1" });
    // The same content and times over and over: a version must not be made of them alone.
    const expiresAt = inAnHour();
    const seen: Version[] = [];
    const note = async (what: string) => {
      const { version } = await present(store, key);
      that(!seen.includes(version), `${what} brought back the version ${show(version)}`);
      seen.push(version);
    };
    isVersion(await store.create(key, record, expiresAt), "create()");
    await note("create()");
    for (const a of ["2", "1", "2", "1"]) {
      const before = await present(store, key);
      await store.change(key, changeOf(before, { a }), before.version, expiresAt);
      await note("change()");
      await store.touch(key, record.lastSeenAt, expiresAt, await present(store, key));
      await note("touch()");
    }
  },

  async "delete() removes the record"(store) {
    const { key } = await created(store, { a: "1" });
    equal(await store.delete(key), undefined, "delete()");
    equal(await store.load(key), null, "load() after delete()");
    isVersion(await store.create(key, recordOf({ b: "2" }), inAnHour()), "create() after delete()");
    await holds(store, key, recordOf({ b: "2" }), "fields");
  },

  async "delete() of what is missing is fine"(store) {
    const { key, version } = await created(store, { a: "1" });
    await store.delete(key);
    equal(await store.delete(key), undefined, "the second delete()");
    equal(await store.delete(key, version), undefined, "delete() of a missing record at a version");
    equal(await store.delete(randomKey()), undefined, "delete() of an unknown key");
  },

  async "delete() at the current version removes the record"(store) {
    const { key } = await created(store, { a: "1" });
    const { version } = await present(store, key);
    equal(await store.delete(key, version), undefined, "delete() at the current version");
    equal(await store.load(key), null, "load() after delete() at the current version");
  },

  async "delete() at an old version answers conflict and keeps the record [compareAndSet]"(store) {
    const { key } = await created(store, { a: "1" });
    const old = await present(store, key);
    const change = changeOf(old, { a: "2" });
    await store.change(key, change, old.version, inAnHour());
    const answer = await store.delete(key, old.version);
    if (store.traits.compareAndSet) equal(answer, "conflict", "delete() at an old version");
    if (answer === "conflict") await holds(store, key, change.record);
    else equal(await store.load(key), null, "load() after delete()");
  },

  async "delete() is final for changes and touches in flight [compareAndSet]"(store) {
    const { key } = await created(store, { count: "0" });
    let over = false;
    const untilOver = async (write: (before: Loaded) => Promise<unknown>) => {
      for (let before = await store.load(key); before !== null && !over; before = await store.load(key)) {
        await write(before);
      }
    };
    const writers = upTo(3).map((i) =>
      untilOver((before) => store.change(key, changeOf(before, { count: `${i}` }), before.version, inAnHour())),
    );
    const toucher = untilOver((before) => store.touch(key, before.lastSeenAt + 1, inAnHour(), before));
    // A few rounds' start for the others, so that the deletion falls between a load and its write.
    for (let round = 0; round < 3; round++) await store.load(key);
    await store.delete(key);
    over = true;
    await Promise.all([...writers, toucher]);
    if (!store.traits.compareAndSet) await store.delete(key);
    equal(await store.load(key), null, "load() after delete() among changes and touches");
  },

  async "delete() ends its versions: none fits a record created anew [compareAndSet]"(store) {
    const { key, record } = await created(store, { a: "1" });
    const old = await present(store, key);
    await store.delete(key);
    isVersion(await store.create(key, record, inAnHour()), "create() after delete()");
    if (!store.traits.compareAndSet) return;
    const change = changeOf(old, { a: "2" });
    equal(
      await store.change(key, change, old.version, inAnHour()),
      "conflict",
      "change() at a version of the record deleted before",
    );
    equal(await store.delete(key, old.version), "conflict", "delete() at a version of the record deleted before");
    await holds(store, key, record);
  },

  async "values that look like JSON, numbers or nothing come back as they went"(store) {
    const values = [
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
      "\ttabs\t",
      " spaces around ",
    ];
    const fields = new Map(values.map((value, i) => [`f${i}`, value]));
    await comesBack(store, fields);
  },

  async "text of every script comes back as it went"(store) {
    const texts = [
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
    await comesBack(store, new Map(texts.map((text) => [text, text])));
  },

  async "any text is a field name"(store) {
    const names = [
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
      "A",
      "a",
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "length",
      "then",
      "toJSON",
      // Names that a store might want for itself.
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
      "_",
      "$",
      "@",
    ];
    const key = await comesBack(store, new Map(names.map((name, i) => [name, `value ${i}`])));
    for (const name of ["__proto__", "", "version"]) {
      const before = await present(store, key);
      const change = changeOf(before, new Map([[name, null]]));
      await store.change(key, change, before.version, inAnHour());
      await holds(store, key, change.record);
    }
  },

  async "a value of 64 KiB comes back as it went"(store) {
    // Half of the largest record where that is less.
    const size = Math.min(65_536, Math.floor(store.traits.maxBytes / 2));
    const value = "0123456789abcdef".repeat(Math.ceil(size / 16)).slice(0, size);
    await comesBack(
      store,
      new Map([
        ["large", value],
        ["small", "x"],
      ]),
    );
  },

  async "a thousand fields come back as they went"(store) {
    const key = await comesBack(store, new Map(upTo(1000).map((i) => [`f${i}`, `${i}`])));
    const before = await present(store, key);
    const change = changeOf(before, new Map(upTo(500).map((i) => [`f${i * 2}`, null])));
    isVersion(await store.change(key, change, before.version, inAnHour()), "change()");
    await holds(store, key, change.record);
  },

  async "a record over traits.maxBytes is refused, and what was stored stays"(store) {
    const { maxBytes } = store.traits;
    // Filling the memory of the machine would prove nothing about an engine that takes that much.
    if (maxBytes > 2 ** 26) return;
    const { key, record } = await created(store, { a: "1" });
    const before = await present(store, key);
    const large = "x".repeat(maxBytes + 1);
    await refuses("change()", () => store.change(key, changeOf(before, { large }), before.version, inAnHour()));
    await holds(store, key, record);
    const other = randomKey();
    await refuses("create()", () => store.create(other, recordOf({ large }), inAnHour()));
    equal(await store.load(other), null, "load() after a refused create()");
  },

  async "the records of two keys are apart"(store) {
    const stem = randomKey().slice(1);
    const [one, two] = [`0${stem}`, `1${stem}`];
    const [first, second] = [recordOf({ a: "one" }), recordOf({ a: "two" })];
    isVersion(await store.create(one, first, inAnHour()), "create() of one key");
    isVersion(await store.create(two, second, inAnHour()), "create() of another key");
    const before = await holds(store, one, first);
    const change = changeOf(before, { a: "changed", b: "added" });
    await store.change(one, change, before.version, inAnHour());
    await holds(store, two, second);
    await store.delete(one);
    await holds(store, two, second);
  },

  async "stores of two prefixes are apart"(store, { neighbour }) {
    if (neighbour === undefined) return;
    const { key, record } = await created(store, { a: "mine" });
    equal(await neighbour.load(key), null, "load() by the store of another prefix");
    await neighbour.delete(key);
    await holds(store, key, record);
    const other = recordOf({ a: "the neighbour's" });
    isVersion(await neighbour.create(key, other, inAnHour()), "create() by the store of another prefix");
    await holds(store, key, record);
    await store.delete(key);
    await holds(neighbour, key, other);
  },

  async "records are copies: what a caller does to its own reaches nobody"(store) {
    const key = randomKey();
    const fields = new Map([["a", "1"]]);
    const { lastSeenAt } = recordOf({});
    isVersion(await store.create(key, { fields, lastSeenAt }, inAnHour()), "create()");
    fields.set("a", "tampered");
    let loaded = await holds(store, key, recordOf({ a: "1" }, lastSeenAt));
    tamper(loaded);
    loaded = await holds(store, key, recordOf({ a: "1" }, lastSeenAt));
    const after = new Map([["a", "2"]]);
    const change = { record: { fields: after, lastSeenAt }, changed: new Map([["a", "2"]]) };
    await store.change(key, change, loaded.version, inAnHour());
    after.set("a", "tampered");
    change.changed.set("a", "tampered");
    loaded = await holds(store, key, recordOf({ a: "2" }, lastSeenAt));
    tamper(loaded);
    await store.touch(key, lastSeenAt + 1, inAnHour(), await present(store, key));
    await holds(store, key, recordOf({ a: "2" }, lastSeenAt + 1));
  },

  async "prune() removes what expired before now, and nothing else [prune]"(store) {
    if (store.prune === undefined) return;
    const now = Date.now();
    const [expired, alive] = [randomKey(), randomKey()];
    await store.create(expired, recordOf({ a: "1" }, now), now + 30_000);
    await store.create(alive, recordOf({ b: "2" }, now), now + 3_600_000);
    await store.prune(now);
    await holds(store, expired, recordOf({ a: "1" }, now));
    const removed = await store.prune(now + 60_000);
    that(removed >= 1, `prune() answered ${show(removed)} after it had an expired record to remove`);
    equal(await store.load(expired), null, "load() of an expired record after prune()");
    await holds(store, alive, recordOf({ b: "2" }, now));
  },

  async "change() and touch() move the expiry [prune]"(store) {
    if (store.prune === undefined) return;
    const now = Date.now();
    const [changed, touched] = [randomKey(), randomKey()];
    for (const key of [changed, touched]) {
      await store.create(key, recordOf({ a: "1" }, now), now + 30_000);
    }
    const before = await present(store, changed);
    await store.change(changed, changeOf(before, { a: "2" }), before.version, now + 3_600_000);
    await store.touch(touched, now + 1, now + 3_600_000, await present(store, touched));
    await store.prune(now + 60_000);
    await holds(store, changed, recordOf({ a: "2" }, now));
    await holds(store, touched, recordOf({ a: "1" }, now + 1));
  },

  async "wasDeleted() is true of what was deleted, and of nothing else [wasDeleted]"(store) {
    if (store.wasDeleted === undefined) return;
    const key = randomKey();
    equal(await store.wasDeleted(key), false, "wasDeleted() of what was never there");
    await store.create(key, recordOf({ a: "1" }), inAnHour());
    equal(await store.wasDeleted(key), false, "wasDeleted() of what is there");
    await store.delete(key);
    equal(await store.wasDeleted(key), true, "wasDeleted() of what was deleted");
    equal(await store.load(key), null, "load() of what was deleted");
    await store.create(key, recordOf({ a: "2" }), inAnHour());
    equal(await store.wasDeleted(key), false, "wasDeleted() of what was created again");
  },

  async "what has expired is whole or gone, and no write brings a part of it back"(store) {
    for (const write of ["change", "touch"] as const) {
      const now = Date.now();
      const key = randomKey();
      const record = recordOf({ a: "1", b: "2" }, now);
      await store.create(key, record, now + 1);
      // Some engines sweep by now and some later: whichever way, the record must stay whole or stay away.
      const before = { ...record, version: "", ...(await store.load(key)) };
      that(
        sameFields(before.fields, record.fields),
        `load() found a part of an expired record: ${show(before.fields)}`,
      );
      const change = changeOf(record, { b: "3" });
      const answer =
        write === "change"
          ? await store.change(key, change, before.version, inAnHour())
          : await store.touch(key, now, inAnHour(), before);
      const after = await store.load(key);
      if (answer === "gone" || answer === false) {
        equal(after, null, `load() after ${write}() said that the record was gone`);
      } else if (after !== null) {
        const wanted = write === "change" && answer !== "conflict" ? change.record : record;
        that(sameFields(after.fields, wanted.fields), `${write}() of an expired record left ${show(after.fields)}`);
      }
    }
  },

  async "every call rejects when the engine fails, and none says that there is nothing"(store, { fail }) {
    if (fail === undefined) return;
    const { key, record } = await created(store, { a: "1" });
    const before = await present(store, key);
    await fail();
    await rejects("load()", () => store.load(key));
    await rejects("create()", () => store.create(randomKey(), record, inAnHour()));
    await rejects("change()", () => store.change(key, changeOf(before, { a: "2" }), before.version, inAnHour()));
    await rejects("touch()", () => store.touch(key, record.lastSeenAt + 1, inAnHour(), before));
    await rejects("delete()", () => store.delete(key));
  },
};

// Records and changes.

function recordOf(
  fields: Record<string, string> | Map<string, string>,
  lastSeenAt: number = Date.now(),
): SessionRecord {
  return { fields: fields instanceof Map ? fields : new Map(Object.entries(fields)), lastSeenAt };
}

function changeOf(
  before: SessionRecord,
  changes: Record<string, string | null> | Map<string, string | null>,
  lastSeenAt: number = before.lastSeenAt,
): RecordChange {
  const changed = changes instanceof Map ? changes : new Map(Object.entries(changes));
  const fields = new Map(before.fields);
  for (const [name, value] of changed) {
    if (value === null) fields.delete(name);
    else fields.set(name, value);
  }
  return { record: { fields, lastSeenAt }, changed };
}

function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function inAnHour(): number {
  return Date.now() + 3_600_000;
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

// Steps that several cases take.

async function created(
  store: SessionStore,
  fields: Record<string, string>,
): Promise<{ key: string; record: SessionRecord; version: Version }> {
  const key = randomKey();
  const record = recordOf(fields);
  const version = await store.create(key, record, inAnHour());
  isVersion(version, "create()");
  return { key, record, version };
}

async function comesBack(store: SessionStore, fields: Map<string, string>): Promise<string> {
  const key = randomKey();
  const record = recordOf(fields);
  isVersion(await store.create(key, record, inAnHour()), "create()");
  const before = await holds(store, key, record);
  // Once more through change(), which may write by another way than create().
  const change = changeOf(before, new Map([...fields].map(([name, value]) => [name, `${value}!`])));
  isVersion(await store.change(key, change, before.version, inAnHour()), "change()");
  const between = await holds(store, key, change.record);
  const back = changeOf(between, fields);
  isVersion(await store.change(key, back, between.version, inAnHour()), "change()");
  await holds(store, key, record);
  return key;
}

async function changeUntilStored(
  store: SessionStore,
  key: string,
  changes: (before: Loaded) => Record<string, string>,
): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    const before = await present(store, key);
    const answer = await store.change(key, changeOf(before, changes(before)), before.version, inAnHour());
    that(answer !== "gone", "change() of a live record answered gone");
    if (answer !== "conflict") return;
  }
  throw new Error("change() at the version just loaded answered conflict 1000 times");
}

async function repeat(times: number, step: () => Promise<void>): Promise<void> {
  for (let i = 0; i < times; i++) await step();
}

function tamper({ fields }: Loaded): void {
  if (fields instanceof Map) fields.set("a", "tampered").set("b", "tampered");
}

// What must hold, with a message that says what did not.

async function present(store: SessionStore, key: string): Promise<Loaded> {
  const found = await store.load(key);
  if (found === null) throw new Error("load() of a stored record answered null");
  isVersion(found.version, "load()");
  return found;
}

async function holds(
  store: SessionStore,
  key: string,
  wanted: SessionRecord,
  compare: "all" | "fields" = "all",
): Promise<Loaded> {
  const found = await present(store, key);
  for (const [name, value] of wanted.fields) {
    equal(found.fields.get(name), value, `the field ${show(name)}`);
  }
  for (const name of found.fields.keys()) {
    that(wanted.fields.has(name), `load() found the field ${show(name)}, which should not be there`);
  }
  if (compare === "all") equal(found.lastSeenAt, wanted.lastSeenAt, "lastSeenAt");
  return found;
}

function sameFields(one: ReadonlyMap<string, string>, two: ReadonlyMap<string, string>): boolean {
  return one.size === two.size && [...one].every(([name, value]) => two.get(name) === value);
}

/** Whether a touch was refused because another write came first. A store may do without, at the price that `touch` tells. */
function isConflict(store: SessionStore, answer: unknown): boolean {
  return store.traits.compareAndSet && answer === "conflict";
}

function isVersion(answer: unknown, what: string): void {
  const words: unknown[] = ["taken", "conflict", "gone"];
  that(
    (typeof answer === "string" || typeof answer === "number") && !words.includes(answer),
    `${what} gave ${show(answer)} where a version was expected`,
  );
}

async function refuses(what: string, call: () => Promise<unknown>): Promise<void> {
  const error = await rejects(`${what} of a record over traits.maxBytes`, call);
  that(
    error instanceof Error && "code" in error && error.code === "ERR_RECORD_TOO_LARGE",
    `${what} of a record over traits.maxBytes rejected with ${error}, not with ERR_RECORD_TOO_LARGE`,
  );
}

async function rejects(what: string, call: () => Promise<unknown>): Promise<unknown> {
  let answer: unknown;
  try {
    answer = await call();
  } catch (error) {
    return error;
  }
  throw new Error(`${what} should have rejected, but answered ${show(answer)}`);
}

function equal(actual: unknown, wanted: unknown, what: string): void {
  that(Object.is(actual, wanted), `${what}: expected ${show(wanted)}, got ${show(actual)}`);
}

function that(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

function show(value: unknown): string {
  const text = JSON.stringify(value, (_, part) => (part instanceof Map ? [...part] : part)) ?? String(value);
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text;
}
