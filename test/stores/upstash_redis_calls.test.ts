import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { SCRIPT } from "../../src/stores/redis/commands.ts";
import { CALL, unmark } from "../../src/stores/redis/marked_call.ts";
import { type UpstashRedisClient, upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { failureOf } from "./databases/steps.ts";
import { changing, creation, fieldsOf, key, present, recordOf } from "./redis_records.ts";

// The calls that upstashRedisStore() makes on its client, and how it treats the answers, without a server. upstash_redis.test.ts uses the
// real client.

const name = `session:${key}`;
const known = { ...recordOf({ "=a": "1" }), version: "v1" };

/** A client whose answers come from `answer`, and a list of its calls. */
function clientOf(answer: (call: unknown[]) => unknown): {
  readonly client: UpstashRedisClient;
  readonly asked: unknown[][];
} {
  const asked: unknown[][] = [];
  const ask = async (...call: unknown[]) => {
    asked.push(call);
    return await answer(call);
  };
  return {
    asked,
    client: {
      exec: (command) => ask("exec", ...command),
      evalsha: (digest, keys, args) => ask("evalsha", digest, keys, args),
    },
  };
}

function answering(reply: unknown, options: Parameters<typeof upstashRedisStore>[1] = {}): SessionStore {
  return upstashRedisStore(clientOf(() => reply).client, options);
}

function failing(message: string): SessionStore {
  return upstashRedisStore(
    clientOf(() => {
      throw new Error(message);
    }).client,
  );
}

describe("upstashRedisStore()", () => {
  test("sends each verb as a script, by its digest", async () => {
    const { client, asked } = clientOf(([, digest]) => (digest === SCRIPT.digest ? 1 : ["!OK"]));
    const store = upstashRedisStore(client);
    const first = await store.save(key, creation({ "=a": "1" }));
    const second = await store.save(key, changing(known, { "=a": "2" }));
    await store.load(key);
    await store.delete(key, "v1");
    await failureOf(() => store.delete(key));
    expect(asked).toEqual([
      ["evalsha", CALL.digest, [name], ["SET", `${String(first)} 11700000000000\n=a\n1`, "NX", "PX", "60000"]],
      ["evalsha", SCRIPT.digest, [name], ["", "v1 ", `${String(second)} 11700000000000\n=a\n2`, "60000"]],
      ["evalsha", CALL.digest, [name], ["GET"]],
      ["evalsha", SCRIPT.digest, [name], ["", "v1 "]],
      ["evalsha", CALL.digest, [name], ["DEL"]],
    ]);
  });

  test("finds a record as text, or as a hash", async () => {
    expect(await answering([]).load(key)).toBeNull();
    expect(await answering([], { layout: "hash" }).load(key)).toBeNull();
    const value = await present(answering(["!v1 11700000000000\n=a\n!1"]));
    const hash = await present(answering(["!!", "!v1 1700000000000", "!=a", "!!1"], { layout: "hash" }));
    for (const found of [value, hash]) {
      expect(found).toMatchObject({ version: "v1", lastSeenAt: 1_700_000_000_000 });
      expect(fieldsOf(found)).toEqual({ "=a": "!1" });
    }
  });

  test("takes the answers of a write", async () => {
    expect(await answering(["!OK"]).save(key, creation({ "=a": "1" }))).toMatch(/^write-/);
    expect(await answering([]).save(key, creation({ "=a": "1" }))).toBe("conflict");
    expect(await answering(1).save(key, changing(known, { "=a": "2" }))).toMatch(/^write-/);
    expect(await answering(0).save(key, changing(known, { "=a": "2" }))).toBe("conflict");
    expect(await answering(["!1"]).delete(key)).toBeUndefined();
    expect(await answering(["!0"]).delete(key)).toBeUndefined();
    expect(await answering(1).delete(key, "v1")).toBeUndefined();
    expect(await answering(0).delete(key, "v1")).toBe("conflict");
  });

  test("sends a script as text where the database does not have it", async () => {
    const { client, asked } = clientOf(([verb]) => {
      if (verb === "evalsha") throw new Error("Command failed: NOSCRIPT No matching script");
      return ["!v1 11700000000000\n=a\n1"];
    });
    expect(await present(upstashRedisStore(client))).toMatchObject({ version: "v1" });
    expect(asked).toEqual([
      ["evalsha", CALL.digest, [name], ["GET"]],
      ["exec", "EVAL", CALL.text, "1", name, "GET"],
    ]);
  });

  test("sends a command of more than 4096 characters in a request of its own", async () => {
    const { client, asked } = clientOf(() => 1);
    const store = upstashRedisStore(client);
    const write = changing(known, {});
    const beside = `v1 ${write.id}.0 11700000000000\n=a\n60000`.length;
    const fitting = "x".repeat(4096 - beside);
    await store.save(key, changing(known, { "=a": fitting }));
    await store.save(key, changing(known, { "=a": `${fitting}x` }));
    const value = expect.stringMatching(/^write-\S+ 11700000000000\n=a\nx+$/);
    expect(asked).toEqual([
      ["evalsha", SCRIPT.digest, [name], ["", "v1 ", value, "60000"]],
      ["exec", "EVALSHA", SCRIPT.digest, "1", name, "", "v1 ", value, "60000"],
    ]);
    expect(String(Object(asked[0]?.[3])[2]).length + "v1 60000".length).toBe(4096);
  });

  test("takes an answer that no script gives for a failure", async () => {
    for (const reply of [undefined, null, "", "OK", "!1", 1, {}, ["1"], ["!1", "1"], [null], [1], { 0: "!1" }]) {
      const store = answering(reply);
      expect(String(await failureOf(() => store.load(key))), JSON.stringify(reply)).toContain("without meaning");
      await failureOf(() => store.save(key, creation({ "=a": "1" })));
      await failureOf(() => store.delete(key));
    }
  });

  test("says that it is busy when it may send no more for now, by the server's own words", async () => {
    const busy = [
      "HTTP 429",
      "429",
      "Too Many Requests",
      "ERR max requests limit exceeded. Limit: 10000, Usage: 10001.",
      "ERR request limit",
      "Rate limit exceeded",
      "rate-limited",
      'Command failed:\ntoo many requests, command was: ["set","x"]',
    ];
    const other = [
      "HTTP 500",
      "ERR 14290",
      "4291",
      "1429",
      "ratelimit",
      "requests  limit",
      'ERR broken, command was: ["set","429 too many requests"]',
      'ERR broken\n, command was: ["set",\n"429"]',
    ];
    for (const message of [...busy, ...other]) {
      const store = failing(message);
      for (const call of [
        () => store.load(key),
        () => store.save(key, creation({ "=a": "1" })),
        () => store.save(key, changing(known, { "=a": "2" })),
        () => store.delete(key),
        () => store.delete(key, "v1"),
      ]) {
        const error = await failureOf(call);
        expect(isBusy(error), message).toBe(busy.includes(message));
        if (!isBusy(error)) expect(error).toEqual(new Error(message));
      }
    }
  });

  test("counts a record as the JSON string that it is in the request", async () => {
    const { client, asked } = clientOf(() => ["!OK"]);
    const store = upstashRedisStore(client);
    expect(store.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 9_990_000 });
    const write = creation({ "=a": "" });
    // A line break takes two bytes, and so does a quote. Two more quotes enclose the text.
    const beside = `${write.id}.0 11700000000000nn=ann""`.length;
    const fitting = `é${'"'.repeat(1_000_000)}${"x".repeat(9_990_000 - 2_000_002 - beside)}`;
    expect(await store.save(key, creation({ "=a": fitting }))).not.toBe("conflict");
    expect(asked).toHaveLength(1);
    const error = await failureOf(() => store.save(key, creation({ "=a": `${fitting}x` })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("9990001 bytes") });
    expect(asked).toHaveLength(1);
  });

  test("throws when it is given no client", () => {
    const { exec, evalsha } = clientOf(() => 1).client;
    expect(() => upstashRedisStore({ exec, evalsha })).not.toThrow();
    for (const none of [undefined, null, {}, "https://example.com", { exec }, { evalsha }] as unknown[]) {
      // @ts-expect-error Not one of them is a client.
      expect(() => upstashRedisStore(none)).toThrow(/needs the Redis client of @upstash\/redis/);
    }
  });
});

test("the digest of a script is that of its text", () => {
  for (const { digest, text } of [CALL, SCRIPT]) expect(createHash("sha1").update(text).digest("hex")).toBe(digest);
});

test("unmark() takes one mark from each string", () => {
  expect(unmark([])).toEqual([]);
  expect(unmark(["!", "!!", "!a!"])).toEqual(["", "!", "a!"]);
});
