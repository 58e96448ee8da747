import { expect, test } from "vitest";
import { chain, isPromise, recovering } from "../../src/core/maybe_promise.ts";

test("isPromise() asks for `then` alone, so that it knows the promises of another realm and of a database's client", () => {
  // oxlint-disable-next-line unicorn/no-thenable -- that is what such clients give
  const thenable = { then: () => {} };
  expect([Promise.resolve(1), thenable].map((value: unknown) => isPromise(value))).toEqual([true, true]);
  // oxlint-disable-next-line unicorn/no-thenable -- not a promise
  const others = [undefined, null, 1, "then", {}, { then: 1 }, [], () => {}, Object.assign(() => {}, thenable)];
  expect(others.map((value: unknown) => isPromise(value))).toEqual(others.map(() => false));
});

test("chain() passes a value on: at once, or when it comes", async () => {
  expect(chain(1, (value) => value + 1)).toBe(2);
  const later = chain(Promise.resolve(1), (value) => value + 1);
  expect(isPromise(later)).toBe(true);
  expect(await later).toBe(2);
  expect(await chain(1, async (value) => value + 1)).toBe(2);
});

test("recovering() passes a failure to its second function, whether it comes now or later, and a value to nobody", async () => {
  const failure = new Error("no");
  const recover = (error: unknown): string => (error === failure ? "recovered" : "wrong");
  const fail = (): never => {
    throw failure;
  };
  expect(recovering(() => "value", recover)).toBe("value");
  expect(recovering(fail, recover)).toBe("recovered");
  const later = recovering(async () => fail(), recover);
  expect(isPromise(later)).toBe(true);
  expect(await later).toBe("recovered");
  expect(await recovering(async () => "value", recover)).toBe("value");
});
