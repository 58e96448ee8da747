import { describe, expect, it } from "vitest";
import { memoryStore } from "../src/stores/memory.ts";
import type { Loaded, SessionRecord, SessionStore } from "../src/store.ts";
import { cookieJar, fakeClock, type OpenStore, storeCases } from "../src/testing.ts";

const cases = storeCases();

/** A memory store with some of its verbs replaced by worse ones, which may use the good ones. */
function spoiled(spoil: (good: SessionStore) => Partial<SessionStore>): OpenStore {
  return () => {
    const good = memoryStore();
    return { ...good, ...spoil(good) };
  };
}

/** A memory store that sees every record through `distort` when it is written. */
function distorted(distort: (fields: ReadonlyMap<string, string>) => Iterable<[string, string]>): OpenStore {
  return spoiled((good) => {
    const seen = (record: SessionRecord) => ({ ...record, fields: new Map(distort(record.fields)) });
    return {
      create: (key, record, expiresAt) => good.create(key, seen(record), expiresAt),
      change: (key, change, expected, expiresAt) =>
        good.change(key, { ...change, record: seen(change.record) }, expected, expiresAt),
    };
  });
}

function distortedValues(distort: (value: string) => string): OpenStore {
  return distorted((fields) => [...fields].map(([name, value]) => [name, distort(value)]));
}

function distortedNames(distort: (name: string) => string): OpenStore {
  return distorted((fields) => [...fields].map(([name, value]) => [distort(name), value]));
}

const fieldsOf = (loaded: Loaded | undefined): Loaded["fields"] => loaded?.fields ?? new Map();

/** Long enough for any other call to come between. */
const gap = () => new Promise<void>((resolve) => setTimeout(resolve));

async function overwrite(store: SessionStore, key: string, record: SessionRecord, expiresAt = Infinity) {
  await store.delete(key);
  return store.create(key, record, expiresAt);
}

const takenWithGap = spoiled((good) => ({
  async create(key, record, expiresAt) {
    if ((await good.load(key)) !== null) return "taken";
    await gap();
    return overwrite(good, key, record, expiresAt);
  },
}));

const changeWithGap = spoiled((good) => ({
  async change(key, { record }, expected, expiresAt) {
    const found = await good.load(key);
    if (found === null) return "gone";
    if (found.version !== expected) return "conflict";
    await gap();
    return overwrite(good, key, record, expiresAt);
  },
}));

const touchWithGap = spoiled((good) => ({
  async touch(key, lastSeenAt, expiresAt) {
    const found = await good.load(key);
    if (found === null) return false;
    await gap();
    await overwrite(good, key, { fields: found.fields, lastSeenAt }, expiresAt);
    return true;
  },
}));

const touchOfTheVersionKept = spoiled((good) => {
  const versions = new Map<unknown, unknown>();
  const first = (version: unknown) => (versions.has(version) ? versions.get(version) : version);
  return {
    async load(key) {
      const found = await good.load(key);
      return found && { ...found, version: Number(first(found.version)) };
    },
    async touch(key, lastSeenAt, expiresAt, loaded) {
      const before = await good.load(key);
      const touched = await good.touch(key, lastSeenAt, expiresAt, loaded);
      versions.set((await good.load(key))?.version, first(before?.version));
      return touched;
    },
  };
});

/** A store that compares content, which may have been there before. */
const versionsOfContent = spoiled((good) => {
  const versionOf = ({ fields, lastSeenAt }: SessionRecord) => JSON.stringify([lastSeenAt, ...fields]);
  return {
    async load(key) {
      const found = await good.load(key);
      return found && { ...found, version: versionOf(found) };
    },
    async change(key, change, expected, expiresAt) {
      const found = await good.load(key);
      if (found === null) return "gone";
      if (versionOf(found) !== expected) return "conflict";
      await good.change(key, change, found.version, expiresAt);
      return versionOf(change.record);
    },
  };
});

/** Versions counted from 1 in each record, so that a record created anew has those of its predecessor. */
const versionsFromOne = () => {
  const records = new Map<string, Loaded>();
  const put = (key: string, { fields, lastSeenAt }: SessionRecord, version: number) => {
    records.set(key, { fields: new Map(fields), lastSeenAt, version });
    return version;
  };
  const store: SessionStore = {
    traits: memoryStore().traits,
    load: async (key) => records.get(key) ?? null,
    create: async (key, record) => (records.has(key) ? "taken" : put(key, record, 1)),
    async change(key, { record }, expected) {
      const found = records.get(key);
      if (found === undefined) return "gone";
      return found.version === expected ? put(key, record, Number(expected) + 1) : "conflict";
    },
    async touch(key, lastSeenAt) {
      const found = records.get(key);
      if (found !== undefined) put(key, { ...found, lastSeenAt }, Number(found.version) + 1);
      return found !== undefined;
    },
    async delete(key, expected) {
      const found = records.get(key);
      if (found && expected !== undefined && found.version !== expected) return "conflict";
      records.delete(key);
    },
  };
  return store;
};

/** A store that keeps the very objects it is given, or hands out the very ones it keeps. */
function aliasing(where: "in" | "out"): OpenStore {
  return () => {
    const records = new Map<string, Loaded>();
    let writes = 0;
    const own = (fields: ReadonlyMap<string, string>, here: boolean) => (here ? fields : new Map(fields));
    const put = (key: string, { fields, lastSeenAt }: SessionRecord) => {
      records.set(key, { fields: own(fields, where === "in"), lastSeenAt, version: ++writes });
      return writes;
    };
    return {
      ...memoryStore(),
      async load(key) {
        const found = records.get(key);
        return found === undefined ? null : { ...found, fields: own(found.fields, where === "out") };
      },
      create: async (key, record) => put(key, record),
      change: async (key, { record }) => put(key, record),
      async touch(key, lastSeenAt) {
        const found = records.get(key);
        if (found !== undefined) put(key, { ...found, lastSeenAt });
        return found !== undefined;
      },
    };
  };
}

/** A store whose engine sweeps at once what lives shorter than a second, but not so the given verb. */
function partialAfterExpiry(worse: "change" | "load"): OpenStore {
  return spoiled((good) => ({
    async load(key) {
      const found = await good.load(key);
      return found && worse === "load" ? { ...found, fields: new Map([...found.fields].slice(1)) } : found;
    },
    async create(key, record, expiresAt) {
      const short = expiresAt - record.lastSeenAt < 1000;
      return short && worse === "change" ? 1 : good.create(key, record, expiresAt);
    },
    async change(key, change, expected, expiresAt) {
      if ((await good.load(key)) !== null) return good.change(key, change, expected, expiresAt);
      const fields = new Map<string, string>();
      for (const [name, value] of change.changed) if (value !== null) fields.set(name, value);
      return good.create(key, { ...change.record, fields }, expiresAt);
    },
  }));
}

/** A store whose engine can be broken, and which then takes one verb's failure for the given answer. */
function failing(quiet: keyof SessionStore | "", answers: Partial<SessionStore>): OpenStore {
  return () => {
    const good = memoryStore();
    let broken = false;
    const rejectWhenBroken = <Args extends unknown[], Result>(verb: (...args: Args) => Promise<Result>) => {
      return async (...args: Args): Promise<Result> => {
        if (broken) throw new Error("The engine failed");
        return verb(...args);
      };
    };
    const honest = {
      load: rejectWhenBroken(good.load),
      create: rejectWhenBroken(good.create),
      change: rejectWhenBroken(good.change),
      touch: rejectWhenBroken(good.touch),
      delete: rejectWhenBroken(good.delete),
    };
    const store: SessionStore = { ...good, ...honest };
    return {
      store: quiet === "" ? store : { ...store, ...afterBreaking(quiet) },
      fail: () => {
        broken = true;
      },
    };

    function afterBreaking(name: keyof SessionStore): Partial<SessionStore> {
      const { load, create, change, touch } = { ...good, ...answers };
      switch (name) {
        case "load":
          return { load: (...args) => (broken ? load(...args) : good.load(...args)) };
        case "create":
          return { create: (...args) => (broken ? create(...args) : good.create(...args)) };
        case "change":
          return { change: (...args) => (broken ? change(...args) : good.change(...args)) };
        case "touch":
          return { touch: (...args) => (broken ? touch(...args) : good.touch(...args)) };
        default:
          return { delete: good.delete };
      }
    }
  };
}

const withTraits = (traits: Partial<SessionStore["traits"]>): OpenStore =>
  spoiled((good) => ({ traits: { ...good.traits, ...traits } }));

/** For every case, stores that it must catch, under what is wrong with them. */
const brokenStores: Record<string, Record<string, OpenStore>> = {
  "traits are plausible": {
    "has a smallest life that is no number": withTraits({ minTtl: NaN }),
    "takes no byte at all": withTraits({ maxBytes: 0 }),
  },
  "load() answers null when nothing was stored": {
    "finds an empty record everywhere": spoiled((good) => ({
      load: async (key) => (await good.load(key)) ?? { fields: new Map(), lastSeenAt: 0, version: 0 },
    })),
  },
  "create() stores a record that load() finds": {
    "stores nothing": spoiled(() => ({ create: async () => 1 })),
    "loses a field": distorted((fields) => [...fields].slice(1)),
    "adds a field": distorted((fields) => [...fields, ["more", "1"]]),
    "stores another time": spoiled((good) => ({
      create: (key, { fields }, expiresAt) => good.create(key, { fields, lastSeenAt: 1 }, expiresAt),
    })),
    "answers a word where a version belongs": spoiled((good) => ({
      create: (...args) => good.create(...args).then(() => "gone"),
    })),
  },
  "create() answers taken and changes nothing when the key is in use [compareAndSet]": {
    "overwrites": spoiled((good) => ({ create: (...args) => overwrite(good, ...args) })),
    "answers taken, but overwrites": spoiled((good) => ({
      async create(key, record, expiresAt) {
        const taken = (await good.load(key)) !== null;
        const version = await overwrite(good, key, record, expiresAt);
        return taken ? "taken" : version;
      },
    })),
  },
  "create() lets one of many at once win [compareAndSet]": {
    "looks first and writes later": takenWithGap,
    "merges what they wrote": () => {
      const good = memoryStore();
      const merged = new Map<string, string>();
      return {
        ...good,
        async create(key, { fields, lastSeenAt }, expiresAt) {
          for (const [name, value] of fields) merged.set(name, value);
          const taken = (await good.load(key)) !== null;
          await overwrite(good, key, { fields: merged, lastSeenAt }, expiresAt);
          return taken ? "taken" : 1;
        },
      };
    },
  },
  "change() changes and adds fields, moves lastSeenAt and keeps the rest": {
    "changes nothing": spoiled(() => ({ change: async () => 2 })),
    "keeps the changed fields only": spoiled((good) => ({
      change(key, change, expected, expiresAt) {
        const fields = new Map([...change.record.fields].filter(([name]) => change.changed.has(name)));
        return good.change(key, { ...change, record: { ...change.record, fields } }, expected, expiresAt);
      },
    })),
    "leaves lastSeenAt": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const { lastSeenAt } = (await good.load(key)) ?? change.record;
        return good.change(key, { ...change, record: { ...change.record, lastSeenAt } }, expected, expiresAt);
      },
    })),
  },
  "change() removes the fields that are null": {
    "keeps them": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const before = await good.load(key);
        const fields = new Map([...(before?.fields ?? []), ...change.record.fields]);
        return good.change(key, { ...change, record: { ...change.record, fields } }, expected, expiresAt);
      },
    })),
    "stores null as a word": spoiled((good) => ({
      change(key, change, expected, expiresAt) {
        const fields = new Map(change.record.fields);
        for (const [name, value] of change.changed) fields.set(name, String(value));
        return good.change(key, { ...change, record: { ...change.record, fields } }, expected, expiresAt);
      },
    })),
  },
  "change() answers conflict and changes nothing when the version is old [compareAndSet]": {
    "does not compare": spoiled((good) => ({
      async change(key, change, _expected, expiresAt) {
        const found = await good.load(key);
        return found === null ? "gone" : good.change(key, change, found.version, expiresAt);
      },
    })),
    "answers conflict, but writes": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const found = await good.load(key);
        if (found === null) return "gone";
        const version = await good.change(key, change, found.version, expiresAt);
        return found.version === expected ? version : "conflict";
      },
    })),
  },
  "change() answers gone and creates nothing when there is no record": {
    "creates one": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const answer = await good.change(key, change, expected, expiresAt);
        return answer === "gone" ? good.create(key, change.record, expiresAt) : answer;
      },
    })),
    "answers gone, but creates one": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const answer = await good.change(key, change, expected, expiresAt);
        if (answer === "gone") await good.create(key, change.record, expiresAt);
        return answer;
      },
    })),
    "answers conflict": spoiled((good) => ({
      async change(...args) {
        const answer = await good.change(...args);
        return answer === "gone" ? "conflict" : answer;
      },
    })),
  },
  "change() takes the version that create() or change() answered": {
    "answers another version to create() than it takes": spoiled((good) => ({
      create: async (...args) => `${await good.create(...args)} or so`,
    })),
    "answers another version to change() than it takes": spoiled((good) => ({
      change: async (...args) => `${await good.change(...args)} or so`,
    })),
  },
  "change() loses none of many at once, touches between them [compareAndSet]": {
    "compares first and writes later": changeWithGap,
    "touches with the fields of a moment ago": touchWithGap,
    "is never content with a version": spoiled((good) => ({
      change: async (key) => ((await good.load(key)) === null ? "gone" : "conflict"),
    })),
  },
  "touch() moves lastSeenAt and the version, and keeps the fields": {
    "leaves lastSeenAt": spoiled((good) => ({
      async touch(key, _lastSeenAt, expiresAt, loaded) {
        return good.touch(key, loaded?.lastSeenAt ?? 0, expiresAt, loaded);
      },
    })),
    "drops the fields": spoiled((good) => ({
      async touch(key, lastSeenAt) {
        await overwrite(good, key, { fields: new Map(), lastSeenAt });
        return true;
      },
    })),
    "leaves the version": touchOfTheVersionKept,
    "answers false": spoiled((good) => ({ touch: (...args) => good.touch(...args).then(() => false) })),
  },
  "touch() keeps a change made since the caller loaded [compareAndSet]": {
    "writes back what the caller had loaded": spoiled((good) => ({
      async touch(key, lastSeenAt, _expiresAt, loaded) {
        if ((await good.load(key)) === null) return false;
        await overwrite(good, key, { fields: fieldsOf(loaded), lastSeenAt });
        return true;
      },
    })),
  },
  "touch() answers false and creates nothing when there is no record": {
    "creates one": spoiled((good) => ({
      async touch(key, lastSeenAt, _expiresAt, loaded) {
        await overwrite(good, key, { fields: fieldsOf(loaded), lastSeenAt });
        return false;
      },
    })),
    "answers true": spoiled((good) => ({ touch: (...args) => good.touch(...args).then(() => true) })),
  },
  "every write makes a new version": {
    "makes versions of the content": versionsOfContent,
    "leaves the version in touch()": touchOfTheVersionKept,
  },
  "delete() removes the record": {
    "does nothing": spoiled(() => ({ delete: async () => {} })),
    "leaves an empty record": spoiled((good) => ({
      async delete(key) {
        await overwrite(good, key, { fields: new Map(), lastSeenAt: 0 });
      },
    })),
    "leaves a tombstone in the way of a new record": spoiled((good) => {
      const dead = new Set<string>();
      return {
        create: async (...args) => (dead.has(args[0]) ? "taken" : good.create(...args)),
        delete: (key, expected) => good.delete(dead.add(key) && key, expected),
      };
    }),
  },
  "delete() of what is missing is fine": {
    "rejects": spoiled((good) => ({
      async delete(key, expected) {
        if ((await good.load(key)) === null) throw new Error("Not found");
        return good.delete(key, expected);
      },
    })),
    "takes it for a conflict": spoiled((good) => ({
      async delete(key, expected) {
        if ((await good.load(key)) === null && expected !== undefined) return "conflict";
        return good.delete(key, expected);
      },
    })),
  },
  "delete() at the current version removes the record": {
    "always finds a conflict": spoiled((good) => ({
      delete: async (key, expected) => (expected === undefined ? good.delete(key) : "conflict"),
    })),
    "does nothing when it is given a version": spoiled((good) => ({
      delete: async (key, expected) => (expected === undefined ? good.delete(key) : undefined),
    })),
  },
  "delete() at an old version answers conflict and keeps the record [compareAndSet]": {
    "does not compare": spoiled((good) => ({ delete: (key) => good.delete(key) })),
    "answers conflict, but deletes": spoiled((good) => ({
      async delete(key, expected) {
        const answer = await good.delete(key, expected);
        await good.delete(key);
        return answer;
      },
    })),
  },
  "delete() is final for changes and touches in flight [compareAndSet]": {
    "changes what it saw a moment ago": changeWithGap,
    "touches what it saw a moment ago": touchWithGap,
  },
  "delete() ends its versions: none fits a record created anew [compareAndSet]": {
    "counts each record's versions from one": versionsFromOne,
  },
  "values that look like JSON, numbers or nothing come back as they went": {
    "reads JSON and writes it again": distortedValues((value) => {
      try {
        return JSON.stringify(JSON.parse(value));
      } catch {
        return value;
      }
    }),
    "trims": distortedValues((value) => value.trim()),
    "drops empty values": distorted((fields) => [...fields].filter(([, value]) => value !== "")),
    "unescapes": distortedValues((value) => value.replace("%41", "A")),
    "ends a text at its first NUL": distortedValues((value) => value.split("\0")[0] ?? ""),
  },
  "text of every script comes back as it went": {
    "keeps Latin-1 only": distortedValues((value) => value.replace(/[^\0-\xff]/g, "?")),
    "keeps the lower half of each unit": distortedValues((value) => Buffer.from(value, "latin1").toString("latin1")),
    "normalises": distortedValues((value) => value.normalize()),
    "takes a byte order mark off": distortedValues((value) =>
      new TextDecoder().decode(new TextEncoder().encode(value)),
    ),
    "normalises names": distortedNames((name) => name.normalize()),
  },
  "any text is a field name": {
    "keeps fields in a plain object": distorted((fields) => {
      const plain: Record<string, string> = {};
      for (const [name, value] of fields) plain[name] = value;
      return Object.entries(plain);
    }),
    "keeps its own version among the fields": distorted((fields) => [...fields].filter(([name]) => name !== "version")),
    "knows no case": distortedNames((name) => name.toLowerCase()),
    "has no empty name": distorted((fields) => [...fields].filter(([name]) => name !== "")),
  },
  "a value of 64 KiB comes back as it went": {
    "cuts it": distortedValues((value) => value.slice(0, 65_535)),
  },
  "a thousand fields come back as they went": {
    "keeps 999": distorted((fields) => [...fields].slice(0, 999)),
    "keeps those that were removed": spoiled((good) => ({
      async change(key, change, expected, expiresAt) {
        const before = await good.load(key);
        const fields = new Map([...(before?.fields ?? []), ...change.record.fields]);
        return good.change(key, { ...change, record: { ...change.record, fields } }, expected, expiresAt);
      },
    })),
  },
  "a record over traits.maxBytes is refused, and what was stored stays": {
    "does not know its limit": withTraits({ maxBytes: 1000 }),
    "refuses with another error": spoiled((good) => ({
      traits: { ...good.traits, maxBytes: 1000 },
      async change() {
        throw new RangeError("Too large");
      },
    })),
    "answers a conflict": spoiled((good) => ({
      traits: { ...good.traits, maxBytes: 1000 },
      change: async () => "conflict",
    })),
  },
  "the records of two keys are apart": {
    "looks at a part of the key": spoiled((good) => ({
      load: (key) => good.load(key.slice(1)),
      create: (key, ...args) => good.create(key.slice(1), ...args),
    })),
    "changes all records": () => {
      const good = memoryStore();
      const keys = new Set<string>();
      return {
        ...good,
        create: (...args) => keys.add(args[0]) && good.create(...args),
        async change(_key, change, _expected, expiresAt) {
          for (const key of keys) await overwrite(good, key, change.record, expiresAt);
          return 1;
        },
      };
    },
    "deletes all records": () => {
      const good = memoryStore();
      return {
        ...good,
        async delete() {
          await good.prune?.(Infinity);
        },
      };
    },
  },
  "stores of two prefixes are apart": {
    "does not see the prefix": () => {
      const store = memoryStore();
      return { store, neighbour: store };
    },
    "deletes without the prefix": () => {
      const [store, neighbour] = [memoryStore(), memoryStore()];
      return { store, neighbour: { ...neighbour, delete: store.delete } };
    },
    "writes without the prefix": () => {
      const [store, neighbour] = [memoryStore(), memoryStore()];
      return { store, neighbour: { ...neighbour, create: (...args) => overwrite(store, ...args) } };
    },
  },
  "records are copies: what a caller does to its own reaches nobody": {
    "keeps the map that it is given": aliasing("in"),
    "hands out the map that it keeps": aliasing("out"),
  },
  "prune() removes what expired before now, and nothing else [prune]": {
    "removes nothing": spoiled(() => ({ prune: async () => 0 })),
    "says so, but removes nothing": spoiled(() => ({ prune: async () => 1 })),
    "removes everything": spoiled((good) => ({ prune: async () => (await good.prune?.(Infinity)) ?? 0 })),
    "removes too late": spoiled((good) => ({ prune: async (now) => (await good.prune?.(now - 60_000)) ?? 0 })),
    "takes seconds": spoiled((good) => ({ prune: async (now) => (await good.prune?.(now * 1000)) ?? 0 })),
    "does not count": spoiled((good) => ({
      async prune(now) {
        await good.prune?.(now);
        return 0;
      },
    })),
  },
  "change() and touch() move the expiry [prune]": {
    "does not in change()": spoiled((good) => ({
      change: (key, change, expected) => good.change(key, change, expected, Date.now() + 30_000),
    })),
    "does not in touch()": spoiled((good) => ({
      touch: (key, lastSeenAt, _expiresAt, loaded) => good.touch(key, lastSeenAt, Date.now() + 30_000, loaded),
    })),
  },
  "wasDeleted() is true of what was deleted, and of nothing else [wasDeleted]": {
    "believes that nothing was deleted": spoiled(() => ({ wasDeleted: async () => false })),
    "believes that all was deleted": spoiled(() => ({ wasDeleted: async () => true })),
    "believes that what it does not find was deleted": spoiled((good) => ({
      wasDeleted: async (key) => (await good.load(key)) === null,
    })),
    "goes on saying so when the record is there again": spoiled((good) => {
      const deleted = new Set<string>();
      return {
        wasDeleted: async (key) => deleted.has(key),
        delete: (key, expected) => {
          deleted.add(key);
          return good.delete(key, expected);
        },
      };
    }),
  },
  "what has expired is whole or gone, and no write brings a part of it back": {
    "writes the changed fields of what expired": partialAfterExpiry("change"),
    "expires field by field": partialAfterExpiry("load"),
    "touches what expired into being": spoiled((good) => ({
      create: async () => 1,
      async touch(key, lastSeenAt) {
        await good.create(key, { fields: new Map([["b", "2"]]), lastSeenAt }, Infinity);
        return true;
      },
    })),
  },
  "every call rejects when the engine fails, and none says that there is nothing": {
    "finds nothing": failing("load", { load: async () => null }),
    "says that it created": failing("create", {}),
    "says that the session is gone": failing("change", { change: async () => "gone" }),
    "says that there is nothing to touch": failing("touch", { touch: async () => false }),
    "says that it deleted": failing("delete", {}),
  },
};

describe("storeCases()", () => {
  it("has broken stores for every case, and for no other", () => {
    expect(Object.keys(brokenStores)).toEqual(cases.map(({ name }) => name));
  });

  for (const { name, run } of cases) {
    for (const [fault, open] of Object.entries(brokenStores[name] ?? {})) {
      it(`"${name}" fails when a store ${fault}`, async () => {
        const error: unknown = await run(open).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(Error);
        // A plain Error is the kit's own word; a TypeError would be an accident on its way to one.
        expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
      });
    }

    it(`"${name}" holds when a store can do everything`, async () => {
      const whole = failing("", {});
      await run(async () => {
        const opened = await whole();
        return "store" in opened ? { ...opened, neighbour: memoryStore() } : opened;
      });
    });

    it(`"${name}" holds when a store promises little`, async () => {
      await run(weakStore);
    });
  }

  it("closes what was opened when a case holds and when it fails", async () => {
    const [first] = cases;
    let closed = 0;
    const close = () => void closed++;
    await first?.run(() => ({ store: memoryStore(), close }));
    expect(closed).toBe(1);
    const { minTtl: _, ...traits } = memoryStore().traits;
    await expect(
      first?.run(async () => ({ store: { ...memoryStore(), traits: { ...traits, minTtl: -1 } }, close })),
    ).rejects.toThrow("traits.minTtl is -1");
    expect(closed).toBe(2);
  });

  it("says what was expected and what came when a case fails", async () => {
    const unread = cases.find(
      ({ name }) => name === "touch() answers false and creates nothing when there is no record",
    );
    await expect(
      unread?.run(spoiled((good) => ({ touch: (...args) => good.touch(...args).then(() => true) }))),
    ).rejects.toThrow("touch() of a deleted record: expected false, got true");
  });
});

/** No compare-and-set, no prune, and a limit: the last write wins, as in Workers KV. */
function weakStore(): SessionStore {
  const { prune: _, ...good } = memoryStore();
  const refuse = ({ fields }: SessionRecord) => {
    if (JSON.stringify([...fields]).length > 100_000) {
      throw Object.assign(new Error("Too large"), { code: "ERR_RECORD_TOO_LARGE" });
    }
  };
  return {
    ...good,
    traits: { ...good.traits, compareAndSet: false, consistency: "eventual", minTtl: 60, maxBytes: 100_000 },
    async create(key, record, expiresAt) {
      refuse(record);
      return overwrite(good, key, record, expiresAt);
    },
    async change(key, { record }, _expected, expiresAt) {
      refuse(record);
      if ((await good.load(key)) === null) return "gone";
      return overwrite(good, key, record, expiresAt);
    },
    async touch(key, lastSeenAt, expiresAt, loaded) {
      if ((await good.load(key)) === null) return false;
      await overwrite(good, key, { fields: fieldsOf(loaded), lastSeenAt }, expiresAt);
      return true;
    },
    delete: (key) => good.delete(key),
  };
}

describe("fakeClock()", () => {
  it("stands still when nobody advances it", () => {
    const clock = fakeClock(1000);
    expect([clock.now(), clock.now()]).toEqual([1000, 1000]);
  });

  it("moves by seconds, fractions included, when it is advanced", () => {
    const { now, advance } = fakeClock(1000);
    advance(60);
    advance(0.5);
    expect(now()).toBe(61_500);
    advance(-1);
    expect(now()).toBe(60_500);
  });

  it("starts at the current time when no other is given", () => {
    const before = Date.now();
    const start = fakeClock().now();
    expect(start).toBeGreaterThanOrEqual(before);
    expect(start).toBeLessThanOrEqual(Date.now());
  });
});

describe("cookieJar()", () => {
  const home = "https://shop.example/account/page";

  function setting(...lines: string[]): Response {
    const headers = new Headers();
    for (const line of lines) headers.append("Set-Cookie", line);
    return new Response(null, { headers });
  }

  /** What a jar sends to `to` after `lines` were set by `from`. */
  function sent(lines: string[], from: string = home, to: string = from): string | null {
    const jar = cookieJar();
    jar.store(from, setting(...lines));
    return jar.header(to);
  }

  it("sends back what was set when the address is the same", () => {
    expect(sent(["a=1", "b=two; HttpOnly"])).toBe("a=1; b=two");
    expect(cookieJar().header(home)).toBeNull();
  });

  it("reads names and values as browsers do when they look odd", () => {
    expect(sent([" \ta \t=\t x=y \t; Path=/"])).toBe("a=x=y");
    expect(sent(["a="])).toBe("a=");
    expect(sent(["bare"])).toBe("bare");
    expect(sent(["=bare"])).toBe("bare");
    expect(sent(["", "="])).toBeNull();
    expect(sent(["a=\u0001"])).toBeNull();
    expect(sent(["a=tab\there"])).toBe("a=tab\there");
    expect(sent(['a="quoted, kept"'])).toBe('a="quoted, kept"');
  });

  it("replaces a cookie in its place when name, domain and path are the same", () => {
    expect(sent(["a=1", "b=1", "a=2"])).toBe("a=2; b=1");
    expect(sent(["a=1; Path=/", "a=2; Path=/account"])).toBe("a=2; a=1");
  });

  it("sends the longest path first when several cookies fit", () => {
    expect(sent(["a=1; Path=/", "b=2; Path=/account/page", "c=3; Path=/account"])).toBe("b=2; c=3; a=1");
  });

  it("keeps a cookie to its path when the path differs", () => {
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/account")).toBe("a=1");
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/account/x")).toBe("a=1");
    expect(sent(["a=1; Path=/account/"], home, "https://shop.example/account/x")).toBe("a=1");
    expect(sent(["a=1; Path=/account"], home, "https://shop.example/accounts")).toBeNull();
    expect(sent(["a=1"], home, "https://shop.example/account/other")).toBe("a=1");
    expect(sent(["a=1"], home, "https://shop.example/")).toBeNull();
    expect(sent(["a=1; Path=relative"], home, "https://shop.example/account")).toBe("a=1");
    expect(sent(["a=1; Path=/x; Path=/account"], home)).toBe("a=1");
  });

  it("keeps a cookie to its host when it has no Domain", () => {
    expect(sent(["a=1"], "https://shop.example/", "https://www.shop.example/")).toBeNull();
    expect(sent(["a=1; Domain="], "https://shop.example/", "https://www.shop.example/")).toBeNull();
  });

  it("sends a cookie to subdomains when it has a Domain", () => {
    const www = "https://www.shop.example/";
    expect(sent(["a=1; Domain=shop.example"], www, "https://shop.example/")).toBe("a=1");
    expect(sent(["a=1; domain=.SHOP.example"], www, "https://api.shop.example/")).toBe("a=1");
    expect(sent(["a=1; Domain=shop.example"], www, "https://myshop.example/")).toBeNull();
  });

  it("refuses a Domain when it is foreign, a public suffix or part of an address", () => {
    expect(sent(["a=1; Domain=other.example"])).toBeNull();
    expect(sent(["a=1; Domain=www.shop.example"])).toBeNull();
    expect(sent(["a=1; Domain=example"])).toBeNull();
    expect(sent(["a=1; Domain=0.0.1"], "http://127.0.0.1/")).toBeNull();
    expect(sent(["a=1; Domain=127.0.0.1"], "http://127.0.0.1/")).toBe("a=1");
    expect(sent(["a=1; Domain=localhost"], "http://localhost/", "http://a.localhost/")).toBeNull();
    expect(sent(["a=1; Domain=localhost"], "http://localhost/")).toBe("a=1");
  });

  it("keeps Secure cookies to https when http sets or asks for them", () => {
    expect(sent(["a=1; Secure"], "http://shop.example/")).toBeNull();
    expect(sent(["a=1; Secure"], "https://shop.example/", "http://shop.example/")).toBeNull();
    expect(sent(["a=1; Secure"], "https://shop.example/", "wss://shop.example/")).toBe("a=1");
    expect(sent(["a=1"], "http://shop.example/", "https://shop.example/")).toBe("a=1");
  });

  it("leaves a Secure cookie alone when http sets one of its name", () => {
    const jar = cookieJar();
    jar.store("https://shop.example/", setting("a=safe; Secure; Path=/account"));
    jar.store("http://shop.example/", setting("a=forged; Path=/account/page", "a=beside; Path=/other"));
    expect(jar.header(home)).toBe("a=safe");
    expect(jar.header("https://shop.example/other")).toBe("a=beside");
  });

  it("refuses a __Host- name in any letter case when Secure, Path=/ or the bare host is missing", () => {
    const root = "https://shop.example/";
    for (const name of ["__Host-a", "__host-a", "__HOST-a"]) {
      expect(sent([`${name}=1; Secure; Path=/`])).toBe(`${name}=1`);
      expect(sent([`${name}=1; Path=/`])).toBeNull();
      expect(sent([`${name}=1; Secure`], root)).toBeNull();
      expect(sent([`${name}=1; Secure; Path=/account`])).toBeNull();
      expect(sent([`${name}=1; Secure; Path=/; Domain=shop.example`])).toBeNull();
    }
  });

  it("refuses a __Secure- name in any letter case when Secure is missing", () => {
    for (const name of ["__Secure-a", "__secure-A"]) {
      expect(sent([`${name}=1; Secure; Domain=shop.example`])).toBe(`${name}=1`);
      expect(sent([`${name}=1`])).toBeNull();
    }
  });

  it("refuses a value that would pass for a prefixed name when there is no name", () => {
    expect(sent(["=__Host-a=1; Secure; Path=/", "__secure-a; Secure; Path=/"])).toBeNull();
  });

  it("does not take other blanks off a name when they would uncover a prefix", () => {
    const jar = cookieJar();
    jar.store(home, setting("\u00a0__Host-a=1"));
    expect(jar.cookies()[0]?.name).toBe("\u00a0__Host-a");
  });

  it("refuses SameSite=None and Partitioned when Secure is missing", () => {
    expect(sent(["a=1; SameSite=None"])).toBeNull();
    expect(sent(["a=1; SameSite=None; Secure"])).toBe("a=1");
    expect(sent(["a=1; Partitioned"])).toBeNull();
    expect(sent(["a=1; Partitioned; Secure", "a=2; Secure"])).toBe("a=1; a=2");
  });

  it("holds cookies back by SameSite when another site causes the request", () => {
    const jar = cookieJar();
    jar.store(
      home,
      setting(
        "strict=1; SameSite=strict",
        "lax=1; SameSite=LAX",
        "none=1; SameSite=None; Secure",
        "plain=1",
        "odd=1; SameSite=x",
      ),
    );
    expect(jar.header(home)).toBe("strict=1; lax=1; none=1; plain=1; odd=1");
    expect(jar.header(home, "cross-site-navigation")).toBe("lax=1; none=1; plain=1; odd=1");
    expect(jar.header(home, "cross-site")).toBe("none=1");
  });

  it("keeps no cookie but SameSite=None when the response answers another site's request", () => {
    const lines = ["lax=1; SameSite=Lax", "plain=1", "none=1; SameSite=None; Secure"];
    const jar = cookieJar();
    jar.store(home, setting(...lines), "cross-site");
    expect(jar.header(home)).toBe("none=1");
    jar.store(home, setting(...lines), "cross-site-navigation");
    expect(jar.header(home)).toBe("none=1; lax=1; plain=1");
  });

  it("lets cookies expire by Max-Age and Expires when their time has come", () => {
    const clock = fakeClock(Date.UTC(2030, 0, 1));
    const jar = cookieJar({ now: clock.now });
    jar.store(
      home,
      setting(
        "age=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "date=1; Expires=Tue, 01 Jan 2030 00:02:00 GMT",
        "odd=1; Max-Age=1x; Expires=never",
      ),
    );
    expect(jar.header(home)).toBe("age=1; date=1; odd=1");
    clock.advance(60);
    expect(jar.header(home)).toBe("date=1; odd=1");
    clock.advance(60);
    expect(jar.header(home)).toBe("odd=1");
  });

  it("drops a cookie when Max-Age is zero or less, or Expires is past", () => {
    for (const end of ["Max-Age=0", "Max-Age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"]) {
      expect(sent(["a=1; Path=/", `a=; Path=/; ${end}`])).toBeNull();
      expect(sent(["a=1; Path=/", `a=; Path=/account; ${end}`])).toBe("a=1");
    }
  });

  it("keeps no cookie longer than 400 days when more is asked for", () => {
    const clock = fakeClock(Date.UTC(2030, 0, 1));
    const jar = cookieJar({ now: clock.now });
    jar.store(home, setting("age=1; Max-Age=99999999999", "date=1; Expires=Fri, 01 Jan 2038 00:00:00 GMT"));
    const latest = clock.now() + 400 * 86_400_000;
    expect(jar.cookies().map(({ expiresAt }) => expiresAt)).toEqual([latest, latest]);
    clock.advance(400 * 86_400 - 1);
    expect(jar.header(home)).toBe("age=1; date=1");
    clock.advance(1);
    expect(jar.header(home)).toBeNull();
  });

  it("forgets cookies without an end when the browser is closed", () => {
    const jar = cookieJar();
    jar.store(home, setting("until-closed=1", "kept=1; Max-Age=60"));
    jar.closeBrowser();
    expect(jar.header(home)).toBe("kept=1");
  });

  it("refuses a cookie when name and value exceed 4 096 octets", () => {
    expect(sent([`a=${"x".repeat(4095)}`])).toHaveLength(4097);
    expect(sent([`a=${"x".repeat(4096)}`])).toBeNull();
    expect(sent([`a=${"x".repeat(4000)}; Path=/account; Max-Age=60`])).toHaveLength(4002);
  });

  it("ignores an attribute when it exceeds 1 024 octets", () => {
    expect(sent([`a=1; Domain=${"x".repeat(1025)}`])).toBe("a=1");
  });

  it("tells what it keeps when asked", () => {
    const jar = cookieJar({ now: () => 0 });
    jar.store(home, setting("a=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=5"));
    expect(jar.cookies()).toEqual([
      {
        name: "a",
        value: "1",
        domain: "shop.example",
        hostOnly: true,
        path: "/",
        secure: true,
        httpOnly: true,
        partitioned: false,
        sameSite: "Lax",
        expiresAt: 5000,
      },
    ]);
  });

  describe("fetch()", () => {
    const echo = (request: Request) =>
      new Response(`${request.method} ${request.headers.get("Cookie")}`, {
        headers: [
          ["Set-Cookie", "a=1; Path=/"],
          ["Set-Cookie", "b=2; Path=/; SameSite=Strict"],
        ],
      });

    it("sends the cookies and keeps those of the answer when a handler is called", async () => {
      const jar = cookieJar();
      const first = await jar.fetch(echo, home);
      expect(await first.text()).toBe("GET null");
      const second = await jar.fetch(async (request) => echo(request), new URL(home), { method: "POST", body: "x" });
      expect(await second.text()).toBe("POST a=1; b=2");
    });

    it("goes by the context when another site causes the request", async () => {
      const jar = cookieJar();
      await jar.fetch(echo, home, { context: "cross-site" });
      expect(jar.cookies()).toEqual([]);
      await jar.fetch(echo, home);
      const response = await jar.fetch(echo, home, { context: "cross-site-navigation" });
      expect(await response.text()).toBe("GET a=1");
    });

    it("leaves a Cookie header alone when the jar has none to send", async () => {
      const response = await cookieJar().fetch(echo, home, { headers: { Cookie: "mine=1" } });
      expect(await response.text()).toBe("GET mine=1");
    });
  });
});
