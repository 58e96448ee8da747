import { expect, test } from "vitest";
import { isUnderWay, reasonOfRetired } from "../../../src/core/store_repository/retired_id.ts";

const RETIRED_AT = 1_800_000_000_000;

test.each([
  [0, true],
  [59_999, true],
  [60_000, false],
  [-5, true],
])("a request that comes %i ms after its id was retired may have been under way: %s", (age, isSo) => {
  expect(isUnderWay(RETIRED_AT, RETIRED_AT + age)).toBe(isSo);
  expect(reasonOfRetired(RETIRED_AT, RETIRED_AT + age)).toBe(isSo ? "replaced" : "retired");
});
