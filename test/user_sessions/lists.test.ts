import { hash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import type { Metadata } from "../../src/core/metadata.ts";
import type { Operation } from "../../src/core/repository.ts";
import type { SessionStore, Write } from "../../src/core/store.ts";
import { assertUserId, decoded } from "../../src/user_sessions/binding.ts";
import {
  type Facts,
  factsFor,
  factsOf,
  hide,
  isKey,
  listOf,
  pendingOf,
  reveal,
  versionHash,
} from "../../src/user_sessions/facts.ts";
import { loadPage, entryName, type Page, savePage } from "../../src/user_sessions/index_page.ts";
import { assertOptions, checkedLimit, indexText } from "../../src/user_sessions/options.ts";

const NOW = 1_700_000_000_000;
const KEY = "0123456789abcdef".repeat(4);
const OTHER = "f".repeat(64);

describe("facts", () => {
  const metadataWith = (facts: unknown): Metadata => ({ "createdAt": 0, "absoluteSince": 0, "+users": facts as null });

  test("are a token and one list at least", () => {
    const right = { token: "t", lists: [{ list: KEY }, { list: OTHER, page: 3 }], user: "u" };
    expect(factsOf(metadataWith(right))).toBe(right);
    for (const wrong of [
      undefined,
      null,
      "text",
      7,
      {},
      { ...right, token: 7 },
      { ...right, lists: [] },
      { ...right, lists: { length: 1 } },
      { ...right, lists: [null] },
      { ...right, lists: [{ list: KEY }, { list: "x" }] },
      { ...right, lists: [{}] },
    ])
      expect(factsOf(metadataWith(wrong)), JSON.stringify(wrong)).toBeUndefined();
  });

  test("are pending until they are stored: with the user's id", () => {
    const pending = { token: "t", userId: "ada", values: {} };
    expect(pendingOf(metadataWith(pending))).toBe(pending);
    for (const other of [undefined, null, "text", {}, { userId: 7 }])
      expect(pendingOf(metadataWith(other))).toBeUndefined();
  });

  test("name lists by 64 hexadecimal digits", () => {
    expect(isKey(KEY)).toBe(true);
    for (const wrong of [
      `${KEY}0`,
      `0${KEY}`,
      KEY.slice(1),
      KEY.toUpperCase(),
      `g${KEY.slice(1)}`,
      [KEY],
      7,
      undefined,
    ])
      expect(isKey(wrong)).toBe(false);
  });

  test("name lists and versions by hashes that stay", async () => {
    expect(await listOf("", "ada")).toBe(hash("sha256", 'with-session list ["","ada"]'));
    expect(await listOf("sid", "ada")).toBe(hash("sha256", 'with-session list ["sid","ada"]'));
    expect(await versionHash(KEY, 7)).toBe(hash("sha256", `with-session credentials ${KEY} 7`).slice(0, 32));
    expect(await versionHash(KEY, "7")).not.toBe(await versionHash(KEY, 7));
  });

  test("hide texts, so that only token and owner yield them", async () => {
    for (const text of ["ada", "", "ü€ 漢"]) {
      const hidden = await hide(text, "token", "owner");
      expect(await reveal(hidden, "token", "owner")).toBe(text);
      expect(await reveal(hidden, "token", "another")).toBeNull();
      expect(await reveal(hidden, "another", "owner")).toBeNull();
    }
    expect(await reveal(undefined, "token", "owner")).toBeNull();
    const facts: Facts = { token: "t", lists: [{ list: KEY }], user: await hide("ada", "t", "id") };
    expect([await reveal(facts.user, facts.token, "id"), await reveal(facts.user, facts.token, "another")]).toEqual([
      "ada",
      null,
    ]);
  });

  test("of a session that is bound to the same user again keep its token and its places, and of another user they do not", async () => {
    const pending = { token: "new", userId: "ada", values: { sid: "a", tenant: undefined }, version: 1, shown: "text" };
    const first = await factsFor(pending, undefined, "id");
    const user = await listOf("", "ada");
    const sid = await listOf("sid", "a");
    expect(first).toMatchObject({ token: "new", lists: [{ list: user }, { list: sid }], order: undefined });
    expect(first.version).toBe(await versionHash(user, 1));
    expect(await reveal(first.user, first.token, "id")).toBe("ada");
    expect(await reveal(first.shown, "new", "ada")).toBe("text");

    const before: Facts = {
      ...first,
      token: "old",
      order: 5,
      lists: [
        { list: user, page: 2 },
        { list: sid, page: 3 },
      ],
    };
    const values = { sid: "b" };
    const again = await factsFor({ token: "new", userId: "ada", values }, before, "id2");
    expect(again).toMatchObject({ token: "old", order: 5, version: undefined, shown: undefined });
    expect(again.lists).toEqual([{ list: user, page: 2 }, { list: await listOf("sid", "b") }]);
    expect(await reveal(again.user, again.token, "id2")).toBe("ada");
    expect((await factsFor(pending, before, "id")).lists).toEqual(before.lists);

    const other = await factsFor({ ...pending, userId: "bob" }, before, "id");
    expect(other).toMatchObject({ token: "new", order: undefined });
    expect(other.lists).toEqual([{ list: await listOf("", "bob") }, { list: sid }]);
  });
});

describe("pages of a list", () => {
  const op = (store: SessionStore): Operation => ({ store, now: NOW }) as Partial<Operation> as Operation;
  const scene = () => {
    const inner = memoryStore();
    const calls: string[] = [];
    const writes: Write[] = [];
    const store: SessionStore = {
      ...inner,
      save: (key, write) => (calls.push("save"), writes.push(write), inner.save(key, write)),
      delete: (...given) => (calls.push("delete"), inner.delete(...given)),
    };
    const load = (number = 0): Promise<Page> => loadPage(KEY, number, op(store));
    return { store, calls, writes, load, save: (page: Page) => savePage(page, op(store)) };
  };
  const entry = { key: OTHER, token: "t", order: 5, writtenAt: 6 };

  test("are read as they were saved, each under a key of its own", async () => {
    const { load, save, writes } = scene();
    const page = await load();
    expect(page).toMatchObject({ list: KEY, number: 0, version: null, pages: 1, until: 0, order: 0 });
    expect(page.key).toBe(hash("sha256", `with-session page 0 ${KEY}`));
    page.entries.set(entryName(entry), entry);
    Object.assign(page, { pages: 4, until: NOW + 7, order: 8 });
    expect(await save(page)).toBe(true);
    expect(await load()).toMatchObject({
      pages: 4,
      until: NOW + 7,
      order: 8,
      entries: new Map([[entryName(entry), entry]]),
    });
    expect((await load(1)).entries.size).toBe(0);
    expect(writes[0]).toMatchObject({ expiresAt: NOW + 7, expected: null });
    expect([...(writes[0]?.record.fields ?? [])]).toEqual([
      ["@", `list 4 ${NOW + 7} 8`],
      [`=${OTHER} t`, "5 6"],
    ]);
  });

  test("cost nothing when they are as they were, or empty and not there; one that became empty is deleted", async () => {
    const { load, save, calls, writes } = scene();
    expect(await save(await load())).toBe(true);
    expect(calls).toEqual([]);
    const page = await load();
    page.entries.set(entryName(entry), entry);
    await save(page);
    expect(writes[0]?.expiresAt).toBe(NOW);
    expect(await save(await load())).toBe(true);
    expect(calls).toEqual(["save"]);
    const full = await load();
    full.entries.clear();
    expect(await save(full)).toBe(true);
    expect(calls).toEqual(["save", "delete"]);
    expect((await load()).version).toBeNull();
  });

  test("are kept when they are empty and others follow", async () => {
    const { load, save, calls } = scene();
    expect(await save(Object.assign(await load(), { pages: 2 }))).toBe(true);
    expect(await load()).toMatchObject({ pages: 2 });
    await save(Object.assign(await load(), { order: 9 }));
    expect(calls).toEqual(["save", "save"]);
  });

  test("are not saved over what another request has saved", async () => {
    const { load, save } = scene();
    const [one, two] = [await load(), await load()];
    for (const page of [one, two]) page.entries.set(entryName(entry), entry);
    expect([await save(one), await save(two)]).toEqual([true, false]);
    const [three, four] = [await load(), await load()];
    three.entries.set("x", { ...entry, token: "u" });
    four.entries.clear();
    expect([await save(three), await save(four)]).toEqual([true, false]);
  });

  test("with texts that make no sense are read as far as they do", async () => {
    const { store } = scene();
    const read = (fields: readonly (readonly [string, string])[]): Promise<Page> =>
      loadPage(KEY, 0, op({ ...store, load: () => ({ fields: new Map(fields), lastSeenAt: 0, version: 1 }) }));
    expect((await read([[`=${OTHER} t`, "x 1.5"]])).entries.get(entryName(entry))).toEqual({
      ...entry,
      order: 0,
      writtenAt: 1,
    });
    for (const name of ["=x t", `=${OTHER}`, "@", ""]) expect((await read([[name, "1 1"]])).entries.size).toBe(0);
    expect(await read([["@", "list x y z"]])).toMatchObject({ pages: 1, until: 0, order: 0 });
    expect(await read([["@", "list -3 Infinity 1.9"]])).toMatchObject({ pages: 1, until: 0, order: 1 });
    expect((await read([["@", "list 4096 0 0"]])).pages).toBe(4096);
    expect((await read([["@", "list 9999999 0 0"]])).pages).toBe(4096);
    for (const mark of ["list2", "list10"])
      await expect(read([["@", `${mark} 1 0 0`]])).rejects.toMatchObject({ code: "ERR_STORE" });
    for (const mark of ["list2x", "xlist2", "list"]) expect((await read([["@", `${mark} 3 0 0`]])).pages).toBe(3);
  });
});

describe("what a program gives", () => {
  test("as the value of an index is a text that is not empty, or a number", () => {
    expect(["a", 7, 0, "", null, undefined].map(indexText)).toEqual(["a", "7", "0", undefined, undefined, undefined]);
    for (const wrong of [{}, [], true, 1n, NaN, Infinity, () => "a"])
      expect(() => indexText(wrong)).toThrow("the value of an index");
  });

  test("as a limit is a whole number of at least one", () => {
    expect(checkedLimit(1)).toBe(1);
    for (const wrong of [0, 1.5, "1", undefined]) expect(() => checkedLimit(wrong)).toThrow(RangeError);
  });

  test("as options may be left out, or undefined", () => {
    expect(() => assertOptions({})).not.toThrow();
    expect(() => assertOptions({ limit: () => 1, credentialVersion: () => 1, indexes: { a: () => 1 } })).not.toThrow();
    expect(() => assertOptions({ limit: 1, onLimit: "refuse" })).not.toThrow();
    // An index without a name would share the lists of the users.
    for (const indexes of [null, 7, "a", { a: 7 }, { a: () => 1, b: null }, { "": () => 1 }])
      expect(() => assertOptions({ indexes } as never), JSON.stringify(indexes)).toThrow(TypeError);
    expect(() => assertOptions({ indexes: "sid" } as never)).toThrow("indexes must be an object, such as { sid: … }");
  });

  test("as the id of a user is a well-formed text that is not empty", () => {
    expect(() => assertUserId("ada")).not.toThrow();
    for (const wrong of ["", "\ud800", 7, null, ["ada"]]) expect(() => assertUserId(wrong)).toThrow("The id of a user");
  });

  test("as metadata is not shown when nothing is there, or it cannot be read", () => {
    const codec = { encode: JSON.stringify, decode: JSON.parse };
    expect([decoded(codec, '"a"'), decoded(codec, null), decoded(codec, "{")]).toEqual(["a", undefined, undefined]);
  });
});
