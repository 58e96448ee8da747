import type { SessionStore, Write } from "../../core/store.ts";
import {
  andNone,
  changing,
  codeOf,
  created,
  creation,
  equal,
  fails,
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
  version,
} from "../store_checks.ts";
import type { Check } from "./case.ts";

/** The requirements for an engine's limits, expiry and failures. */
export const engineCases: Readonly<Record<string, Check>> = {
  async "a record over traits.maxBytes is refused before it is sent, and what was stored stays"(store, { calls }) {
    const { maxBytes } = store.traits;
    // Filling the memory of the machine would prove nothing about an engine with such a limit.
    if (maxBytes > 2 ** 26) return;
    const { key, found } = await created(store, { a: "1" });
    const large = "x".repeat(maxBytes + 1);
    const other = randomKey();
    const before = calls?.();
    await isTooLarge("save() of a change", () => store.save(key, changing(found, { large })));
    await isTooLarge("save() of a new record", () => store.save(other, creation(recordOf({ large }))));
    equal(calls?.(), before, "the number of calls that the engine has received");
    await holds(store, key, found);
    await missing(store, other, "load() after a refused creation");
  },

  async "prune() removes what expired before now, and nothing else [prune]"(store) {
    if (store.prune === undefined) return;
    const now = Date.now();
    const [expired, alive] = [randomKey(), randomKey()];
    await saved(store, expired, creation(recordOf({ a: "1" }, now), now + 30_000));
    await saved(store, alive, creation(recordOf({ b: "2" }, now), now + 3_600_000));
    await store.prune(now);
    await holds(store, expired, recordOf({ a: "1" }, now));
    const removed = await store.prune(now + 60_000);
    that(removed >= 1, `prune() answered ${show(removed)} after it had an expired record to remove`);
    await missing(store, expired, "load() of an expired record after prune()");
    await holds(store, alive, recordOf({ b: "2" }, now));
  },

  async "save() moves the expiry, also without changes [prune]"(store) {
    if (store.prune === undefined) return;
    const now = Date.now();
    for (const changes of andNone({ a: "2" })) {
      const key = randomKey();
      await saved(store, key, creation(recordOf({ a: "1" }, now), now + 30_000));
      const write = changing(await present(store, key), changes, now + 1, now + 3_600_000);
      await saved(store, key, write);
      await store.prune(now + 60_000);
      await holds(store, key, write.record);
    }
  },

  async "save() moves the expiry, also without changes, where the engine removes records by itself"(store) {
    if (store.prune !== undefined) return;
    await Promise.all(andNone({ a: "2" }).map((changes) => outlives(store, changes)));
  },

  async "what has expired is whole or gone, and no write brings a part of it back"(store) {
    for (const changes of andNone({ b: "3" })) {
      const now = Date.now();
      const key = randomKey();
      const record = recordOf({ a: "1", b: "2" }, now);
      const version = await saved(store, key, creation(record, now + 1));
      // Some engines have removed the record by now, others remove it later. Either it is whole, or it stays missing.
      const found = (await store.load(key)) ?? { ...record, version };
      that(sameFields(found.fields, record.fields), `load() found a part of an expired record: ${show(found.fields)}`);
      const write = changing({ ...record, version: found.version }, changes, now, inAnHour());
      const answer = await store.save(key, write);
      const after = await store.load(key);
      if (after === null) {
        equal(answer, "conflict", "save() of an expired record that is gone");
      } else {
        const wanted = answer === "conflict" ? record : write.record;
        that(sameFields(after.fields, wanted.fields), `save() of an expired record left ${show(after.fields)}`);
      }
    }
  },

  async "a record that expires in a second is accepted"(store) {
    const key = randomKey();
    const record = recordOf({ a: "1" });
    // Engines have a shortest time to live, of up to a minute. The core decides by the record when a session ends.
    version(
      await store.save(key, creation(record, record.lastSeenAt + 1000)),
      "save() of a record that expires in 1 s",
    );
    const found = await store.load(key);
    if (found !== null) await holds(store, key, record);
    const past = creation(recordOf({ a: "1" }), Date.now() - 1000);
    version(await store.save(randomKey(), past), "save() of a record that expired a second ago");
  },

  async "a value that the store has not written is a record without fields, and no creation overwrites it"(
    store,
    { spoil },
  ) {
    if (spoil === undefined) return;
    const { key, found: before } = await created(store, { a: "1" });
    await spoil(key);
    const found = await holds(store, key, { fields: new Map(), lastSeenAt: 0 });
    // A value that was damaged in place may keep its version.
    if (found.version !== before.version) {
      await refused(store, key, changing(before, { a: "2" }), "save() of a change over a foreign value");
    }
    if (store.traits.compareAndSet) {
      await refused(store, key, creation(recordOf({ a: "1" })), "save() of a new record over a foreign value");
    }
    await holds(store, key, { fields: new Map(), lastSeenAt: 0 });
    equal(await store.delete(key, found.version), undefined, "delete() of a foreign value");
    await missing(store, key, "load() after delete() of a foreign value");
  },

  async "every call fails when the engine fails, and none says that there is nothing"(store, { fail }) {
    if (fail === undefined) return;
    const { key, found } = await created(store, { a: "1" });
    await fail();
    await fails("load()", () => store.load(key));
    await fails("save() of a new record", () => store.save(randomKey(), creation(recordOf({ a: "1" }))));
    await fails("save() of a change", () => store.save(key, changing(found, { a: "2" })));
    await fails("save() without changes", () => store.save(key, changing(found, {}, found.lastSeenAt + 1)));
    await fails("delete()", () => store.delete(key));
    await fails("delete() at a version", () => store.delete(key, found.version));
  },

  async "a signal changes nothing while it is not aborted"(store) {
    const { signal } = new AbortController();
    const key = randomKey();
    const record = recordOf({ a: "1" });
    version(await store.save(key, creation(record), signal), "save() with a signal");
    await holds(store, key, record);
    const found = await store.load(key, signal);
    equal(found?.fields.get("a"), "1", "the field that load() with a signal found");
    equal(await store.delete(key, found?.version, signal), undefined, "delete() with a signal");
    await missing(store, key, "load() after delete() with a signal");
  },

  async "a call whose signal is aborted fails or is done, and never answers something else"(store) {
    const signal = AbortSignal.abort();
    const { key, found } = await created(store, { a: "1" });
    const loaded = await orFailure(() => store.load(key, signal));
    if (loaded !== FAILURE) equal(loaded?.fields.get("a"), "1", "the field that load() with an aborted signal found");

    const change = changing(found, { a: "2" });
    const answer = await orFailure(() => store.save(key, change, signal));
    const after = await present(store, key);
    if (answer !== FAILURE) version(answer, "save() with an aborted signal");
    const isDone = sameFields(after.fields, change.record.fields);
    that(isDone || (answer === FAILURE && sameFields(after.fields, found.fields)), `save() left ${show(after.fields)}`);

    const deleted = await orFailure(() => store.delete(key, after.version, signal));
    if (deleted !== FAILURE) {
      equal(deleted, undefined, "delete() with an aborted signal");
      await missing(store, key, "load() after delete() with an aborted signal");
    }
    await creates(store, signal);
  },
};

/** Changes a record that expires soon, and finds it after that. The time is that of the engine, so this waits. */
async function outlives(store: SessionStore, changes: Record<string, string>, life: number = 1000): Promise<void> {
  const now = Date.now();
  const key = randomKey();
  await saved(store, key, creation(recordOf({ a: "1" }, now), now + life));
  const found = await store.load(key);
  const write = found && changing(found, changes, now + 1);
  if (write === null || (await store.save(key, write)) === "conflict") {
    // The engine has removed the record before this slow machine changed it, or removes early a record with so short a
    // life.
    that(life < 10_000, `a record that expires in ${life} ms was gone at once`);
    return await outlives(store, changes, life * 4);
  }
  await new Promise((resolve) => setTimeout(resolve, now + life + 200 - Date.now()));
  await holds(store, key, write.record);
}

const FAILURE = Symbol("failure");

async function orFailure<Answer>(call: () => Answer | Promise<Answer>): Promise<Answer | typeof FAILURE> {
  try {
    return await call();
  } catch {
    return FAILURE;
  }
}

async function creates(store: SessionStore, signal: AbortSignal): Promise<void> {
  const key = randomKey();
  const write: Write = creation(recordOf({ a: "1" }));
  const answer = await orFailure(() => store.save(key, write, signal));
  if (answer === FAILURE) return;
  version(answer, "save() of a new record with an aborted signal");
  await holds(store, key, write.record);
}

async function isTooLarge(what: string, call: () => ReturnType<SessionStore["save"]>): Promise<void> {
  const error = await fails(`${what} over traits.maxBytes`, call);
  equal(codeOf(error), "ERR_RECORD_TOO_LARGE", `the code of the error of ${what} over traits.maxBytes`);
}
