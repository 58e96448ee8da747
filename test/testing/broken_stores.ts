/** Stores that each break one promise, for the test of `storeCases()`. */
import { memoryStore } from "../../src/stores/memory.ts";
import { StoreBusyError } from "../../src/core/errors.ts";
import type { Write } from "../../src/core/store.ts";
import type { OpenStore } from "../../src/testing.ts";
import {
  aliasing,
  answering,
  comparingTooEarly,
  distorted,
  distortedNames,
  distortedValues,
  failing,
  heeding,
  isChange,
  isCreation,
  isTouch,
  keepingRemoved,
  keepingTheEnd,
  limited,
  overwrite,
  overwritingForeign,
  partialAfterExpiry,
  repeating,
  short,
  spoiled,
  tooLarge,
  touchThatKeepsTheVersion,
  versionsFromOne,
  versionsOfContent,
  withTraits,
  writing,
  writingAfterDelete,
} from "./spoiling.ts";

const EMPTY: ReadonlyMap<string, string> = new Map();

/** For each case, the stores that it must catch, by their fault. */
export const brokenStores: Readonly<Record<string, Readonly<Record<string, OpenStore>>>> = {
  "traits are plausible": {
    "has a limit that is not a number": withTraits({ maxBytes: NaN }),
    "accepts no byte at all": withTraits({ maxBytes: 0 }),
    "is stale for ever": withTraits({ staleness: NaN }),
    "is stale for an infinite time": withTraits({ staleness: Infinity }),
    "is stale for less than no time": withTraits({ staleness: -1 }),
  },
  "load() answers null when nothing was stored": {
    "finds an empty record everywhere": spoiled((good) => ({
      load: async (key) => (await good.load(key)) ?? { fields: EMPTY, lastSeenAt: 0, version: 0 },
    })),
    "answers undefined": spoiled((good) => ({
      load: async (key) => (await good.load(key)) ?? JSON.parse("{}").nothing,
    })),
  },
  "save() creates a record that load() finds": {
    "stores nothing": answering(isCreation, 1, false),
    "loses a field": distorted((fields) => [...fields].slice(1)),
    "adds a field": distorted((fields) => [...fields, ["more", "1"]]),
    "stores another instant": writing(isCreation, (good) => (key, write) => {
      return good.save(key, { ...write, record: { ...write.record, lastSeenAt: 1 } });
    }),
    "answers an empty version": answering(isCreation, "", true),
    "answers a refusal, but stores": answering(isCreation, "conflict", true),
  },
  "save() of a new record answers conflict and changes nothing when there is one [compareAndSet]": {
    "overwrites": writing(isCreation, (good) => (key, write) => overwrite(good, key, write)),
    "answers conflict, but overwrites": writing(isCreation, (good) => async (key, write) => {
      const isThere = (await good.load(key)) !== null;
      const version = await overwrite(good, key, write);
      return isThere ? "conflict" : version;
    }),
  },
  "save() lets one of many creations at once win [compareAndSet]": {
    "lets all of them win": comparingTooEarly(isCreation),
    "merges what they wrote": spoiled((good) => {
      const merged = new Map<string, string>();
      let saves = 0;
      return {
        async save(key, write) {
          const isFirst = saves++ === 0;
          for (const [name, value] of write.record.fields) merged.set(name, value);
          await overwrite(good, key, write, { ...write.record, fields: merged });
          return isFirst ? 1 : "conflict";
        },
      };
    }),
  },
  "save() changes and adds fields, moves lastSeenAt and keeps the rest": {
    "changes nothing": answering(isChange, 2, false),
    "keeps the changed fields only": writing(isChange, (good) => (key, write) => {
      const fields = new Map([...write.record.fields].filter(([name]) => write.changed.has(name)));
      return good.save(key, { ...write, record: { ...write.record, fields } });
    }),
    "leaves lastSeenAt": writing(isChange, (good) => async (key, write) => {
      const { lastSeenAt } = (await good.load(key)) ?? write.record;
      return good.save(key, { ...write, record: { ...write.record, lastSeenAt } });
    }),
  },
  "save() removes the fields that are null": {
    "keeps them": keepingRemoved(() => true),
    "stores null as a word": writing(isChange, (good) => (key, write) => {
      const fields = new Map(write.record.fields);
      for (const [name, value] of write.changed) fields.set(name, String(value));
      return good.save(key, { ...write, record: { ...write.record, fields } });
    }),
  },
  "save() without changes moves lastSeenAt and the version, and keeps the fields": {
    "leaves lastSeenAt": writing(isTouch, (good) => async (key, write) => {
      const { lastSeenAt } = (await good.load(key)) ?? write.record;
      return good.save(key, { ...write, record: { ...write.record, lastSeenAt } });
    }),
    "drops the fields": writing(isTouch, (good) => (key, write) => {
      return good.save(key, { ...write, record: { ...write.record, fields: EMPTY } });
    }),
    "leaves the version": touchThatKeepsTheVersion,
    "refuses it": answering(isTouch, "conflict", false),
    "does nothing": writing(isTouch, (good) => async (key) => (await good.load(key))?.version ?? "conflict"),
  },
  "save() answers conflict and changes nothing when the version is old [compareAndSet]": {
    "does not compare": comparingTooEarly(isChange),
    "does not compare without changes": comparingTooEarly(isTouch),
    "answers conflict, but writes": spoiled((good) => ({
      async save(key, write) {
        const answer = await good.save(key, write);
        if (answer === "conflict") await overwrite(good, key, write);
        return answer;
      },
    })),
    "answers nothing where it does not compare": spoiled((good) => ({
      traits: { ...good.traits, compareAndSet: false },
      async save(key, write) {
        const answer = await good.save(key, write);
        if (answer !== "conflict") return answer;
        await overwrite(good, key, write);
        return "";
      },
    })),
  },
  "save() answers conflict and creates nothing when there is no record": {
    "creates one": spoiled((good) => ({
      async save(key, write) {
        return (await good.load(key)) === null ? overwrite(good, key, write) : good.save(key, write);
      },
    })),
    "creates one without changes": spoiled((good) => ({
      async save(key, write) {
        const isMissing = isTouch(write) && (await good.load(key)) === null;
        return isMissing ? overwrite(good, key, write) : good.save(key, write);
      },
    })),
    "answers conflict, but creates one": spoiled((good) => ({
      async save(key, write) {
        if ((await good.load(key)) !== null || isCreation(write)) return good.save(key, write);
        await overwrite(good, key, write);
        return "conflict";
      },
    })),
    "answers with a version": spoiled((good) => ({
      async save(key, write) {
        return (await good.load(key)) === null && !isCreation(write) ? 7 : good.save(key, write);
      },
    })),
  },
  "save() answers conflict and changes nothing when the record was left without fields": {
    "brings it back": spoiled((good) => ({
      async save(key, write) {
        const found = await good.load(key);
        return found?.fields.size === 0 ? overwrite(good, key, write) : good.save(key, write);
      },
    })),
    "finds nothing then": spoiled((good) => ({
      async load(key) {
        const found = await good.load(key);
        return found?.fields.size === 0 ? null : found;
      },
    })),
  },
  "save() takes the version that save() answered": {
    "answers another one to a creation": writing(isCreation, (good) => async (...args) => {
      return `${await good.save(...args)} or so`;
    }),
    "answers another one to a change": writing(isChange, (good) => async (...args) => {
      return `${await good.save(...args)} or so`;
    }),
    "answers another one to a write without changes": writing(isTouch, (good) => async (...args) => {
      return `${await good.save(...args)} or so`;
    }),
  },
  "every write makes a new version": {
    "makes versions of the content": versionsOfContent,
    "leaves the version without changes": touchThatKeepsTheVersion,
  },
  "a write that comes twice is done once [compareAndSet]": {
    "does again what it has done": spoiled((good) => {
      const done = new Set<string>();
      return {
        save(key, write) {
          const isKnown = done.has(write.id);
          done.add(write.id);
          return isKnown ? overwrite(good, key, write) : good.save(key, write);
        },
      };
    }),
    "answers the version of another write": spoiled((good) => {
      const done = new Set<string>();
      return {
        async save(key, write) {
          if (done.has(write.id)) return (await good.load(key))?.version ?? "conflict";
          done.add(write.id);
          return good.save(key, write);
        },
      };
    }),
    "answers a version that is not there": repeating(() => "gone"),
    "answers an empty version": repeating(() => ""),
    "answers an empty version to what was overtaken": repeating((present, own) => (present === own ? own : "")),
  },
  "save() loses none of 50 increments at once, touches between them [compareAndSet]": {
    "compares too early": comparingTooEarly(isChange),
    "compares too early without changes": comparingTooEarly(isTouch),
    "never accepts a version": answering((write) => !isCreation(write), "conflict", false),
    "drops what nobody has changed just now": writing(isChange, (good) => (key, write) => {
      const kept = [...write.record.fields].filter(([name]) => !name.startsWith("writer-") || write.changed.has(name));
      return good.save(key, { ...write, record: { ...write.record, fields: new Map(kept) } });
    }),
  },
  "delete() removes the record": {
    "does nothing": spoiled(() => ({ delete: async () => {} })),
    "leaves an empty record": spoiled((good) => ({
      async delete(key) {
        const record = { fields: EMPTY, lastSeenAt: 0 };
        await overwrite(good, key, { id: "", record, changed: EMPTY, expected: null, expiresAt: Infinity });
      },
    })),
    "leaves something in the way of a new record": spoiled((good) => {
      const dead = new Set<string>();
      return {
        save: (key, write) => (dead.has(key) ? "conflict" : good.save(key, write)),
        delete: (key, expected) => good.delete(dead.add(key) && key, expected),
      };
    }),
    "answers how many": spoiled((good) => ({
      async delete(key) {
        await good.delete(key);
        return JSON.parse("1");
      },
    })),
  },
  "delete() of a missing record succeeds": {
    "rejects": spoiled((good) => ({
      async delete(key, expected) {
        if ((await good.load(key)) === null) throw new Error("Not found");
        return good.delete(key, expected);
      },
    })),
    "takes it for a conflict": spoiled((good) => ({
      async delete(key, expected) {
        return (await good.load(key)) === null && expected !== undefined ? "conflict" : good.delete(key, expected);
      },
    })),
    "takes the second one for a conflict": spoiled((good) => {
      const deleted = new Set<string>();
      return {
        delete(key, expected) {
          if (deleted.has(key) && expected === undefined) return "conflict";
          deleted.add(key);
          return good.delete(key, expected);
        },
      };
    }),
    "rejects a key that it has never seen": spoiled((good) => {
      const seen = new Set<string>();
      return {
        save: (key, write) => good.save(seen.add(key) && key, write),
        delete(key, expected) {
          if (!seen.has(key)) throw new Error("Not found");
          return good.delete(key, expected);
        },
      };
    }),
  },
  "delete() at the current version removes the record": {
    "always finds a conflict": spoiled((good) => ({
      delete: (key, expected) => (expected === undefined ? good.delete(key) : "conflict"),
    })),
    "does nothing when it is given a version": spoiled((good) => ({
      delete: (key, expected) => (expected === undefined ? good.delete(key) : undefined),
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
  "delete() is final for writes in flight [compareAndSet]": {
    "does a change after it": writingAfterDelete(isChange),
    "does a write without changes after it": writingAfterDelete(isTouch),
    "does a write after the first one alone": spoiled((good) => {
      let last: [key: string, write: Write] | undefined;
      let deletions = 0;
      return {
        save: (key, write) => good.save(key, (last = [key, write])[1]),
        async delete(key, expected) {
          const answer = await good.delete(key, expected);
          if (last !== undefined && deletions++ === 0) await overwrite(good, ...last);
          return answer;
        },
      };
    }),
    "rejects the first deletion": spoiled((good) => {
      let deletions = 0;
      return {
        delete(key, expected) {
          if (deletions++ === 0) throw new Error("down");
          return good.delete(key, expected);
        },
      };
    }),
    "rejects each deletion, because it is busy": spoiled(() => ({
      delete() {
        throw new StoreBusyError();
      },
    })),
  },
  "delete() ends its versions: none fits a record created anew [compareAndSet]": {
    "counts each record's versions from one": versionsFromOne,
  },
  "the records of two keys are apart": {
    "looks at a part of the key": spoiled((good) => ({
      load: (key) => good.load(key.slice(1)),
      save: (key, write) => good.save(key.slice(1), write),
    })),
    "changes all records": () => {
      const good = memoryStore();
      const keys = new Set<string>();
      return {
        ...good,
        async save(key, write) {
          if (isCreation(write)) return good.save(keys.add(key) && key, write);
          for (const each of keys) await overwrite(good, each, write);
          return 1;
        },
      };
    },
    "deletes all records": spoiled((good) => ({ delete: async () => void (await good.prune?.(Infinity)) })),
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
      return { store, neighbour: { ...neighbour, save: (key, write) => overwrite(store, key, write) } };
    },
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
    "ends a text at its first line": distortedValues((value) => value.split("\n")[0] ?? ""),
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
  "half surrogate pairs come back as they went": {
    "writes UTF-8": distortedValues((value) => value.toWellFormed()),
    "writes names as UTF-8": distortedNames((name) => name.toWellFormed()),
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
    "ends a name at its first line": distortedNames((name) => name.split("\n")[0] ?? ""),
    "keeps those that were removed": keepingRemoved(() => true),
    "keeps __proto__ when it is removed": keepingRemoved((name) => name === "__proto__"),
    "keeps an empty name when it is removed": keepingRemoved((name) => name === ""),
    "keeps its own version when it is removed": keepingRemoved((name) => name === "version"),
    "keeps a name of two lines when it is removed": keepingRemoved((name) => name.includes("\n")),
  },
  "a value of 64 KiB comes back as it went": {
    "cuts it": distortedValues((value) => value.slice(0, 65_535)),
  },
  "a thousand fields come back as they went": {
    "keeps 999": distorted((fields) => [...fields].slice(0, 999)),
    "keeps those that were removed": keepingRemoved(() => true),
  },
  "records are copies: what a caller does to its own reaches nobody": {
    "keeps the map that it is given": aliasing("in"),
    "hands out the map that it keeps": aliasing("out"),
    "keeps the map that a creation gives it": aliasing("in", isCreation),
    "hands out the map that it keeps of a creation": aliasing("out", isCreation),
    "keeps the map that a change gives it": aliasing("in", isChange),
    "hands out the map that it keeps of a change": aliasing("out", isChange),
  },
  "a record that was found stays as it was found": {
    "changes the map that it has handed out": aliasing("live"),
    "changes a value in the map that it has handed out": aliasing("live", isChange, (name) => name === "a"),
    "adds to the map that it has handed out": aliasing("live", isChange, (name) => name !== "a"),
  },
  "a record over traits.maxBytes is refused before it is sent, and what was stored stays": {
    "does not know its limit": withTraits({ maxBytes: 1000 }),
    "refuses with another error": spoiled((good) => ({
      traits: { ...good.traits, maxBytes: 1000 },
      save(key, write) {
        if (isCreation(write)) return good.save(key, write);
        throw new RangeError("Too large");
      },
    })),
    "answers a conflict": spoiled((good) => ({
      traits: { ...good.traits, maxBytes: 1000 },
      save: (key, write) => (isCreation(write) ? good.save(key, write) : "conflict"),
    })),
    "asks the engine first": () =>
      limited((good) => ({
        async save(key, write) {
          if (JSON.stringify([...write.record.fields]).length <= 100_000) return good.save(key, write);
          await good.load(key);
          throw tooLarge();
        },
      })),
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
  "save() moves the expiry, also without changes [prune]": {
    "does not with changes": writing(isChange, (good) => (key, write) => {
      return good.save(key, { ...write, expiresAt: Date.now() + 30_000 });
    }),
    "does not without changes": writing(isTouch, (good) => (key, write) => {
      return good.save(key, { ...write, expiresAt: Date.now() + 30_000 });
    }),
  },
  "save() moves the expiry, also without changes, where the engine removes records by itself": {
    "does not with changes": keepingTheEnd(isChange),
    "does not without changes": keepingTheEnd(isTouch),
    "keeps nothing for so short a time": spoiled((good) => ({
      prune: undefined as never,
      async save(key, write) {
        const version = await good.save(key, write);
        if (write.expiresAt - write.record.lastSeenAt < 60_000) await good.delete(key);
        return version;
      },
    })),
  },
  "what has expired is whole or gone, and no write brings a part of it back": {
    "writes the changed fields of what expired": partialAfterExpiry("save"),
    "expires field by field": partialAfterExpiry("load"),
    "brings it back without fields": spoiled((good) => ({
      async save(key, write) {
        if (isCreation(write)) return 1;
        const record = { ...write.record, fields: new Map([["b", "2"]]) };
        return good.save(key, { ...write, record, expected: null });
      },
    })),
    "answers a version for what is gone": answering(() => true, 1, false),
    "drops a field of what is about to expire": short((fields) => fields.slice(1)),
  },
  "a record that expires in a second is accepted": {
    "refuses a life shorter than a minute": writing(isCreation, (good) => async (key, write) => {
      if (write.expiresAt - write.record.lastSeenAt < 60_000) throw new Error("Invalid expiration");
      return good.save(key, write);
    }),
    "refuses what has expired": writing(isCreation, (good) => (key, write) => {
      return write.expiresAt < Date.now() ? "conflict" : good.save(key, write);
    }),
    "refuses a life of a second": writing(isCreation, (good) => (key, write) => {
      const life = write.expiresAt - write.record.lastSeenAt;
      return life > 0 && life <= 1000 ? "conflict" : good.save(key, write);
    }),
    "keeps nothing but the key": short(() => []),
  },
  "a value that the store has not written is a record without fields, and no creation overwrites it": {
    "finds nothing there": () =>
      limited((good) => ({
        async load(key) {
          const found = await good.load(key);
          return found?.version === "?" ? null : found;
        },
      })),
    "fails to read it": () =>
      limited((good) => ({
        async load(key) {
          const found = await good.load(key);
          if (found?.version === "?") throw new SyntaxError("Unexpected token");
          return found;
        },
      })),
    "lets a creation overwrite it": overwritingForeign(isCreation, true),
    "lets a change overwrite it": overwritingForeign(isChange, true),
    "says that a creation has overwritten it": overwritingForeign(isCreation, false),
    "says that a change has overwritten it": overwritingForeign(isChange, false),
  },
  "every call fails when the engine fails, and none says that there is nothing": {
    "finds nothing": () => failing({ load: () => null }),
    "says that it saved": () => failing({ save: () => 1 }),
    "says that there is a conflict": () => failing({ save: () => "conflict" }),
    "says that it deleted": () => failing({ delete: () => {} }),
    "says that there is another version to delete": () =>
      failing({
        delete(_key, expected) {
          if (expected === undefined) throw new Error("The engine failed");
          return "conflict";
        },
      }),
  },
  "a signal changes nothing while it is not aborted": {
    "finds nothing": heeding("given", () => ({ load: () => null })),
    "does not save": heeding("given", () => ({ save: () => "conflict" })),
    "does not delete": heeding("given", () => ({ delete: () => {} })),
  },
  "a call whose signal is aborted fails or is done, and never answers something else": {
    "finds nothing": heeding("aborted", () => ({ load: () => null })),
    "says that there is a conflict": heeding("aborted", () => ({ save: () => "conflict" })),
    "says that it saved": heeding("aborted", () => ({ save: () => 1 })),
    "says that it created": heeding("aborted", (good) => ({
      save: (key, write) => (isCreation(write) ? 1 : good.save(key, write)),
    })),
    "says that it changed": heeding("aborted", (good) => ({
      save: (key, write) => (isCreation(write) ? good.save(key, write) : 1),
    })),
    "changes, and answers an empty version": heeding("aborted", (good) => ({
      async save(key, write) {
        const answer = await good.save(key, write);
        return isCreation(write) ? answer : "";
      },
    })),
    "saves, and says that there is a conflict": heeding("aborted", (good) => ({
      save: async (...args) => (await good.save(...args), "conflict"),
    })),
    "creates, and says that there is a conflict": heeding("aborted", (good) => ({
      async save(key, write) {
        const answer = await good.save(key, write);
        return isCreation(write) ? "conflict" : answer;
      },
    })),
    "deletes, and says that there is a conflict": heeding("aborted", (good) => ({
      async delete(key): Promise<"conflict"> {
        await good.delete(key);
        return "conflict";
      },
    })),
    "says that it deleted": heeding("aborted", () => ({ delete: () => {} })),
    "says that there is another version to delete": heeding("aborted", () => ({ delete: () => "conflict" })),
    "saves a part, and fails": heeding("aborted", (good) => ({
      async save(key, write) {
        await overwrite(good, key, write, { ...write.record, fields: new Map([["b", "1"]]) });
        throw new Error("Aborted");
      },
    })),
  },
};
