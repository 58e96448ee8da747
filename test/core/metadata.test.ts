import { describe, expect, test } from "vitest";
import { type Metadata, metadataOf, metadataText, readMetadata } from "../../src/core/metadata.ts";
import { METADATA_FIELD } from "../../src/core/record_fields.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const METADATA: Metadata = { createdAt: 1, absoluteSince: 2 };
const SUCCESSOR = { key: "f".repeat(64), retiredAt: 5 };

/** A record with this text in place of its metadata. */
const record = (text: string, lastSeenAt = 3) => ({ fields: new Map([[METADATA_FIELD, text]]), lastSeenAt });
/** The text of metadata, with some values replaced. */
const stored = (replaced: object): string => metadataText({ ...METADATA, ...replaced } as Metadata, KEY);
/** The words of metadata, with one of them replaced. */
const worded = (at: number, word: string): string => stored({ timeouts: {} }).split(" ").with(at, word).join(" ");

describe("readMetadata()", () => {
  test.each<[string, Partial<Metadata>]>([
    ["nothing more", {}],
    ["names of writes", { writes: "a".repeat(16) + "b".repeat(16), writtenAt: 7 }],
    ["every timeout", { timeouts: { idle: 1, absolute: 2, cookie: 3 } }],
    ["an object of no timeouts", { timeouts: {} }],
    ["no absolute timeout, and a cookie that ends with the browser", { timeouts: { absolute: false, cookie: null } }],
    ["a login", { authenticatedAt: 4 }],
    ["a rotation that is not confirmed", { rotatedAt: 4, unconfirmed: true }],
    ["facts of a plugin", { "+users": { id: "ada", list: [1, null, "text with spaces"] } }],
    ["a successor", { successor: SUCCESSOR }],
    ["a successor with a grace", { successor: { ...SUCCESSOR, grace: { id: "x", until: 9 } } }],
    ["a grace until the first use", { successor: { ...SUCCESSOR, grace: { id: "x", until: 9, untilUsed: true } } }],
  ])("reads what metadataText() wrote when it has %s", (_name, more) => {
    const metadata = { ...METADATA, ...more };
    expect(readMetadata(record(metadataText(metadata, KEY)), KEY)).toMatchObject(metadata);
  });

  test("reads a record although a program has added a function to all objects", () => {
    const bound = record(stored({ authenticatedAt: 4 }));
    const all: object = Object.getPrototypeOf({});
    let found: unknown;
    Object.defineProperty(all, "extend", { value: () => {}, enumerable: true, configurable: true });
    try {
      found = readMetadata(bound, KEY);
    } finally {
      Reflect.deleteProperty(all, "extend");
    }
    expect(found).toMatchObject({ authenticatedAt: 4 });
  });

  test.each([
    ["is no text of this library", "{"],
    ["is empty", ""],
    ["is null", "null"],
    ["is a list", "[]"],
    ["is JSON", JSON.stringify({ format: 1, ...METADATA })],
    ["is a number", "1"],
    ["ends after the key", "1 0123456789abcdef"],
    ["has a format that is no number", worded(0, "one")],
    ["has a beginning that is no number", worded(2, "soon")],
    ["has a start of the absolute timeout that is no number", worded(3, "null")],
    ["has half of its JSON", stored({ timeouts: { idle: 5 } }).slice(0, -1)],
    ["has JSON that is a list", `${stored({})} []x`],
    ["has JSON that is a number", `${stored({})} 5`],
    ["has JSON that is null", `${stored({})} null`],
    ["has timeouts that are null", stored({ timeouts: null })],
    ["has timeouts that are a number", stored({ timeouts: 1 })],
    ["has an idle timeout that is no number", stored({ timeouts: { idle: "1" } })],
    ["has an idle timeout of null", stored({ timeouts: { idle: null } })],
    ["has an idle timeout of false", stored({ timeouts: { idle: false } })],
    ["has an absolute timeout of true", stored({ timeouts: { absolute: true } })],
    ["has an absolute timeout of null", stored({ timeouts: { absolute: null } })],
    ["has an age of the cookie of false", stored({ timeouts: { cookie: false } })],
    ["has an instant of login that is a text", stored({ authenticatedAt: "now" })],
    ["has an instant of rotation that is a text", stored({ rotatedAt: "now" })],
    ["has an instant of first use that is a text", stored({ usedAt: "now" })],
    ["has a successor that is null", stored({ successor: null })],
    ["has a successor that is a text", stored({ successor: "x" })],
    ["has a successor without a key", stored({ successor: { retiredAt: 5 } })],
    ["has a successor without an instant", stored({ successor: { key: "x" } })],
    ["has a grace that is null", stored({ successor: { ...SUCCESSOR, grace: null } })],
    ["has a grace without an id", stored({ successor: { ...SUCCESSOR, grace: { until: 5 } } })],
    ["has a grace without an end", stored({ successor: { ...SUCCESSOR, grace: { id: "x" } } })],
    [
      "has a grace that ends with a first use that is not true",
      stored({ successor: { ...SUCCESSOR, grace: { id: "x", until: 9, untilUsed: 1 } } }),
    ],
    ["has a successor that is final, and not true", stored({ successor: { ...SUCCESSOR, isFinal: "no" } })],
    ["is unconfirmed, and not true", stored({ unconfirmed: "yes" })],
  ])("calls a record corrupt when its metadata %s", (_name, text) => {
    expect(readMetadata(record(text), KEY)).toBe("corrupt");
  });

  test("calls a record corrupt when its metadata ends before the last word, also under a key that is a number", () => {
    for (const key of [KEY, "1".repeat(32)]) {
      const words = metadataText(METADATA, key).split(" ");
      for (let count = 1; count < words.length; count++)
        expect(readMetadata(record(words.slice(0, count).join(" ")), key)).toBe("corrupt");
      expect(readMetadata(record(words.join(" ")), key)).toMatchObject(METADATA);
    }
  });

  test("calls a record corrupt when it has no metadata", () => {
    expect(readMetadata({ fields: new Map(), lastSeenAt: 3 }, KEY)).toBe("corrupt");
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "calls a record corrupt when it was last seen at %j",
    (lastSeenAt) => {
      expect(readMetadata(record(stored({}), 3), KEY)).toMatchObject(METADATA);
      expect(readMetadata(record(stored({}), lastSeenAt), KEY)).toBe("corrupt");
    },
  );

  test("calls a record newer when its format is, whatever else is in it", () => {
    expect(readMetadata(record(worded(0, "2")), KEY)).toBe("newer");
    expect(readMetadata(record("17 and whatever else"), KEY)).toBe("newer");
    expect(readMetadata(record("2"), KEY)).toBe("newer");
  });

  test("calls a record misplaced when it was stored under another key", () => {
    expect(readMetadata(record(stored({})), `f${KEY.slice(1)}`)).toBe("misplaced");
    expect(readMetadata(record(stored({})), `${KEY.slice(0, 15)}0${KEY.slice(16)}`)).toBe("misplaced");
    expect(readMetadata(record(worded(1, "")), KEY)).toBe("misplaced");
  });

  test("takes from the JSON nothing that the words say", () => {
    const text = `${stored({})} {"createdAt":null,"absoluteSince":"x","writtenAt":{},"writes":5,"rotatedAt":4}`;
    expect(readMetadata(record(text), KEY)).toEqual({ ...METADATA, writtenAt: 0, writes: "", rotatedAt: 4 });
  });

  test("takes nothing from what all objects have", () => {
    const text = `${stored({})} {"__proto__":{"timeouts":{"idle":1}}}`;
    const metadata = readMetadata(record(text), KEY);
    expect(metadata).toMatchObject(METADATA);
    expect(Object(metadata).timeouts).toBe(undefined);
  });
});

test("metadataOf() is the metadata of a record, and undefined without a record or for one that cannot be read", () => {
  expect(metadataOf(record(stored({ successor: SUCCESSOR })), KEY)?.successor).toEqual(SUCCESSOR);
  expect(metadataOf(record(stored({})), KEY)).toMatchObject(METADATA);
  expect(metadataOf(record("{"), KEY)).toBeUndefined();
  expect(metadataOf(null, KEY)).toBeUndefined();
});

describe("the text of metadata", () => {
  test("is what released versions read", () => {
    expect(METADATA_FIELD).toBe("@");
    expect(metadataText(METADATA, KEY)).toBe("1 0123456789abcdef 1 2 0 ");
    expect(metadataText({ ...METADATA, writes: "w", writtenAt: 7, rotatedAt: 4 }, KEY)).toBe(
      '1 0123456789abcdef 1 2 7 w {"rotatedAt":4}',
    );
  });

  test("has no JSON when each other fact is undefined", () => {
    expect(metadataText({ ...METADATA, timeouts: undefined, successor: undefined }, KEY)).toBe(
      metadataText(METADATA, KEY),
    );
  });

  test.each(["x9 0 1 2 3 w", "9x 0 1 2 3 w", "", "1", "1 another 1 2 3"])("is corrupt when it is %j", (text) => {
    expect(readMetadata(record(text), KEY)).toBe("corrupt");
  });
});
