import { AsyncLocalStorage } from "node:async_hooks";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { ROOT } from "../setup/command.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  vi.resetModules();
});

test("keepContext() runs a function in the async context in which it was called", async () => {
  vi.resetModules();
  const { keepContext } = await import("../../src/core/runtime.ts");
  const context = new AsyncLocalStorage<string>();
  const within = context.run("outer", () => keepContext());
  expect(context.run("inner", () => within(() => context.getStore()))).toBe("outer");
});

test.each<[string, (() => unknown) | undefined]>([
  ["nothing tells a runtime's modules", undefined],
  ["there is no such module", () => undefined],
  ["the module has no contexts", () => ({})],
  ["the contexts cannot be kept", () => ({ AsyncLocalStorage: {} })],
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
  const variable = fresh.asyncVariable<number>();
  const seen: unknown[] = [];
  variable.run(1, () => void seen.push(variable.getStore()));
  expect(seen).toEqual([undefined]);
});

test("asyncVariable() has its value in a function and in what it starts, and nowhere else", async () => {
  const { asyncVariable } = await import("../../src/core/runtime.ts");
  const variable = asyncVariable<number>();
  const { promise, resolve } = Promise.withResolvers<unknown>();
  variable.run(1, () => void setImmediate(() => resolve(variable.getStore())));
  expect([variable.getStore(), await promise]).toEqual([undefined, 1]);
});

test.each<[unknown, { readonly sharesPromises: boolean; readonly closesUpgradedRequests: boolean }]>([
  [{ userAgent: "Node.js/24" }, { sharesPromises: true, closesUpgradedRequests: false }],
  [{ userAgent: "Cloudflare-Workers" }, { sharesPromises: false, closesUpgradedRequests: false }],
  [{ userAgent: "Deno/2.5.0" }, { sharesPromises: true, closesUpgradedRequests: true }],
  [{ userAgent: "Mozilla/5.0 (like Deno)" }, { sharesPromises: true, closesUpgradedRequests: false }],
  [{}, { sharesPromises: true, closesUpgradedRequests: false }],
  [undefined, { sharesPromises: true, closesUpgradedRequests: false }],
])("a runtime whose navigator is %j is known by what it can do", async (navigator, expected) => {
  vi.resetModules();
  vi.stubGlobal("navigator", navigator);
  const fresh = await import("../../src/core/runtime.ts");
  // The module looks at the runtime only once.
  expect([fresh.sharesPromises(), fresh.closesUpgradedRequests()]).toEqual(Object.values(expected));
});

// With Vite 7, `@vitejs/plugin-rsc`, which Waku uses, puts a `require` in front of each module with this text. It takes the module for React's own.
test("no file has the text by which a bundler recognises React's server code", () => {
  const files = globSync("{mod.ts,src/**/*.ts}", { cwd: ROOT });
  expect(files.length).toBeGreaterThan(50);
  expect(files.filter((file) => readFileSync(join(ROOT, file), "utf8").includes("typeof AsyncLocalStorage"))).toEqual(
    [],
  );
});
