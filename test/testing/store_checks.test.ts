import { describe, expect, it } from "vitest";
import type { SessionStore, Write } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import {
  changeUntilSaved,
  changing,
  codeOf,
  comesBack,
  created,
  creation,
  equal,
  fails,
  holds,
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
} from "../../src/testing/store_checks.ts";
import { spoiled } from "./spoiling.ts";

/** The message of a check that fails, which must be a plain `Error`. */
async function saidBy(check: () => unknown): Promise<string> {
  try {
    await check();
  } catch (error) {
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
    return String(Object(error).message);
  }
  throw new TypeError("The check should have failed");
}

function storeWith(spoil: (good: SessionStore) => Partial<SessionStore>): SessionStore {
  const good = memoryStore();
  return { ...good, ...spoil(good) };
}

describe("keys and writes of the cases", () => {
  it("are like those that the core gives", () => {
    for (let n = 0; n < 100; n++) {
      expect(randomKey()).toMatch(/^[0-9a-f]{64}$/);
      expect(creation(recordOf({})).id).toMatch(/^[0-9a-f]{32}$/);
    }
    expect(new Set(Array.from({ length: 100 }, randomKey)).size).toBe(100);
  });

  it("have fields from an object or a map, whatever their names", () => {
    expect(recordOf({ get: "1", entries: "2" }, 5)).toEqual({
      fields: new Map([
        ["get", "1"],
        ["entries", "2"],
      ]),
      lastSeenAt: 5,
    });
    expect(recordOf(new Map([["a", "1"]]), 5).fields).toEqual(new Map([["a", "1"]]));
  });

  it("change some fields, remove those that are null, and keep the rest", () => {
    const found = { ...recordOf({ a: "1", b: "2", c: "3" }, 5), version: "v" };
    const { id: _, ...write } = changing(found, { a: "9", b: null }, 6, 7);
    expect(write).toEqual({
      record: recordOf({ a: "9", c: "3" }, 6),
      changed: new Map([
        ["a", "9"],
        ["b", null],
      ]),
      expected: "v",
      expiresAt: 7,
    });
    expect(changing(found, {}).record).toEqual(recordOf({ a: "1", b: "2", c: "3" }, 5));
  });
});

describe("a step of the cases", () => {
  it("says which write gave no version", async () => {
    const refusing = storeWith(() => ({ save: () => "conflict" }));
    expect(await saidBy(() => created(refusing, { a: "1" }))).toBe(
      'save() of a new record gave "conflict" where a version was expected',
    );
    const write = creation(recordOf({}));
    expect(await saidBy(() => saved(refusing, "k", write))).toBe('save() gave "conflict" where a version was expected');
    expect(await saved(memoryStore(), "k", write)).toEqual(expect.anything());
    expect(await saidBy(() => refused(memoryStore(), "k", write, "a late write"))).toMatch(
      /^a late write: expected "conflict", got /,
    );
    await refused(refusing, "k", write, "a late write");
  });

  it("says what was found in place of a record", async () => {
    expect(await saidBy(() => present(memoryStore(), "k"))).toBe("load() of a stored record answered null");
    const found = { ...recordOf({ a: "1" }, 5), version: "" };
    const strange = storeWith(() => ({ load: () => found }));
    expect(await saidBy(() => present(strange, "k"))).toBe('load() gave "" where a version was expected');
    expect(await saidBy(() => missing(strange, "k", "load() after delete()"))).toMatch(
      /^load\(\) after delete\(\): expected null, got \{.*"a","1"/,
    );
    await missing(memoryStore(), "k", "load()");
  });

  it("says which field is not as it was written, and what is missing", async () => {
    const holding = storeWith(() => ({ load: () => ({ ...recordOf({ "a b": "1", "c": "2" }, 5), version: "v" }) }));
    const saying = (fields: Record<string, string>, lastSeenAt = 5) =>
      saidBy(() => holds(holding, "k", recordOf(fields, lastSeenAt)));
    expect(await saying({ "a b": "9", "c": "2" })).toBe('the field "a b": expected "9", got "1"');
    expect(await saying({ "a b": "1" })).toBe('load() found the field "c", which should not be there');
    expect(await saying({ "a b": "1", "c": "2", "d": "3" })).toBe('the field "d": expected "3", got undefined');
    expect(await saying({ "a b": "1", "c": "2" }, 6)).toBe("lastSeenAt: expected 6, got 5");
    const wanted = recordOf({ "a b": "1", "c": "2" }, 6);
    expect(await holds(holding, "k", wanted, "fields")).toMatchObject({ version: "v" });
    const lying = storeWith(() => ({
      load: () => ({ fields: Object.assign(new Map([["a", "1"]]), { keys: () => [] }), lastSeenAt: 5, version: "v" }),
    }));
    expect(await saidBy(() => holds(lying, "k", recordOf({}, 5)))).toBe("the number of fields: expected 0, got 1");
  });

  it("changes all values and changes them back, so that each is written in both ways", async () => {
    const writes: Write[] = [];
    const noting = storeWith((good) => ({
      save(key, write) {
        writes.push(write);
        return good.save(key, write);
      },
    }));
    const fields = new Map([
      ["a", "1"],
      ["b", ""],
    ]);
    const other = new Map([
      ["a", "1!"],
      ["b", "!"],
    ]);
    const key = await comesBack(noting, fields);
    expect(writes.map(({ changed }) => changed)).toEqual([fields, other, fields]);
    expect((await present(noting, key)).fields.get("a")).toBe("1");
  });

  it("gives up a change after a thousand conflicts", async () => {
    let tries = 0;
    const never = spoiled((good) => ({
      save: (key, write) => (write.expected === null ? good.save(key, write) : (tries++, "conflict")),
    }));
    const store = await never();
    if (!("load" in store)) throw new TypeError("It is a store");
    const { key } = await created(store, { a: "1" });
    expect(await saidBy(() => changeUntilSaved(store, key, () => ({ a: "2" })))).toBe(
      "save() at the version just loaded answered conflict 1000 times",
    );
    expect(tries).toBe(1000);
  });
});

describe("a check of the cases", () => {
  it("takes texts and numbers for versions", async () => {
    for (const each of ["v", "0", 0, -1, Infinity]) expect(version(each, "save()")).toBe(each);
    for (const each of ["", "conflict", NaN, undefined, null, true, {}, ["v"]])
      expect(await saidBy(() => version(each, "save()"))).toBe(
        `save() gave ${show(each)} where a version was expected`,
      );
  });

  it("compares fields by name and value", () => {
    const fields = new Map([
      ["a", "1"],
      ["b", "2"],
    ]);
    expect(sameFields(fields, new Map(fields))).toBe(true);
    expect(sameFields(fields, new Map([...fields].reverse()))).toBe(true);
    expect(sameFields(fields, new Map([...fields, ["c", "3"]]))).toBe(false);
    expect(sameFields(fields, new Map([...fields].slice(1)))).toBe(false);
    expect(sameFields(fields, new Map([...fields, ["b", "3"]]))).toBe(false);
    expect(sameFields(fields, new Map([...fields, ["a", "3"]]))).toBe(false);
  });

  it("demands a failure, and gives its error, thrown or rejected", async () => {
    const error = new TypeError("away");
    const throwing = () => {
      throw error;
    };
    expect(await fails("load()", throwing)).toBe(error);
    expect(await fails("load()", async () => throwing())).toBe(error);
    expect(await saidBy(() => fails("load()", () => null))).toBe("load() should have failed, but answered null");
    expect(await saidBy(() => fails("load()", async () => 7))).toBe("load() should have failed, but answered 7");
  });

  it("finds the code of an error, if it has one", () => {
    expect(codeOf({ code: "ERR_STORE" })).toBe("ERR_STORE");
    for (const each of [{}, undefined, null, "text", 7, new Error("none")]) expect(codeOf(each)).toBeUndefined();
    expect(codeOf(Object.assign(() => {}, { code: "of a function" }))).toBeUndefined();
  });

  it("says what was expected and what came", async () => {
    equal(NaN, NaN, "a number");
    that(true, "never");
    expect(await saidBy(() => equal(-0, 0, "a number"))).toBe("a number: expected 0, got 0");
    expect(await saidBy(() => equal("a", "b", "a text"))).toBe('a text: expected "b", got "a"');
    expect(await saidBy(() => that(false, "so it is"))).toBe("so it is");
  });

  it("shows maps with their entries, and the beginning of a long text", () => {
    expect([undefined, null, "a", 1].map(show)).toEqual(["undefined", "null", '"a"', "1"]);
    expect(show({ fields: new Map([["a", "1"]]) })).toBe('{"fields":[["a","1"]]}');
    expect(show(memoryStore().traits)).toContain('"consistency":"strong"');
    expect(show({ get: 1 })).toBe('{"get":1}');
    expect(show({ entries: 1 })).toBe('{"entries":1}');
    expect(show("x".repeat(198))).toBe(`"${"x".repeat(198)}"`);
    expect(show("x".repeat(199))).toBe(`"${"x".repeat(199)}… (201 characters)`);
  });
});
