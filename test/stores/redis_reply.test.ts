import { expect, test } from "vitest";
import { hasMessage, isDone, textOf } from "../../src/stores/redis/reply.ts";

test("a reply that means nothing is an error that says so", () => {
  const nonsense = expect.objectContaining({ message: expect.stringContaining("answer without meaning") });
  for (const reply of [undefined, {}, true]) expect(() => textOf(reply)).toThrow(nonsense);
  for (const reply of ["QUEUED", null, 2]) expect(() => isDone(reply, "1", "0")).toThrow(nonsense);
});

test("hasMessage() looks at the message of what was thrown, whatever that is", () => {
  for (const thrown of [new Error("ERR syntax"), { message: "ERR syntax" }, { message: { toString: () => "ERR" } }])
    expect(hasMessage(thrown, /^ERR/)).toBe(true);
  for (const thrown of [undefined, null, "ERR syntax", 1, {}, { code: "ERR" }, new Error("OOM ERR")])
    expect(hasMessage(thrown, /^(?:ERR|undefined)/)).toBe(false);
});
