import fc from "fast-check";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kvSimulator, type KvPutOptions, type SimulatedNamespace } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { startWorker } from "../setup/workerd.ts";

/** The calls of a namespace that both implementations understand. */
type Call =
  | { readonly verb: "get"; readonly key: string; readonly cacheTtl?: number }
  | { readonly verb: "getWithMetadata" | "delete"; readonly key: string }
  | { readonly verb: "put"; readonly key: string; readonly value: string; readonly options: KvPutOptions }
  | { readonly verb: "list"; readonly prefix?: string; readonly limit?: number };

describe("kvSimulator() answers as Workers KV does in workerd", () => {
  let worker: Miniflare;
  let real: SimulatedNamespace;
  beforeAll(async () => {
    worker = await startWorker(new URL("./kv.worker.ts", import.meta.url), { kvNamespaces: ["KV"] });
    real = (await worker.getBindings<{ KV: SimulatedNamespace }>()).KV;
  });
  afterAll(() => worker.dispose());

  async function answerOf(kv: SimulatedNamespace, call: Call): Promise<unknown> {
    try {
      switch (call.verb) {
        case "put":
          return await kv.put(call.key, call.value, call.options);
        case "list":
          return await listed(kv, call);
        case "getWithMetadata": {
          const { value, metadata } = await kv.getWithMetadata(call.key);
          return { value, metadata };
        }
        case "get":
          return await (call.cacheTtl === undefined
            ? kv.get(call.key)
            : kv.get(call.key, { type: "text", cacheTtl: call.cacheTtl }));
        default:
          return await kv.delete(call.key);
      }
    } catch (error) {
      // Compares the status alone. The rest of the message is the vendor's wording.
      return error instanceof Error && (/ failed: (\d+)/.exec(error.message)?.[1] ?? error.name);
    }
  }

  /** All pages of a listing, with only the parts that do not depend on the clock. */
  async function listed(
    kv: SimulatedNamespace,
    { prefix, limit }: { prefix?: string; limit?: number },
  ): Promise<unknown> {
    const parts = [];
    let cursor: string | undefined;
    do {
      const part = await kv.list({
        ...(prefix === undefined ? {} : { prefix }),
        ...(limit === undefined ? {} : { limit }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      parts.push(part.keys.map(({ name, expiration, metadata }) => [name, expiration !== undefined, metadata]));
      cursor = part.list_complete ? undefined : part.cursor;
    } while (cursor !== undefined);
    return parts;
  }

  async function compare(calls: readonly Call[]): Promise<void> {
    for (const { name } of (await real.list()).keys) await real.delete(name);
    const simulated = kvSimulator({ cacheTtl: 0, delay: 0, deleteDelay: 0, writeInterval: 0 }).at("Paris");
    for (const call of calls) {
      const text = JSON.stringify(call).slice(0, 200);
      expect([text, await answerOf(simulated, call)]).toEqual([text, await answerOf(real, call)]);
    }
  }

  const inTwoMinutes = (): number => Math.floor(Date.now() / 1000) + 120;

  test("when limits are met and exceeded", async () => {
    const put = (key: string, value: string, options: KvPutOptions = {}): Call => ({
      verb: "put",
      key,
      value,
      options,
    });
    const key = "k";
    await compare([
      put("x".repeat(512), "1"),
      put("x".repeat(513), "1"),
      put("é".repeat(257), "1"),
      { verb: "get", key: "x".repeat(513) },
      { verb: "delete", key: "x".repeat(513) },
      put("", "1"),
      put(".", "1"),
      put("..", "1"),
      { verb: "get", key: "" },
      put(key, "1", { expirationTtl: 60 }),
      put(key, "2", { expirationTtl: 59 }),
      put(key, "3", { expirationTtl: 0 }),
      put(key, "4", { expirationTtl: -60 }),
      put(key, "5", { expirationTtl: 60.5 }),
      { verb: "get", key },
      { verb: "get", key, cacheTtl: 30 },
      { verb: "get", key, cacheTtl: 29 },
      { verb: "get", key, cacheTtl: 0 },
      put(key, "6", { expiration: inTwoMinutes() }),
      put(key, "7", { expiration: 1 }),
      { verb: "get", key },
      put(key, "8", { metadata: { a: "x".repeat(1016) } }),
      put(key, "9", { metadata: { a: "x".repeat(1017) } }),
      { verb: "getWithMetadata", key },
      put(key, ""),
      { verb: "getWithMetadata", key },
      put("large", "x".repeat(25 * 1024 * 1024)),
      put("large", "x".repeat(25 * 1024 * 1024 + 1)),
      { verb: "delete", key: "missing" },
      { verb: "list" },
      { verb: "list", limit: 1 },
      { verb: "list", limit: 0 },
      { verb: "list", limit: 1001 },
      { verb: "list", prefix: "none" },
    ]);
  });

  test("when calls are random", async () => {
    const key = fc.constantFrom("a", "b", "ba", "Ä", "=c d/?", "session:1");
    const options = fc.record(
      {
        expirationTtl: fc.constantFrom(60, 3600),
        metadata: fc.constantFrom({ a: 1 }, "text", null, [1]),
      },
      { requiredKeys: [] },
    );
    const call: fc.Arbitrary<Call> = fc.oneof(
      fc.record({ verb: fc.constantFrom("getWithMetadata" as const, "delete"), key }),
      fc.record({ verb: fc.constant("get" as const), key, cacheTtl: fc.constantFrom(30, 600) }),
      fc.record({ verb: fc.constant("put" as const), key, value: fc.string({ unit: "grapheme" }), options }),
      fc.record({
        verb: fc.constant("list" as const),
        prefix: fc.constantFrom("", "b", "session:"),
        limit: fc.nat(4).map((n) => n + 1),
      }),
    );
    await fc.assert(fc.asyncProperty(fc.array(call, { maxLength: 30 }), compare), runsOf(40));
  });
});
