import { describe, expect, test } from "vitest";
import { fakeClock, kvSimulator, type KvPutOptions } from "../../src/testing.ts";

/** A whole second. */
const NOW = 1_800_000_000_000;

describe("kvSimulator()", () => {
  test("shows a place what it has read before, misses included, until its cache has forgotten", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now });
    expect(await kv.at("Paris").get("k")).toBeNull();
    await kv.at("Tokyo").put("k", "1");
    expect(await kv.at("Lima").get("k")).toBe("1");
    clock.advance(59);
    await kv.at("Tokyo").put("k", "2");
    expect(await kv.at("Paris").get("k")).toBeNull();
    expect(await kv.at("Lima").get("k")).toBe("1");
    clock.advance(1);
    expect(await kv.at("Paris").get("k")).toBe("2");
    expect(await kv.at("Lima").get("k")).toBe("2");
  });

  test("shows a place its own write at once, and that of another one no later for it", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now });
    await kv.at("Paris").get("k");
    clock.advance(30);
    await kv.at("Paris").put("k", "mine");
    clock.advance(10);
    await kv.at("Tokyo").put("k", "theirs");
    expect(await kv.at("Paris").get("k")).toBe("mine");
    clock.advance(20);
    expect(await kv.at("Paris").get("k")).toBe("theirs");
  });

  test("lets writes and deletions arrive late elsewhere, in their order", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now, cacheTtl: 0, delay: 5, deleteDelay: 20 });
    await kv.at("Paris").put("k", "1");
    expect(await kv.at("Tokyo").get("k")).toBeNull();
    clock.advance(5);
    expect(await kv.at("Tokyo").get("k")).toBe("1");
    await kv.at("Paris").delete("k");
    expect(await kv.at("Paris").get("k")).toBeNull();
    clock.advance(1);
    await kv.at("Lima").put("k", "2");
    clock.advance(18);
    expect(await kv.at("Tokyo").get("k")).toBe("1");
    clock.advance(1);
    expect(await kv.at("Tokyo").get("k")).toBe("2");
  });

  test("takes one write a second for each key, and fails with 429 beyond", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now });
    await kv.at("Paris").put("k", "1");
    clock.advance(0.999);
    await expect(kv.at("Tokyo").put("k", "2")).rejects.toThrow("429");
    await expect(kv.at("Tokyo").delete("k")).rejects.toThrow("429");
    await kv.at("Tokyo").put("another", "2");
    clock.advance(0.001);
    await kv.at("Tokyo").put("k", "2");
    expect(await kv.at("Tokyo").get("k")).toBe("2");
  });

  test("looks for newer data when a read asks for a shorter time in the cache", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now });
    const brief = { type: "text", cacheTtl: 30 } as const;
    await kv.at("Paris").get("k", brief);
    await kv.at("Tokyo").put("k", "1");
    clock.advance(29);
    expect(await kv.at("Paris").get("k", brief)).toBeNull();
    clock.advance(1);
    expect(await kv.at("Paris").get("k")).toBeNull();
    expect(await kv.at("Paris").get("k", brief)).toBe("1");
    await expect(kv.at("Paris").get("k", { cacheTtl: 29 })).rejects.toThrow("400");
  });

  test("drops a value when its time is up, by its own clock", async () => {
    const clock = fakeClock();
    const { get, put, list } = kvSimulator({ now: clock.now }).at("Paris");
    await put("k", "1", { expirationTtl: 60 });
    clock.advance(59);
    expect(await get("k")).toBe("1");
    clock.advance(1);
    expect(await get("k")).toBeNull();
    expect((await list()).keys).toEqual([]);
  });

  test("is one binding for each name", () => {
    const kv = kvSimulator();
    expect(kv.at("Paris")).toBe(kv.at("Paris"));
    expect(kv.at("Paris")).not.toBe(kv.at("Tokyo"));
  });

  test("goes by the time of the machine and the real delays unless it is told otherwise", async () => {
    const kv = kvSimulator();
    await kv.at("Paris").put("k", "1");
    expect(await kv.at("Tokyo").get("k")).toBe("1");
    await expect(kv.at("Paris").delete("k")).rejects.toThrow("429");
    const { put, list } = kvSimulator({ now: () => NOW }).at("Paris");
    await put("k", "1", { expirationTtl: 60 });
    expect((await list()).keys).toEqual([{ name: "k", expiration: NOW / 1000 + 60 }]);
    expect(() => kvSimulator({ interval: 1 } as object)).toThrow("kvSimulator has no option");
  });

  test("shows a place its own deletion at once, also of what it has read", async () => {
    const clock = fakeClock(NOW);
    const { delete: remove, get, put } = kvSimulator({ now: clock.now }).at("Paris");
    await put("k", "1");
    expect(await get("k")).toBe("1");
    clock.advance(1);
    await remove("k");
    expect(await get("k")).toBeNull();
  });

  test("shows each of several writes when it arrives", async () => {
    const clock = fakeClock(NOW);
    const kv = kvSimulator({ now: clock.now, cacheTtl: 0, delay: 5 });
    for (const value of ["1", "2", "3"]) {
      await kv.at("Paris").put("k", value);
      clock.advance(1);
    }
    clock.advance(1);
    expect(await kv.at("Tokyo").get("k")).toBeNull();
    for (const value of ["1", "2", "3", "3"]) {
      clock.advance(1);
      expect(await kv.at("Tokyo").get("k")).toBe(value);
    }
  });

  test("fails with an error that names the call and the status", async () => {
    const { get, put } = kvSimulator().at("Paris");
    const errors = [get("k", { cacheTtl: 1 }), put("k", "1", { expirationTtl: 1 })].map((call) =>
      call.then(String, (error: Error) => [error.name, error.message]),
    );
    expect(await Promise.all(errors)).toEqual([
      ["Error", "KV GET failed: 400 Invalid cache_ttl of 1"],
      ["Error", "KV PUT failed: 400 Invalid expiration_ttl of 1"],
    ]);
  });

  test("shows a deletion after 10 seconds elsewhere, and lets nothing overtake it", async () => {
    const clock = fakeClock(NOW);
    const kv = kvSimulator({ now: clock.now, cacheTtl: 0 });
    await kv.at("Paris").put("k", "1");
    clock.advance(1);
    await kv.at("Paris").delete("k");
    clock.advance(9.999);
    expect(await kv.at("Tokyo").get("k")).toBe("1");
    clock.advance(0.001);
    expect(await kv.at("Tokyo").get("k")).toBeNull();
  });

  test("shows a write over a deletion no earlier than the deletion", async () => {
    const clock = fakeClock(NOW);
    const kv = kvSimulator({ now: clock.now, cacheTtl: 0 });
    await kv.at("Paris").put("k", "1");
    clock.advance(1);
    await kv.at("Paris").delete("k");
    clock.advance(1);
    await kv.at("Paris").put("k", "2");
    expect(await kv.at("Paris").get("k")).toBe("2");
    expect(await kv.at("Tokyo").get("k")).toBe("1");
    clock.advance(9);
    expect(await kv.at("Tokyo").get("k")).toBe("2");
  });

  test("does not renew by its own write what a place has read, nor keep it longer than a minute", async () => {
    const clock = fakeClock(NOW);
    const kv = kvSimulator({ now: clock.now, cacheTtl: 40 });
    await kv.at("Paris").put("k", "mine");
    clock.advance(20);
    await kv.at("Tokyo").put("k", "theirs");
    clock.advance(19.999);
    expect(await kv.at("Paris").get("k")).toBe("mine");
    clock.advance(0.001);
    expect(await kv.at("Paris").get("k")).toBe("theirs");
    // An expired cache entry is gone, so the later write below starts a new one.
    clock.advance(60);
    await kv.at("Paris").put("k", "mine again");
    clock.advance(1);
    await kv.at("Tokyo").put("k", "theirs again");
    clock.advance(38);
    expect(await kv.at("Paris").get("k")).toBe("mine again");
  });

  test.each<[string, string, KvPutOptions, string | null]>([
    ["a key of 512 bytes", "x".repeat(512), {}, null],
    ["a key of 513 bytes", "x".repeat(513), {}, "414"],
    ["a key of 257 letters of two bytes", "é".repeat(257), {}, "414"],
    ["an empty key", "", {}, "Key name"],
    ["the key .", ".", {}, "Key name"],
    ["the key ..", "..", {}, "Key name"],
    ["a time to live of a minute", "k", { expirationTtl: 60 }, null],
    ["a time to live with a fraction", "k", { expirationTtl: 60.5 }, null],
    ["a time to live just below a minute", "k", { expirationTtl: 59.9 }, "400"],
    ["no time to live", "k", { expirationTtl: 0 }, "400"],
    ["a time to live that is no number", "k", { expirationTtl: NaN }, "400"],
    ["an end in a minute", "k", { expiration: NOW / 1000 + 60 }, null],
    ["an end in less than a minute", "k", { expiration: NOW / 1000 + 59.9 }, "400"],
    ["an end that is no number", "k", { expiration: NaN }, "400"],
    ["metadata of 1 024 bytes", "k", { metadata: { a: "x".repeat(1016) } }, null],
    ["metadata of 1 025 bytes", "k", { metadata: { a: "x".repeat(1017) } }, "413"],
  ])("takes or refuses as the real one does: %s", async (_what, key, options, refusal) => {
    const clock = fakeClock(NOW + 999);
    const { get, getWithMetadata, put, delete: remove } = kvSimulator({ now: clock.now }).at("Paris");
    if (refusal === null) {
      await put(key, "1", options);
      expect(await get(key)).toBe("1");
      return;
    }
    await expect(put(key, "1", options)).rejects.toThrow(refusal);
    if (key !== "k") {
      await expect(get(key)).rejects.toThrow(refusal);
      await expect(getWithMetadata(key)).rejects.toThrow(refusal);
      await expect(remove(key)).rejects.toThrow(refusal);
    } else expect(await get(key)).toBeNull();
  });

  test("takes values of 25 MiB, and refuses larger ones", async () => {
    const { put } = kvSimulator({ writeInterval: 0 }).at("Paris");
    const most = "x".repeat(25 * 1024 * 1024);
    await put("k", most);
    await expect(put("k", `${most}x`)).rejects.toThrow("413");
  });

  test("keeps metadata beside a value, and answers null where there is none", async () => {
    const { getWithMetadata, put } = kvSimulator({ writeInterval: 0 }).at("Paris");
    expect(await getWithMetadata("k")).toEqual({ value: null, metadata: null });
    await put("k", "1", { metadata: [1] });
    expect(await getWithMetadata("k")).toEqual({ value: "1", metadata: [1] });
    for (const metadata of [null, undefined]) {
      await put("k", "2", { metadata });
      expect(await getWithMetadata("k")).toEqual({ value: "2", metadata: null });
    }
  });

  test("drops a value at the end that it was given, in whole seconds", async () => {
    const clock = fakeClock(NOW + 500);
    const { get, list, put } = kvSimulator({ now: clock.now, cacheTtl: 3600 }).at("Paris");
    await put("end", "1", { expiration: NOW / 1000 + 90.7, expirationTtl: 3600 });
    await put("ttl", "1", { expirationTtl: 80.7 });
    await put("never", "1");
    expect((await list()).keys).toEqual([
      { name: "end", expiration: NOW / 1000 + 90 },
      { name: "never" },
      { name: "ttl", expiration: NOW / 1000 + 80 },
    ]);
    clock.advance(79.499);
    expect(await get("ttl")).toBe("1");
    clock.advance(0.001);
    expect([await get("ttl"), await get("end")]).toEqual([null, "1"]);
    expect((await list()).keys.map(({ name }) => name)).toEqual(["end", "never"]);
    clock.advance(10);
    expect([await get("end"), await get("never")]).toEqual([null, "1"]);
  });

  test("lists names in order, a part at a time, with what is kept beside them", async () => {
    const clock = fakeClock(NOW);
    const kv = kvSimulator({ now: clock.now, delay: 5 });
    const { delete: remove, list, put } = kv.at("Paris");
    for (const name of ["b", "c", "ba", "a"]) await put(name, "1", name === "ba" ? { metadata: { m: 1 } } : {});
    expect(await list()).toStrictEqual({
      keys: [{ name: "a" }, { name: "b" }, { name: "ba", metadata: { m: 1 } }, { name: "c" }],
      list_complete: true,
    });
    expect(await list({ limit: 3 })).toEqual({
      keys: [{ name: "a" }, { name: "b" }, { name: "ba", metadata: { m: 1 } }],
      list_complete: false,
      cursor: "ba",
    });
    expect(await list({ limit: 3, cursor: "a" })).toEqual({
      keys: [{ name: "b" }, { name: "ba", metadata: { m: 1 } }, { name: "c" }],
      list_complete: true,
    });
    expect((await list({ prefix: "b" })).keys.map(({ name }) => name)).toEqual(["b", "ba"]);
    expect((await list({ prefix: null, cursor: null, limit: 4 })).list_complete).toBe(true);
    expect(await kv.at("Tokyo").list()).toEqual({ keys: [], list_complete: true });
    clock.advance(5);
    await remove("a");
    expect((await list()).keys.map(({ name }) => name)).toEqual(["b", "ba", "c"]);
    expect((await kv.at("Tokyo").list()).keys.map(({ name }) => name)).toEqual(["a", "b", "ba", "c"]);
  });

  test("lists at most 1 000 names at once", async () => {
    const { list, put } = kvSimulator().at("Paris");
    for (let n = 0; n < 1001; n++) await put(`${n}`, "1");
    for (const limit of [undefined, 0, 1000]) {
      const { keys, list_complete } = await list(limit === undefined ? {} : { limit });
      expect([keys.length, list_complete]).toEqual([1000, false]);
    }
    await expect(list({ limit: 1001 })).rejects.toThrow("400");
    await expect(list({ limit: -1 })).rejects.toThrow("400");
  });
});
