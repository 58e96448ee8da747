import type { RecordVersion } from "../../core/store.ts";
import {
  andNone,
  changeUntilSaved,
  changing,
  created,
  creation,
  equal,
  holds,
  inAnHour,
  missing,
  present,
  randomKey,
  recordOf,
  refused,
  sameFields,
  saved,
  show,
  that,
  upTo,
  version,
} from "../store_checks.ts";
import type { Check } from "./case.ts";

/** The requirements of `load` and `save`. */
export const saveCases: Readonly<Record<string, Check>> = {
  async "traits are plausible"({ traits }) {
    equal(typeof traits.compareAndSet, "boolean", "the type of traits.compareAndSet");
    that(["strong", "eventual"].includes(traits.consistency), `traits.consistency is ${show(traits.consistency)}`);
    that(traits.maxBytes > 0, `traits.maxBytes is ${show(traits.maxBytes)}`);
    const { exact = false, staleness = 60 } = traits;
    equal(typeof exact, "boolean", "the type of traits.exact");
    that(staleness >= 0 && staleness < Infinity, `traits.staleness is ${show(staleness)}`);
  },

  async "load() answers null when nothing was stored"(store) {
    await missing(store, randomKey(), "load() of an unknown key");
  },

  async "save() creates a record that load() finds"(store) {
    const key = randomKey();
    const record = recordOf({ a: "1", b: "two" });
    version(await store.save(key, creation(record)), "save() of a new record");
    await holds(store, key, record);
  },

  async "save() of a new record answers conflict and changes nothing when there is one [compareAndSet]"(store) {
    const { key, found } = await created(store, { a: "first" });
    const second = recordOf({ b: "second" }, found.lastSeenAt + 1);
    const answer = await store.save(key, creation(second));
    if (store.traits.compareAndSet) equal(answer, "conflict", "save() of a new record over another one");
    await holds(store, key, answer === "conflict" ? found : second);
  },

  async "save() lets one of many creations at once win [compareAndSet]"(store) {
    const key = randomKey();
    const records = upTo(8).map((i) => recordOf({ writer: `${i}`, [`only-${i}`]: "x" }));
    const answers = await Promise.all(records.map((record) => store.save(key, creation(record))));
    const winners = records.filter((_, i) => answers[i] !== "conflict");
    const found = await present(store, key);
    if (store.traits.compareAndSet) equal(winners.length, 1, "the number of creations that won");
    that(
      winners.some((record) => sameFields(record.fields, found.fields)),
      `load() found ${show(found.fields)}, which none of the winners wrote`,
    );
  },

  async "save() changes and adds fields, moves lastSeenAt and keeps the rest"(store) {
    const { key, found } = await created(store, { a: "1", b: "2", c: "3" });
    await saved(store, key, changing(found, { b: "two", d: "4" }, found.lastSeenAt + 5));
    await holds(store, key, recordOf({ a: "1", b: "two", c: "3", d: "4" }, found.lastSeenAt + 5));
  },

  async "save() removes the fields that are null"(store) {
    const { key, found } = await created(store, { a: "1", b: "2", c: "3" });
    await saved(store, key, changing(found, { a: null, c: null }));
    await holds(store, key, recordOf({ b: "2" }, found.lastSeenAt));
  },

  async "save() without changes moves lastSeenAt and the version, and keeps the fields"(store) {
    const { key, found } = await created(store, { a: "1", b: "2" });
    const touch = changing(found, {}, found.lastSeenAt + 60_000);
    await saved(store, key, touch, "save() without changes");
    const after = await holds(store, key, touch.record);
    that(after.version !== found.version, "save() without changes left the version as it was");
  },

  async "save() answers conflict and changes nothing when the version is old [compareAndSet]"(store) {
    for (const changes of andNone({ a: "loser", b: "loser" })) {
      const { key, found: old } = await created(store, { a: "1" });
      const winner = changing(old, { a: "winner" });
      await saved(store, key, winner, "save() at the current version");
      const answer = await store.save(key, changing(old, changes, old.lastSeenAt + 9));
      if (store.traits.compareAndSet) equal(answer, "conflict", "save() at an old version");
      // Without compare-and-set, the last write wins.
      if (answer === "conflict") await holds(store, key, winner.record);
      else version(answer, "save() at an old version");
    }
  },

  async "save() answers conflict and creates nothing when there is no record"(store) {
    const { key, found } = await created(store, { a: "1", b: "2" });
    await store.delete(key);
    await refused(store, key, changing(found, { a: "2" }), "save() of changes of a deleted record");
    await missing(store, key, "load() after save() of changes of a deleted record");
    await refused(store, key, changing(found, {}, found.lastSeenAt + 1), "save() without changes of a deleted record");
    await missing(store, key, "load() after save() without changes of a deleted record");
  },

  async "save() answers conflict and changes nothing when the record was left without fields"(store) {
    const { key, found } = await created(store, { a: "1", b: "2" });
    const ended = changing(found, { a: null, b: null }, found.lastSeenAt + 1);
    await saved(store, key, ended, "save() of a record without fields");
    await holds(store, key, ended.record);
    await refused(store, key, changing(found, { a: "2" }), "save() at the version before the fields were removed");
    await holds(store, key, ended.record);
  },

  async "save() takes the version that save() answered"(store) {
    const key = randomKey();
    const first = recordOf({ count: "0" });
    const created = await saved(store, key, creation(first));
    const once = changing({ ...first, version: created }, { count: "1" });
    const changed = await saved(store, key, once, "save() at the version that the creation answered");
    const touch = changing({ ...once.record, version: changed }, {}, first.lastSeenAt + 1);
    const touched = await saved(store, key, touch, "save() at the version that a change answered");
    const twice = changing({ ...touch.record, version: touched }, { count: "2" });
    await saved(store, key, twice, "save() at the version that save() without changes answered");
    await holds(store, key, twice.record);
  },

  async "every write makes a new version"(store) {
    const key = randomKey();
    // Content and instants are the same each time: a version must not be made of these alone.
    const record = recordOf({ a: "1" });
    const expiresAt = inAnHour();
    const seen: RecordVersion[] = [];
    const note = async (what: string): Promise<void> => {
      const found = await present(store, key);
      that(!seen.includes(found.version), `${what} brought back the version ${show(found.version)}`);
      seen.push(found.version);
    };
    await saved(store, key, creation(record, expiresAt));
    await note("save() of a new record");
    for (const a of ["2", "1", "2", "1"]) {
      await saved(store, key, changing(await present(store, key), { a }, record.lastSeenAt, expiresAt));
      await note("save() of a change");
      await saved(store, key, changing(await present(store, key), {}, record.lastSeenAt, expiresAt));
      await note("save() without changes");
    }
  },

  async "a write that comes twice is done once [compareAndSet]"(store) {
    const key = randomKey();
    const first = creation(recordOf({ count: "0" }));
    await saved(store, key, first);
    await isHarmless("the same creation", first);
    const second = changing(await present(store, key), { count: "1" });
    await saved(store, key, second);
    await isHarmless("the same change", second);
    const third = changing(await present(store, key), { count: "2" });
    await saved(store, key, third);
    await isHarmless("an overtaken change", second);

    /**
     * The write is refused or recognised, and the record stays as it is. The version that it returned is not taken for
     * the version of a later write.
     */
    async function isHarmless(what: string, write: typeof first): Promise<void> {
      const before = await present(store, key);
      const answer = await store.save(key, write);
      if (!store.traits.compareAndSet) return;
      const after = await holds(store, key, before);
      if (answer === "conflict") return;
      version(answer, `save() of ${what}`);
      const isLast = sameFields(write.record.fields, before.fields);
      equal(answer === after.version, isLast, `whether save() of ${what} answered the present version`);
    }
  },

  async "save() loses none of 50 increments at once, touches between them [compareAndSet]"(store) {
    const { key } = await created(store, { count: "0", kept: "x" });
    const writers = upTo(5).map(async (writer) => {
      for (let i = 0; i < 10; i++) {
        await changeUntilSaved(store, key, ({ fields }) => ({
          count: `${Number(fields.get("count")) + 1}`,
          [`writer-${writer}`]: "was here",
        }));
      }
    });
    const touches = upTo(5).map(async () => {
      const found = await present(store, key);
      await store.save(key, changing(found, {}, found.lastSeenAt + 1));
    });
    await Promise.all([...writers, ...touches]);

    const { fields } = await present(store, key);
    if (store.traits.compareAndSet) {
      equal(fields.get("count"), "50", "the count after 5 × 10 increments at once");
      equal(fields.size, 7, "the number of fields after 5 writers added one each");
    }
    equal(fields.get("kept"), "x", "the field that nobody changed");
  },
};
