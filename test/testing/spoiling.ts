/**
 * Ways to break a store, for the test of `storeCases()`. None of them depends on a race. A store that would lose a write only if two
 * requests meet repeats a recorded write instead, and so makes the same mistake each time.
 */
import { chain, type MaybePromise } from "../../src/core/maybe_promise.ts";
import type { RecordVersion, SessionRecord, SessionStore, StoredRecord, Write } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import type { OpenedStore, OpenStore } from "../../src/testing.ts";

/** A memory store with some methods replaced by wrong ones. The wrong ones may call the good ones. */
export function spoiled(spoil: (good: SessionStore) => Partial<SessionStore>): OpenStore {
  return () => {
    const good = memoryStore();
    return { ...good, ...spoil(good) };
  };
}

/** A write that replaces the record without comparing, in one step if the store answers without promises. */
export function overwrite(
  store: SessionStore,
  key: string,
  write: Write,
  record: SessionRecord = write.record,
): MaybePromise<RecordVersion | "conflict"> {
  return chain(store.load(key), (found) => store.save(key, { ...write, record, expected: found?.version ?? null }));
}

/** A memory store that stores every record as `distort` changes it. */
export function distorted(distort: (fields: ReadonlyMap<string, string>) => Iterable<[string, string]>): OpenStore {
  return spoiled((good) => ({
    save(key, write) {
      const record = { ...write.record, fields: new Map(distort(write.record.fields)) };
      return good.save(key, { ...write, record });
    },
  }));
}

export function distortedValues(distort: (value: string) => string): OpenStore {
  return distorted((fields) => [...fields].map(([name, value]) => [name, distort(value)]));
}

export function distortedNames(distort: (name: string) => string): OpenStore {
  return distorted((fields) => [...fields].map(([name, value]) => [distort(name), value]));
}

/**
 * A memory store that rejects only versions that the record has never had. So does a store that compares too early, and
 * writes later.
 */
export function comparingTooEarly(isLate: (write: Write) => boolean): OpenStore {
  return spoiled((good) => {
    const history = new Map<string, Set<RecordVersion | null>>();
    return {
      save(key, write) {
        const versions = history.get(key) ?? new Set([null]);
        history.set(key, versions);
        return chain(good.load(key), (found) => {
          if (write.expected !== null && found === null) return "conflict";
          if (!versions.has(write.expected)) return "conflict";
          return chain(isLate(write) ? overwrite(good, key, write) : good.save(key, write), (answer) => {
            if (answer !== "conflict") versions.add(answer);
            return answer;
          });
        });
      },
      delete(key, expected) {
        history.delete(key);
        return good.delete(key, expected);
      },
    };
  });
}

/** A store that repeats the last write of each kind after the record was deleted, as if that write had been delayed. */
export function writingAfterDelete(isLate: (write: Write) => boolean): OpenStore {
  return spoiled((good) => {
    const last = new Map<string, Write>();
    return {
      save(key, write) {
        if (isLate(write)) last.set(key, write);
        return good.save(key, write);
      },
      async delete(key, expected) {
        const answer = await good.delete(key, expected);
        const write = last.get(key);
        if (write !== undefined) await overwrite(good, key, write);
        return answer;
      },
    };
  });
}

export const isCreation = ({ expected }: Write): boolean => expected === null;
export const isTouch = ({ changed, expected }: Write): boolean => expected !== null && changed.size === 0;
export const isChange = (write: Write): boolean => !isCreation(write) && !isTouch(write);

/** A memory store that gives one kind of write a fixed answer, and does the write or not. */
export function answering(kind: (write: Write) => boolean, answer: RecordVersion, done: boolean): OpenStore {
  return spoiled((good) => ({
    async save(key, write) {
      if (!kind(write)) return good.save(key, write);
      if (done) await overwrite(good, key, write);
      return answer;
    },
  }));
}

/** A memory store that replaces one kind of write. */
export function writing(
  kind: (write: Write) => boolean,
  other: (good: SessionStore) => SessionStore["save"],
): OpenStore {
  return spoiled((good) => ({
    save: (key, write, signal) => (kind(write) ? other(good)(key, write, signal) : good.save(key, write)),
  }));
}

export const touchThatKeepsTheVersion = spoiled((good) => {
  const outside = new Map<RecordVersion, RecordVersion>();
  const inside = new Map<RecordVersion, RecordVersion>();
  const shown = (version: RecordVersion): RecordVersion => outside.get(version) ?? version;
  return {
    async load(key) {
      const found = await good.load(key);
      return found && { ...found, version: shown(found.version) };
    },
    async save(key, write) {
      const expected = write.expected === null ? null : (inside.get(write.expected) ?? write.expected);
      const answer = await good.save(key, { ...write, expected });
      if (answer === "conflict" || !isTouch(write) || write.expected === null) return answer;
      outside.set(answer, write.expected);
      inside.set(write.expected, answer);
      return write.expected;
    },
  };
});

/** A store whose version is the content. The same content may have been there before. */
export const versionsOfContent = spoiled((good) => {
  const versionOf = ({ fields, lastSeenAt }: SessionRecord): string => JSON.stringify([lastSeenAt, ...fields]);
  return {
    async load(key) {
      const found = await good.load(key);
      return found && { ...found, version: versionOf(found) };
    },
    async save(key, write) {
      const found = await good.load(key);
      if ((found === null ? null : versionOf(found)) !== write.expected) return "conflict";
      await overwrite(good, key, write);
      return versionOf(write.record);
    },
  };
});

/** A store that counts the versions of each record from 1, so that a new record repeats the versions of a deleted one. */
export function versionsFromOne(): SessionStore {
  const records = new Map<string, StoredRecord>();
  return {
    traits: memoryStore().traits,
    load: (key) => records.get(key) ?? null,
    save(key, { record, expected }) {
      if ((records.get(key)?.version ?? null) !== expected) return "conflict";
      const version = Number(expected) + 1;
      records.set(key, { fields: new Map(record.fields), lastSeenAt: record.lastSeenAt, version });
      return version;
    },
    delete(key, expected) {
      const found = records.get(key);
      if (found && expected !== undefined && found.version !== expected) return "conflict";
      records.delete(key);
    },
  };
}

/**
 * A store that keeps the objects of some writes without copying them, or returns its own objects, or changes some fields of objects that it has
 * returned.
 */
export function aliasing(
  where: "in" | "out" | "live",
  kind: (write: Write) => boolean = () => true,
  isLive: (name: string) => boolean = () => true,
): OpenStore {
  return () => {
    const records = new Map<string, StoredRecord>();
    const aliased = new Set<string>();
    let writes = 0;
    return {
      ...versionsFromOne(),
      load(key) {
        const found = records.get(key);
        if (found === undefined) return null;
        return where !== "in" && aliased.has(key) ? found : { ...found, fields: new Map(found.fields) };
      },
      save(key, write) {
        const { record, expected } = write;
        const found = records.get(key);
        if ((found?.version ?? null) !== expected) return "conflict";
        if (where === "live" && found?.fields instanceof Map) {
          for (const [name, value] of record.fields) if (isLive(name)) found.fields.set(name, value);
        }
        const fields = where === "in" && kind(write) ? record.fields : new Map(record.fields);
        if (where === "live" || kind(write)) aliased.add(key);
        else aliased.delete(key);
        records.set(key, { ...record, fields, version: ++writes });
        return writes;
      },
      delete: (key) => void records.delete(key),
    };
  };
}

/**
 * A store whose engine removes a record at once if its life is below one second. The method in `worse` leaves a part of
 * the record.
 */
export function partialAfterExpiry(worse: "save" | "load"): OpenStore {
  return spoiled((good) => ({
    async load(key) {
      const found = await good.load(key);
      return found && worse === "load" ? { ...found, fields: new Map([...found.fields].slice(1)) } : found;
    },
    async save(key, write) {
      const isShort = write.expiresAt - write.record.lastSeenAt < 1000;
      if (isShort && worse === "save") return 1;
      if (write.expected === null || (await good.load(key)) !== null) return good.save(key, write);
      const fields = new Map<string, string>();
      for (const [name, value] of write.changed) if (value !== null) fields.set(name, value);
      return good.save(key, { ...write, record: { ...write.record, fields }, expected: null });
    },
  }));
}

/** A store whose engine can be made to fail. `answers` are methods that return an answer in spite of the failure. */
export function failing(answers: Partial<SessionStore> = {}): OpenedStore & { readonly store: SessionStore } {
  const good = memoryStore();
  let isBroken = false;
  const failed = async (): Promise<never> => {
    throw new Error("The engine failed");
  };
  const broken: SessionStore = { ...good, load: failed, save: failed, delete: failed, ...answers };
  return {
    store: {
      ...good,
      load: (...args) => (isBroken ? broken : good).load(...args),
      save: (...args) => (isBroken ? broken : good).save(...args),
      delete: (...args) => (isBroken ? broken : good).delete(...args),
    },
    fail: () => {
      isBroken = true;
    },
  };
}

/** A store on an engine with a size limit. It counts its calls, and `spoil` puts a foreign value under a key. */
export function limited(spoil: (good: SessionStore) => Partial<SessionStore> = () => ({})): OpenedStore {
  const engine = memoryStore();
  const foreign = new Set<string>();
  const traits = { ...engine.traits, maxBytes: 100_000 };
  let calls = 0;
  const good: SessionStore = {
    traits,
    load(key) {
      calls++;
      return foreign.has(key) ? { fields: new Map(), lastSeenAt: 0, version: "?" } : engine.load(key);
    },
    save(key, write) {
      if (JSON.stringify([...write.record.fields]).length > traits.maxBytes) throw tooLarge();
      calls++;
      return foreign.has(key) && write.expected !== "?" ? "conflict" : engine.save(key, write);
    },
    delete(key, expected) {
      calls++;
      return foreign.delete(key) ? undefined : engine.delete(key, expected);
    },
  };
  return {
    store: { ...good, ...spoil({ ...good, save: (key, write) => (calls++, engine.save(key, write)) }) },
    calls: () => calls,
    spoil(key) {
      engine.delete(key);
      foreign.add(key);
    },
  };
}

export function tooLarge(): Error {
  return Object.assign(new Error("Too large"), { code: "ERR_RECORD_TOO_LARGE" });
}

/** A memory store that behaves wrongly if it is given a signal, or an aborted one. */
export function heeding(when: "given" | "aborted", spoil: (good: SessionStore) => Partial<SessionStore>): OpenStore {
  return spoiled((good) => {
    const worse = { ...good, ...spoil(good) };
    const chosen = (signal: AbortSignal | undefined): SessionStore =>
      signal !== undefined && (when === "given" || signal.aborted) ? worse : good;
    return {
      load: (key, signal) => chosen(signal).load(key),
      save: (key, write, signal) => chosen(signal).save(key, write),
      delete: (key, expected, signal) => chosen(signal).delete(key, expected),
    };
  });
}

export const withTraits = (traits: Partial<SessionStore["traits"]>): OpenStore =>
  spoiled((good) => ({ traits: { ...good.traits, ...traits } }));

/** A store that keeps some of the fields that a change removes. */
export function keepingRemoved(isKept: (name: string) => boolean): OpenStore {
  return writing(isChange, (good) => async (key, write) => {
    const kept = [...((await good.load(key))?.fields ?? [])].filter(([name]) => isKept(name));
    const fields = new Map([...kept, ...write.record.fields]);
    return good.save(key, { ...write, record: { ...write.record, fields } });
  });
}

/** A store that recognises a repeated write, does it once, and returns the given answer for it. */
export function repeating(answer: (present: RecordVersion, own: RecordVersion) => RecordVersion): OpenStore {
  return spoiled((good) => {
    const done = new Map<string, RecordVersion>();
    return {
      async save(key, write) {
        const own = done.get(write.id);
        if (own !== undefined) return answer((await good.load(key))?.version ?? own, own);
        const version = await good.save(key, write);
        if (version !== "conflict") done.set(write.id, version);
        return version;
      },
    };
  });
}

/** A store that keeps only a part of a record with a life of one second or less. */
export function short(left: (fields: [string, string][]) => [string, string][]): OpenStore {
  return writing(isCreation, (good) => (key, write) => {
    const life = write.expiresAt - write.record.lastSeenAt;
    const fields = new Map(life > 0 && life <= 1000 ? left([...write.record.fields]) : write.record.fields);
    return good.save(key, { ...write, record: { ...write.record, fields } });
  });
}

/** A store that removes records by itself, and whose writes of one kind do not move the end of a record. */
export function keepingTheEnd(kind: (write: Write) => boolean): OpenStore {
  return () => {
    const { prune: _, ...good } = memoryStore();
    const ends = new Map<string, number>();
    return {
      ...good,
      load: (key) => (Date.now() < (ends.get(key) ?? 0) ? good.load(key) : null),
      async save(key, write) {
        const version = await good.save(key, write);
        if (version !== "conflict" && !kind(write)) ends.set(key, write.expiresAt);
        return version;
      },
    };
  };
}

/** A store that overwrites a value of another program, or reports that it has. */
export function overwritingForeign(kind: (write: Write) => boolean, isDone: boolean): OpenStore {
  return () => {
    const { store, spoil = () => {} } = limited();
    return {
      store: {
        ...store,
        async save(key, write) {
          const found = await store.load(key);
          if (found?.version !== "?" || !kind(write)) return store.save(key, write);
          if (!isDone) return 1;
          await store.delete(key);
          return store.save(key, { ...write, expected: null });
        },
      },
      spoil,
    };
  };
}
