import { describe, expect, test } from "vitest";
import {
  dataField,
  flashField,
  HEAD_FIELD,
  type Head,
  keysOf,
  MARKS_FIELD,
  readHead,
  SUBJECT_FIELD,
  withHead,
} from "../src/record.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const HEAD: Head = { createdAt: 1, since: 2 };

/** A record whose head is this text. */
const record = (text: string, lastSeenAt = 3) => ({ fields: new Map([[HEAD_FIELD, text]]), lastSeenAt });
/** A head as it is stored, with some of it replaced. */
const stored = (replaced: object): string =>
  JSON.stringify({ createdAt: 1, since: 2, format: 1, key: KEY.slice(0, 16), ...replaced });

describe("fields", () => {
  test("dataField() and flashField() are never one another, nor the head, whatever the key is", () => {
    for (const key of ["", "@", "=", "~", "a", "__proto__"]) {
      expect(dataField(key)).toBe(`=${key}`);
      expect(flashField(key)).toBe(`~${key}`);
    }
    expect([HEAD_FIELD, SUBJECT_FIELD, MARKS_FIELD]).toEqual(["@", "^", "#"]);
  });

  test("keysOf() gives the keys of one kind, in their order", () => {
    const fields = new Map(["@", "=b", "~c", "=", "==", "a="].map((name) => [name, ""]));
    expect([...keysOf(fields, "=")]).toEqual(["b", "", "="]);
    expect([...keysOf(fields, "~")]).toEqual(["c"]);
  });
});

describe("withHead()", () => {
  test("adds the head, with the format and half of the key, and leaves the fields that it was given alone", () => {
    const fields = new Map([["=a", "1"]]);
    const all = withHead({ fields, head: HEAD }, KEY);
    expect([...all.keys()]).toEqual(["=a", "@"]);
    expect(JSON.parse(all.get("@") ?? "")).toEqual({ createdAt: 1, since: 2, format: 1, key: "0123456789abcdef" });
    expect(fields).toEqual(new Map([["=a", "1"]]));
  });

  test("says the format and the key of this record when the head was read from another one", () => {
    const head = { ...HEAD, format: 7, key: "another" };
    expect(JSON.parse(withHead({ fields: new Map(), head }, KEY).get("@") ?? "")).toMatchObject({
      format: 1,
      key: "0123456789abcdef",
    });
  });
});

describe("readHead()", () => {
  test.each<[string, Partial<Head>]>([
    ["nothing more", {}],
    ["the name of a write", { writtenBy: "x" }],
    ["every timeout", { timeouts: { idle: 1, absolute: 2, cookie: 3 } }],
    ["no timeout", { timeouts: {} }],
    ["no absolute timeout, and a cookie that goes with the browser", { timeouts: { absolute: false, cookie: null } }],
    ["a place in a list", { bound: { subject: "s", page: 0, token: "t", until: 5 } }],
    ["a place in a list, and an epoch", { bound: { subject: "s", page: 1, token: "t", until: 5, epoch: "e" } }],
    ["a successor", { successor: { sealedId: "x", graceUntil: 5 } }],
  ])("reads what withHead() wrote when it has %s", (_name, more) => {
    const head = { ...HEAD, ...more };
    const { fields } = { fields: withHead({ fields: new Map(), head }, KEY) };
    expect(readHead({ fields, lastSeenAt: 3 }, KEY)).toMatchObject(head);
  });

  test.each([
    ["is no JSON", "{"],
    ["is empty", ""],
    ["is null", "null"],
    ["is a number", "1"],
    ["is a text", '"text"'],
    ["is a list", "[]"],
    ["has no format", stored({ format: undefined })],
    ["has a format that is no number", stored({ format: "2" })],
    ["has a format of before the first", stored({ format: 0 })],
    ["has no beginning", stored({ createdAt: undefined })],
    ["has a beginning that is no number", stored({ createdAt: "1" })],
    ["has no start of the absolute timeout", stored({ since: null })],
    ["has timeouts that are null", stored({ timeouts: null })],
    ["has timeouts that are a number", stored({ timeouts: 1 })],
    ["has an idle timeout that is no number", stored({ timeouts: { idle: "1" } })],
    ["has an idle timeout of null", stored({ timeouts: { idle: null } })],
    ["has an idle timeout of false", stored({ timeouts: { idle: false } })],
    ["has an absolute timeout of true", stored({ timeouts: { absolute: true } })],
    ["has an absolute timeout of null", stored({ timeouts: { absolute: null } })],
    ["has an age of the cookie of false", stored({ timeouts: { cookie: false } })],
    ["has a place in a list that is null", stored({ bound: null })],
    ["has a place in a list that is a text", stored({ bound: "x" })],
    ["has a place in a list without a subject", stored({ bound: { page: 0, token: "t", until: 5 } })],
    ["has a place in a list without a page", stored({ bound: { subject: "s", token: "t", until: 5 } })],
    ["has a place on half a page", stored({ bound: { subject: "s", page: 0.5, token: "t", until: 5 } })],
    ["has a place in a list without a name", stored({ bound: { subject: "s", page: 0, until: 5 } })],
    ["has a place in a list without an end", stored({ bound: { subject: "s", page: 0, token: "t" } })],
    ["has an epoch that is a number", stored({ bound: { subject: "s", page: 0, token: "t", until: 5, epoch: 1 } })],
    ["has a successor that is null", stored({ successor: null })],
    ["has a successor that is a text", stored({ successor: "x" })],
    ["has a successor without an id", stored({ successor: { graceUntil: 5 } })],
    ["has a successor whose id is a number", stored({ successor: { sealedId: 1, graceUntil: 5 } })],
    ["has a successor without an end of the grace", stored({ successor: { sealedId: "x" } })],
  ])("calls a record corrupt when its head %s", (_name, text) => {
    expect(readHead(record(text), KEY)).toBe("corrupt");
  });

  test("calls a record corrupt when it has no head", () => {
    expect(readHead({ fields: new Map(), lastSeenAt: 3 }, KEY)).toBe("corrupt");
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    "calls a record corrupt when it was last seen at %j",
    (lastSeenAt) => {
      expect(readHead(record(stored({}), 3), KEY)).toMatchObject(HEAD);
      expect(readHead(record(stored({}), lastSeenAt), KEY)).toBe("corrupt");
    },
  );

  test("calls a record newer when its format is, whatever else is in it", () => {
    expect(readHead(record(stored({ format: 2, createdAt: "?" })), KEY)).toBe("newer");
  });

  test("calls a record misplaced when it was stored under another key", () => {
    expect(readHead(record(stored({})), `f${KEY.slice(1)}`)).toBe("misplaced");
    expect(readHead(record(stored({})), `${KEY.slice(0, 15)}0${KEY.slice(16)}`)).toBe("misplaced");
    expect(readHead(record(stored({ key: undefined })), KEY)).toBe("misplaced");
    expect(readHead(record(stored({ key: "" })), KEY)).toBe("misplaced");
  });

  test("reads no head from what all objects have", () => {
    expect(readHead(record('{"__proto__":{"createdAt":1,"since":2,"format":1,"key":"0123456789abcdef"}}'), KEY)).toBe(
      "corrupt",
    );
  });
});
