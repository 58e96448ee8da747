import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, expect, test, vi } from "vitest";
import { keepContext } from "../../src/core/runtime.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

test("keepContext() runs a function in the async context in which it was called", () => {
  const context = new AsyncLocalStorage<string>();
  const within = context.run("outer", () => keepContext());
  expect(context.run("inner", () => within(() => context.getStore()))).toBe("outer");
});

test.each<[string, (() => unknown) | undefined]>([
  ["nothing tells a runtime's modules", undefined],
  ["there is no such module", () => undefined],
  ["the module has no contexts", () => ({})],
  [
    "a bundler put functions there that throw",
    () => {
      throw new Error("Not implemented");
    },
  ],
])("keepContext() runs a function as it is when %s", async (_when, getBuiltinModule) => {
  const runtime: { getBuiltinModule?: unknown } = process;
  vi.spyOn(runtime, "getBuiltinModule", "get").mockReturnValue(getBuiltinModule);
  const fresh = await import("../../src/core/runtime.ts");
  expect(fresh.keepContext()(() => "done")).toBe("done");
});
