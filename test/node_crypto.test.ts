import { afterEach, describe, expect, test, vi } from "vitest";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

/** What `nodeCrypto` finds in a process that has just begun, where node:crypto is as `getBuiltinModule` has it. */
async function foundWhere(getBuiltinModule: (() => unknown) | undefined): Promise<unknown> {
  vi.resetModules();
  const runtime: { getBuiltinModule?: unknown } = process;
  vi.spyOn(runtime, "getBuiltinModule", "get").mockReturnValue(getBuiltinModule);
  const { nodeCrypto } = await import("../src/node_crypto.ts");
  return nodeCrypto();
}

describe("nodeCrypto()", () => {
  test("is Node's crypto, and looked for once", async () => {
    vi.resetModules();
    const look = vi.spyOn(process, "getBuiltinModule");
    const { nodeCrypto } = await import("../src/node_crypto.ts");
    expect(look).not.toHaveBeenCalled();
    const found = nodeCrypto();
    expect(found?.hash("sha256", "")).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect(nodeCrypto()).toBe(found);
    expect(look).toHaveBeenCalledTimes(1);
  });

  test.each<[string, (() => unknown) | undefined]>([
    ["nothing tells a runtime's modules", undefined],
    ["there is no such module", () => undefined],
    [
      "a bundler put functions there that throw",
      () => {
        throw new Error("Not implemented");
      },
    ],
    ["it has no hash of one call", () => ({})],
    [
      "its hash only throws",
      () => ({
        hash: () => {
          throw new Error("Not implemented");
        },
      }),
    ],
    ["its hash is another one", () => ({ hash: () => "abc" })],
  ])("is nothing when %s", async (_when, getBuiltinModule) => {
    expect(await foundWhere(getBuiltinModule)).toBeNull();
  });
});
