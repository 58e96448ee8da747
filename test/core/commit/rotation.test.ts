import { expect, test } from "vitest";
import { hasGrace, isRotation } from "../../../src/core/commit/rotation.ts";
import { WorkingCopy } from "../../../src/core/working_copy.ts";

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
