import type { StoredRecord } from "../../core/store.ts";
import {
  andNone,
  changing,
  created,
  creation,
  equal,
  holds,
  missing,
  present,
  randomKey,
  recordOf,
  refused,
  saved,
  upTo,
} from "../store_checks.ts";
import type { Check } from "./case.ts";

/** The requirements of `delete`. */
export const deleteCases: Readonly<Record<string, Check>> = {
  async "delete() removes the record"(store) {
    const { key } = await created(store, { a: "1" });
    equal(await store.delete(key), undefined, "delete()");
    await missing(store, key, "load() after delete()");
    await saved(store, key, creation(recordOf({ b: "2" })), "save() of a new record after delete()");
    await holds(store, key, recordOf({ b: "2" }), "fields");
  },

  async "delete() of a missing record succeeds"(store) {
    const { key, found } = await created(store, { a: "1" });
    await store.delete(key);
    equal(await store.delete(key), undefined, "the second delete()");
    equal(await store.delete(key, found.version), undefined, "delete() of a missing record at a version");
    equal(await store.delete(randomKey()), undefined, "delete() of an unknown key");
  },

  async "delete() at the current version removes the record"(store) {
    const { key, found } = await created(store, { a: "1" });
    equal(await store.delete(key, found.version), undefined, "delete() at the current version");
    await missing(store, key, "load() after delete() at the current version");
  },

  async "delete() at an old version answers conflict and keeps the record [compareAndSet]"(store) {
    for (const changes of andNone({ a: "2" })) {
      const { key, found: old } = await created(store, { a: "1" });
      const write = changing(old, changes, old.lastSeenAt + 1);
      await saved(store, key, write);
      const answer = await store.delete(key, old.version);
      if (store.traits.compareAndSet) equal(answer, "conflict", "delete() at an old version");
      if (answer === "conflict") await holds(store, key, write.record);
      else await missing(store, key, "load() after delete()");
    }
  },

  async "delete() is final for writes in flight [compareAndSet]"(store) {
    const { key } = await created(store, { count: "0" });
    let over = false;
    const untilOver = async (changes: (found: StoredRecord) => Record<string, string>): Promise<void> => {
      // The number of rounds is limited: if the writers never wait for the engine, the deletion would never run.
      for (let round = 0; round < 200 && !over; round++) {
        const found = await store.load(key);
        if (found === null) return;
        await store.save(key, changing(found, changes(found), found.lastSeenAt + 1));
      }
    };
    const writing = Promise.all([...upTo(3).map((i) => untilOver(() => ({ count: `${i}` }))), untilOver(() => ({}))]);
    // A failure before the deletion is done would be an unhandled rejection, which ends some test runners.
    writing.catch(() => {});
    try {
      // The writers start a few rounds earlier, so that the deletion falls between a load and its write.
      for (let round = 0; round < 3; round++) await store.load(key);
      await store.delete(key);
    } finally {
      over = true;
    }
    await writing;
    if (!store.traits.compareAndSet) await store.delete(key);
    await missing(store, key, "load() after delete() among other writes");
  },

  async "delete() ends its versions: none fits a record created anew [compareAndSet]"(store) {
    const { key, found: old } = await created(store, { a: "1" });
    await store.delete(key);
    const anew = recordOf({ a: "1" }, old.lastSeenAt);
    await saved(store, key, creation(anew), "save() of a new record after delete()");
    if (!store.traits.compareAndSet) return;
    await refused(store, key, changing(old, { a: "2" }), "save() at a version of the record deleted before");
    equal(await store.delete(key, old.version), "conflict", "delete() at a version of the record deleted before");
    await holds(store, key, anew);
  },

  async "the records of two keys are apart"(store) {
    const stem = randomKey().slice(1);
    const [one, two] = [`0${stem}`, `1${stem}`];
    const [first, second] = [recordOf({ a: "one" }), recordOf({ a: "two" })];
    await saved(store, one, creation(first), "save() of one key");
    await saved(store, two, creation(second), "save() of another key");
    await saved(store, one, changing(await holds(store, one, first), { a: "changed", b: "added" }));
    await holds(store, two, second);
    await store.delete(one);
    await holds(store, two, second);
  },

  async "stores of two prefixes are apart"(store, { neighbour }) {
    if (neighbour === undefined) return;
    const { key, found } = await created(store, { a: "mine" });
    await missing(neighbour, key, "load() by the store of another prefix");
    await neighbour.delete(key);
    await holds(store, key, found);
    const other = recordOf({ a: "the neighbour's" });
    await saved(neighbour, key, creation(other), "save() by the store of another prefix");
    await holds(store, key, found);
    await saved(store, key, changing(await present(store, key), { a: "changed" }));
    await holds(neighbour, key, other);
    await store.delete(key);
    await holds(neighbour, key, other);
  },
};
