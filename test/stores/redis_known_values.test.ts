import { expect, test } from "vitest";
import { knownValues } from "../../src/stores/redis/known_values.ts";

const HEAD = "v1 ";

/** The known values of a process, and the keys that it has replaced with one command. */
function opened() {
  const replaced: string[] = [];
  const known = knownValues(async (_command, key) => {
    replaced.push(key);
    return "OK";
  });
  /** Whether the value under a key is known. */
  const knows = async (key: string): Promise<boolean> => (await known.replace(key, HEAD, "v2 ", "1000")) === true;
  const keep = (from: number, to: number): void => {
    for (let n = from; n < to; n++) known.keep(`key ${n}`, `${HEAD}${n}`);
  };
  return { known, knows, keep, replaced };
}

test("the last 500 values are known at least, and twice as many at most", async () => {
  const { knows, keep, replaced } = opened();
  keep(0, 1000);
  expect([await knows("key 0"), await knows("key 999")]).toEqual([true, true]);
  keep(1000, 1001);
  expect([await knows("key 0"), await knows("key 501"), await knows("key 1000")]).toEqual([false, true, true]);
  expect(replaced).toEqual(["key 0", "key 999", "key 501", "key 1000"]);
});

test.each([
  ["is longer than a script costs", `${HEAD}${"a".repeat(4096)}`],
  ["holds bytes that are no text", `${HEAD}\ufffd`],
])("a value is not known that %s, nor the one before it", async (_what, value) => {
  const { known, knows, keep, replaced } = opened();
  keep(0, 501);
  for (const key of ["key 0", "key 500"]) {
    known.keep(key, value);
    expect(await knows(key)).toBe(false);
  }
  expect(replaced).toEqual([]);
});
