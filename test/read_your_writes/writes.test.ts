import { describe, expect, test } from "vitest";
import { type CookieContent, cookieText, parseCookieText } from "../../src/read_your_writes/cookie_text.ts";
import type { Found } from "../../src/core/repository.ts";
import { changedNames, latestOf, readMarks, withMarks, withoutMarks } from "../../src/read_your_writes/marks.ts";
import {
  merge,
  type Merged,
  mergedOf,
  clientMetadataText,
  missingSession,
  shortVersion,
} from "../../src/read_your_writes/merged_session.ts";
import {
  type FieldChange,
  isLater,
  mergeWrites,
  NO_WRITES,
  type RecentWrites,
} from "../../src/read_your_writes/recent_writes.ts";

const NOW = 1_800_000_000_000;

function writes(changes: Record<string, FieldChange>, more: Partial<RecentWrites> = {}): RecentWrites {
  return { changes: new Map(Object.entries(changes)), lastSeenAt: NOW, isComplete: false, versions: [], ...more };
}

describe("isLater()", () => {
  test("goes by the instant, and at one instant by the text, so that all agree", () => {
    const texts = [undefined, null, "", "a", "b"];
    texts.forEach((text, one) =>
      texts.forEach((other, two) => {
        expect(isLater({ at: 1, text }, { at: 1, text: other })).toBe(one > two);
        expect(isLater({ at: 2, text }, { at: 1, text: other })).toBe(true);
        expect(isLater({ at: 1, text }, { at: 2, text: other })).toBe(false);
      }),
    );
  });
});

describe("mergeWrites()", () => {
  test("takes the latest change of each field, and all versions once", () => {
    const one = writes({ a: { at: 1, text: "1" }, b: { at: 5, text: null } }, { lastSeenAt: 7, versions: ["v", "w"] });
    const two = writes({ a: { at: 2, text: "2" }, b: { at: 4, text: "x" } }, { lastSeenAt: 6, versions: ["w", "u"] });
    const merged = { ...writes({ a: { at: 2, text: "2" }, b: { at: 5, text: null } }), lastSeenAt: 7 };
    expect(mergeWrites([one, two])).toEqual({ ...merged, versions: ["v", "w", "u"] });
    expect(mergeWrites([two, one])).toEqual({ ...merged, versions: ["w", "u", "v"] });
    expect(mergeWrites([])).toEqual({ ...writes({}), lastSeenAt: 0 });
  });

  test("is complete if one is, and no text is missing", () => {
    const whole = writes({ a: { at: 1, text: "1" }, b: { at: 1, text: null } }, { isComplete: true });
    const part = writes({ c: { at: 1, text: "3" } });
    expect(mergeWrites([part, whole]).isComplete).toBe(true);
    expect(mergeWrites([whole, part]).isComplete).toBe(true);
    expect(mergeWrites([part]).isComplete).toBe(false);
    expect(mergeWrites([whole, writes({ c: { at: 1, text: undefined } })]).isComplete).toBe(false);
  });

  test("keeps the last twelve versions", () => {
    const versions = Array.from({ length: 20 }, (_, at) => `v${at}`);
    expect(mergeWrites([writes({}, { versions: [...versions, ...versions] })]).versions).toEqual(versions.slice(0, 12));
  });
});

describe("marks", () => {
  test("are read as they were written, and are no field of the session", () => {
    const fields = new Map([["=a", "1"]]);
    const marks = {
      at: new Map([
        ["=a", 5],
        ["=b", 7],
        ["@", 5],
      ]),
      unsentAt: 3,
    };
    const marked = withMarks(fields, marks);
    expect(JSON.parse(marked.get("*recent") ?? "")).toEqual([3, { 5: ["=a", "@"], 7: ["=b"] }]);
    expect(readMarks(marked)).toEqual(marks);
    expect(latestOf(marks)).toBe(7);
    expect([...withoutMarks(marked)]).toEqual([...fields]);
    expect(withoutMarks(fields)).toBe(fields);
  });

  test("are none where there are none, or what another program has written", () => {
    const none = { at: new Map(), unsentAt: 0 };
    expect(readMarks(new Map())).toEqual(none);
    for (const text of ["x", "7", "null", "[]", "[1]", '[1,{"2":3}]'])
      expect(readMarks(new Map([["*recent", text]])), text).toEqual(none);
    expect(latestOf(none)).toBe(0);
  });

  test("are for the fields that are new, changed or gone", () => {
    const before = new Map([
      ["=a", "1"],
      ["=b", "2"],
      ["=c", "3"],
      ["@", "m"],
      ["*recent", "x"],
    ]);
    const after = new Map([
      ["=a", "1"],
      ["=b", "4"],
      ["=d", "5"],
      ["@", "n"],
      ["*recent", "y"],
    ]);
    expect(changedNames(before, after)).toEqual(["=b", "=d", "=c"]);
    expect(changedNames(before, before)).toEqual([]);
    expect(changedNames(before, new Map(before))).toEqual([]);
    expect(changedNames(before, new Map())).toEqual(["=a", "=b", "=c"]);
  });
});

describe("merge()", () => {
  const WINDOW = { length: 10, accepted: 20, marked: 30 };
  const METADATA = { createdAt: 1, absoluteSince: 2, writes: "w", writtenAt: 3 };
  const shown = (at: Record<string, number> = {}, more: Partial<Found> = {}): Found => {
    const fields = withMarks(new Map([["=a", "m"]]), { at: new Map(Object.entries(at)), unsentAt: 0 });
    return { id: "id", token: "id", version: "v", fields, metadata: METADATA, lastSeenAt: NOW, ...more };
  };
  /** The result for a client that has seen changes, when the record has a version that the client knows. */
  const seen = (
    changes: Record<string, FieldChange>,
    { record = shown(), cookies = 1, versions = ["v"] }: { record?: Found; cookies?: number; versions?: string[] } = {},
  ): Merged => merge(record, false, { ...writes(changes, { versions }), cookies }, NOW, WINDOW);

  test("gives the record as it is, when the client has seen what it shows", () => {
    const record = shown({ "=a": NOW - 1, "@": NOW - 1 });
    const metadata = { at: NOW - 1, text: clientMetadataText(METADATA) };
    const { found, isStale } = seen({ "=a": { at: NOW - 1, text: "m" }, "@": metadata }, { record, versions: [] });
    expect(isStale).toBe(false);
    expect(found).toMatchObject({ metadata: METADATA, needsStoring: false });
    expect([...found.fields]).toEqual([["=a", "m"]]);
    expect(mergedOf(found)).toMatchObject({ shown: record, isMissing: false, isMerged: false });
  });

  test("decides between two changes at one instant by their texts", () => {
    const record = shown({ "=a": NOW - 1, "=b": NOW - 1 });
    for (const [text, wins] of [
      ["z", "z"],
      ["b", "m"],
      ["m~", "m~"],
      [null, "m"],
    ] as const)
      expect(seen({ "=a": { at: NOW - 1, text } }, { record }).found.fields.get("=a"), String(text)).toBe(wins);
    const { found } = seen({ "=b": { at: NOW - 1, text: "1" } }, { record });
    expect(found.fields.get("=b")).toBe("1");
    expect(mergedOf(seen({ "=b": { at: NOW - 1, text: null } }, { record }).found).isMerged).toBe(false);
  });

  test("keeps the marks of the record until no client can present an older change, and those of what it merged", () => {
    const { found } = seen(
      { "=a": { at: NOW - 5, text: "n" } },
      { record: shown({ "=a": NOW - 29, "=old": NOW - 30, "=older": NOW - 31 }) },
    );
    expect([...mergedOf(found).marks.at]).toEqual([["=a", NOW - 5]]);
    const [[name] = [""]] = mergedOf(seen({}, { record: shown({ "=a": NOW - 29 }) }).found).marks.at;
    expect(name).toBe("=a");
  });

  test("says that a touch must store the whole, when the record lacks a change of a field or of the metadata", () => {
    const metadata = { ...METADATA, timeouts: { idle: 60 } };
    const field = seen({ "=a": { at: NOW, text: "n" } }).found;
    const facts = seen({ "@": { at: NOW, text: clientMetadataText(metadata) } }).found;
    expect([field, facts].map((found) => mergedOf(found).isMerged)).toEqual([true, true]);
    expect(facts.metadata).toEqual(metadata);
  });

  test("has a change stored again that a record lacks which is not only late, and what the inner repository wants stored", () => {
    const changes = { "=a": { at: NOW, text: "n" } };
    expect(seen(changes).found.needsStoring).toBe(false);
    expect(seen(changes, { versions: ["w"] }).found.needsStoring).toBe(true);
    expect(seen(changes, { cookies: 2 }).found.needsStoring).toBe(true);
    expect(seen({}, { record: shown({}, { needsStoring: true }) }).found.needsStoring).toBe(true);
  });

  test("tells versions apart by their last twelve characters", () => {
    expect(shortVersion(shown({}, { version: "a version of one store" }))).toBe("of one store");
    expect(shortVersion(shown({}, { version: 7 }))).toBe("7");
  });
});

describe("missingSession()", () => {
  test("has the metadata that the client has seen, and otherwise began now", () => {
    const metadata = { createdAt: 1, absoluteSince: 2, timeouts: { idle: 60 } };
    const changes = { "@": { at: NOW, text: clientMetadataText(metadata) } };
    expect(missingSession("token", { ...writes(changes), id: "id", cookies: 1 }, NOW)).toMatchObject({
      id: "id",
      token: "token",
      metadata,
    });
    const began = { createdAt: NOW, absoluteSince: NOW };
    for (const none of [{}, { "@": { at: NOW, text: undefined } }]) {
      const found = missingSession("token", { ...NO_WRITES, ...writes(none) }, NOW);
      expect(found).toMatchObject({ id: "token", lastSeenAt: NOW, metadata: began });
    }
  });
});

describe("the text of a cookie", () => {
  const content: CookieContent = {
    token: "token",
    id: "id",
    writes: writes(
      { "=a": { at: NOW - 5, text: "1" }, "=b": { at: NOW - 7, text: null } },
      { lastSeenAt: NOW - 3, isComplete: true, versions: ["v"] },
    ),
  };
  const parse = (text: string, now = NOW, accepted = 1000) => parseCookieText(text, now, accepted);

  test("is read as it was written, by a server with another clock as well", () => {
    const text = cookieText(content, NOW);
    for (const now of [NOW - 300, NOW, NOW + 990]) expect(parse(text, now)).toEqual(content);
    expect(JSON.parse(text)).toEqual({
      token: "token",
      id: "id",
      now: NOW,
      seen: -3,
      versions: ["v"],
      complete: true,
      fields: [
        ["=a", -5, "1"],
        ["=b", -7, null],
      ],
    });
  });

  test("names the id only where it is not the token", () => {
    const text = cookieText({ ...content, id: "token" }, NOW);
    expect(JSON.parse(text)).not.toHaveProperty("id");
    expect(parse(text)?.id).toBe("token");
  });

  test("keeps a tombstone", () => {
    const tombstone = { at: NOW, isRetired: true, successor: { token: "next", until: NOW + 5 } };
    const text = cookieText({ token: "token", tombstone }, NOW);
    expect(parse(text)).toEqual({ token: "token", id: "token", tombstone });
    expect(parse(text, NOW + 1000)).toBeNull();
  });

  test("ends with the window, and each change in it, which is not complete then", () => {
    const text = cookieText(content, NOW);
    expect(parse(text, NOW + 1000)).toBeNull();
    expect(parse(text, NOW + 999)?.writes).toMatchObject({ changes: new Map(), isComplete: false });
    const later = parse(text, NOW + 994)?.writes;
    expect([...(later?.changes.keys() ?? [])]).toEqual(["=a"]);
    expect(later?.isComplete).toBe(false);
    expect([...(parse(text, NOW + 993)?.writes?.changes.keys() ?? [])]).toEqual(["=a"]);
    expect(parse(text, NOW + 992)?.writes?.isComplete).toBe(true);
  });

  test("leaves out the largest texts first, and then the oldest names, and says that it is not complete", () => {
    const changes: Record<string, FieldChange> = {
      "=large": { at: NOW - 1, text: "x".repeat(2000) },
      "=larger": { at: NOW, text: "x".repeat(2001) },
      "=small": { at: NOW - 9, text: "y" },
    };
    const all = parse(cookieText({ ...content, writes: writes(changes, { isComplete: true }) }, NOW))?.writes;
    expect(all?.changes.get("=small")?.text).toBe("y");
    expect(all?.changes.get("=large")?.text).toHaveLength(2000);
    expect(all?.changes.get("=larger")).toEqual({ at: NOW, text: undefined });
    expect(all?.isComplete).toBe(false);

    const many = Object.fromEntries(
      // Unordered.
      Array.from({ length: 400 }, (_, at) => (at * 7) % 400).map((at) => [
        `=key ${at}`,
        { at: NOW - at, text: undefined },
      ]),
    );
    const text = cookieText({ ...content, writes: writes(many, { isComplete: true }) }, NOW);
    const names = [...(parse(text)?.writes?.changes.keys() ?? [])];
    expect(names.length).toBeLessThan(400);
    expect(names).toEqual(Array.from({ length: names.length }, (_, at) => `=key ${at}`));
    // As much as fits into the sealed cookie.
    expect(text.length).toBeLessThanOrEqual(2274);
    expect(text.length).toBeGreaterThan(2240);
    expect(JSON.parse(text).complete).toBe(false);
  });

  test("has the text of a field that fits exactly, and not one that is a byte longer", () => {
    const textOf = (length: number) =>
      cookieText({ ...content, writes: writes({ "=a": { at: NOW, text: "x".repeat(length) } }) }, NOW);
    const lengths = Array.from({ length: 2400 }, (_, length) => length).filter(
      (length) => textOf(length).length > length,
    );
    const longest = Math.max(...lengths);
    // Two bytes below the limit, because two commas are counted after which nothing follows: one in the head and one in the list.
    expect(textOf(longest).length).toBe(2272);
    expect(textOf(longest + 1).length).toBeLessThan(200);
  });

  test("has the name of a field that fits exactly, and not one that is a byte longer", () => {
    const textOf = (length: number) =>
      cookieText({ ...content, writes: writes({ [`=${"x".repeat(length)}`]: { at: NOW, text: undefined } }) }, NOW);
    const lengths = Array.from({ length: 2400 }, (_, length) => length).filter(
      (length) => textOf(length).length > length,
    );
    const longest = Math.max(...lengths);
    expect(textOf(longest).length).toBe(2272);
    expect(textOf(longest + 1).length).toBeLessThan(200);
  });
});
