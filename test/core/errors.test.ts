import { describe, expect, test, vi } from "vitest";
import { SessionError, StoreBusyError } from "../../mod.ts";
import {
  ambiguousCookie,
  isBusy,
  isLocked,
  isMistake,
  hasCode,
  isOutage,
  isSessionError,
  mistake,
  notSerializable,
  responseSent,
  sessionGone,
  storeLocked,
  storeTimedOut,
  validAnswer,
} from "../../src/core/errors.ts";

/** Values of any kind that may be thrown. */
const OTHERS: readonly unknown[] = [
  undefined,
  null,
  "ERR_STORE",
  7,
  {},
  new Error("ERR_STORE"),
  () => {},
  // A client may throw an object whose properties throw when they are read.
  new Proxy(
    {},
    {
      has: () => {
        throw new Error("no");
      },
    },
  ),
];

/** Another copy of this package: an installation may contain two. */
async function anotherCopy() {
  vi.resetModules();
  return await import("../../src/core/errors.ts");
}

describe("SessionError", () => {
  test("has a code, a message, a name, and the cause that it is given", () => {
    const cause = new Error("refused");
    const error = new SessionError("ERR_STORE", "Cannot load", { cause });
    expect(error).toMatchObject({ code: "ERR_STORE", message: "Cannot load", name: "SessionError", cause });
    expect(Object.keys(error).toSorted()).toEqual(["code", "name"]);
    expect(error).toBeInstanceOf(Error);
  });

  test("knows an error of another copy of this package, and nothing else", async () => {
    const copy = await anotherCopy();
    expect(copy.SessionError).not.toBe(SessionError);
    const foreign = new copy.SessionError("ERR_STORE", "Cannot load");
    expect([foreign instanceof SessionError, isSessionError(foreign)]).toEqual([true, true]);
    expect([isBusy(new copy.StoreBusyError()), isBusy(foreign), isMistake(copy.mistake("x"))]).toEqual([
      true,
      false,
      true,
    ]);
    expect([
      isBusy(copy.storeLocked(new StoreBusyError())),
      isLocked(copy.storeLocked(new StoreBusyError())),
      isLocked(new copy.StoreBusyError()),
    ]).toEqual([true, true, false]);
    for (const each of OTHERS)
      expect([each instanceof SessionError, isSessionError(each), isBusy(each), isMistake(each)]).toEqual([
        false,
        false,
        false,
        false,
      ]);
  });

  test("an error carries a mark that other versions of this package look for", () => {
    const marks = (error: object): unknown[] => Object.getOwnPropertySymbols(error).map(Symbol.keyFor);
    expect(marks(new SessionError("ERR_STORE", "Cannot load"))).toEqual(["with-session.SessionError"]);
    expect(marks(new StoreBusyError())).toEqual(["with-session.SessionError", "with-session.StoreBusyError"]);
    expect(marks(storeLocked(new StoreBusyError()))).toEqual([...marks(new StoreBusyError()), "with-session.locked"]);
    expect(marks(mistake("x"))).toEqual(["with-session.mistake"]);
  });

  test("a subclass has its own instances", () => {
    class Own extends SessionError {}
    const plain = new SessionError("ERR_STORE", "Cannot load");
    expect([plain instanceof Own, new Own("ERR_STORE", "Cannot load") instanceof Own]).toEqual([false, true]);
    expect([plain instanceof StoreBusyError, new StoreBusyError() instanceof StoreBusyError]).toEqual([false, true]);
    expect(new StoreBusyError()).toMatchObject({ code: "ERR_STORE" });
  });
});

test("hasCode() recognises a SessionError by one of several codes, and nothing else", () => {
  const gone = new SessionError("ERR_SESSION_GONE", "");
  expect([hasCode(gone, "ERR_CONFLICT", "ERR_SESSION_GONE"), hasCode(gone, "ERR_CONFLICT")]).toEqual([true, false]);
  expect(hasCode({ code: "ERR_SESSION_GONE" }, "ERR_SESSION_GONE")).toBe(false);
});

test("isOutage() tells a store that failed from everything else", () => {
  expect([isOutage(new SessionError("ERR_STORE", "")), isOutage(storeTimedOut("load the session", 5))]).toEqual([
    true,
    true,
  ]);
  for (const each of [sessionGone(), responseSent("end"), ambiguousCookie(), { code: "ERR_STORE" }, ...OTHERS])
    expect(isOutage(each)).toBe(false);
});

test("a mistake of the program is a TypeError with its own message, and no SessionError", () => {
  const error = mistake("env.SESSIONS is not set");
  expect(error).toBeInstanceOf(TypeError);
  expect([error.message, isMistake(error), isMistake(new TypeError("x")), isSessionError(error)]).toEqual([
    "env.SESSIONS is not set",
    true,
    false,
    false,
  ]);
});

test.each<[() => SessionError, string]>([
  [() => storeTimedOut("load the session", 5), "ERR_STORE_TIMEOUT"],
  [sessionGone, "ERR_SESSION_GONE"],
  [() => responseSent("end"), "ERR_RESPONSE_SENT"],
  [ambiguousCookie, "ERR_AMBIGUOUS_COOKIE"],
  [() => notSerializable("a", undefined), "ERR_NOT_SERIALIZABLE"],
])("an error that the core makes has the code that programs branch on (%#)", (make, code) => {
  expect(make()).toMatchObject({ code });
});

test.each<[unknown, string]>([
  [{ path: "b.c", reason: "it is odd" }, 'Cannot store "a" (at a.b.c): it is odd; store plain data instead'],
  [{ path: ".b" }, 'Cannot store "a" (at a.b): codec.encode refused it; '],
  [{ path: "[0].b" }, 'Cannot store "a" (at a[0].b): codec.encode refused it'],
  [{ path: "" }, 'Cannot store "a": codec.encode refused it'],
  [{ path: 7, reason: 7 }, 'Cannot store "a": codec.encode refused it'],
  [new Error("secret"), 'Cannot store "a": codec.encode refused it'],
  [null, 'Cannot store "a": codec.encode refused it'],
  ["text", 'Cannot store "a": codec.encode refused it'],
])(
  "a value that a codec refuses is told with its key, and with the path and the reason that the codec gives: %j",
  (detail, message) => {
    expect(notSerializable("a", detail).message).toContain(message);
  },
);

test("validAnswer() gives a valid answer, and throws ERR_STORE in place of another", () => {
  const isNumber = (answer: unknown): boolean => typeof answer === "number";
  expect(validAnswer<unknown>("load the session", 0, isNumber)).toBe(0);
  expect(() => validAnswer<unknown>("load the session", "secret", isNumber)).toThrow(
    expect.objectContaining({ code: "ERR_STORE", message: expect.not.stringContaining("secret") }),
  );
});
