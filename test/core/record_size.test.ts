import { expect, test } from "vitest";
import { assertRecordSize, byteLength } from "../../src/core/record_size.ts";
import { errorOf } from "../setup/sessions.ts";

test("assertRecordSize() takes as many bytes as the engine does, and refuses one more before anything is sent", async () => {
  expect(() => assertRecordSize("Toy", 60, 60)).not.toThrow();
  expect(() => assertRecordSize("Toy", 0, 60)).not.toThrow();
  const { code, message } = await errorOf(() => assertRecordSize("Toy", 61, 60));
  expect(code).toBe("ERR_RECORD_TOO_LARGE");
  expect(message).toContain("61 bytes, Toy accepts 60");
});

test.each([
  ["", 0],
  ["abc", 3],
  ["é€😀", 9],
])("byteLength() counts the bytes of %j as engines do", (text, bytes) => {
  expect(byteLength(text)).toBe(bytes);
});
