import { describe, expect, test } from "vitest";
import { type Change, hasGrace, isRotation, replay } from "../../src/core/changes.ts";
import { FieldsView } from "../../src/core/fields.ts";
import { isPromise } from "../../src/core/maybe_promise.ts";
import { WorkingCopy } from "../../src/core/working_copy.ts";
import { soon } from "../setup/sessions.ts";

test("hasGrace() is whether the old id leads to the session for a while", () => {
  const rotation = { grace: 0, reauthenticated: false, untilUsed: false };
  expect(hasGrace(rotation)).toBe(false);
  expect(hasGrace({ ...rotation, grace: 0.001 })).toBe(true);
  expect(hasGrace({ ...rotation, untilUsed: true })).toBe(true);
  expect(hasGrace({ ...rotation, reauthenticated: true })).toBe(false);
});

test("isRotation() is whether a commit gives the session a new id", () => {
  const copy = new WorkingCopy();
  copy.touch();
  expect(isRotation(copy.take())).toBe(false);
  copy.rotate({ grace: 0, reauthenticated: false, untilUsed: false });
  expect(isRotation(copy.take())).toBe(true);
  expect(isRotation(copy.take())).toBe(false);
});

describe("replay()", () => {
  const write = (key: string, text: string): Change => ({ key, run: (fields) => fields.set(`=${key}`, text) });
  const append = (key: string, text: string, takesTime: boolean): Change => ({
    key,
    run: (fields) => {
      const put = (): void => fields.set(`=${key}`, `${fields.get(`=${key}`) ?? ""}${text}`);
      return takesTime ? soon(undefined).then(put) : put();
    },
  });

  test("applies changes in their order, and answers at once if none takes time", () => {
    const base = new Map([["=a", "0"]]);
    const view = replay([write("a", "1"), append("a", "2", false), write("b", "3")], new FieldsView(base));
    if (isPromise(view)) throw new Error("It must not take time");
    expect(view.changed).toEqual(
      new Map([
        ["=a", "12"],
        ["=b", "3"],
      ]),
    );
    expect(base.get("=a")).toBe("0");
    expect(replay([], new FieldsView(base))).toMatchObject({ changed: new Map() });
  });

  test.each([[[true, false, true, false]], [[false, true, true, false]], [[false, false, false, true]]])(
    "waits for each change that takes time before the next one: %j",
    async (taking) => {
      const changes = taking.map((takesTime, at) => append("a", String(at), takesTime));
      const view = await replay(changes, new FieldsView(new Map([["=a", "-"]])));
      expect(view.get("=a")).toBe("-0123");
    },
  );
});
