import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Kv, openKv } from "@deno/kv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import { SessionManager } from "../../mod.ts";
import type { SessionStore } from "../../src/store.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";
import { storeCases } from "../../src/testing.ts";

let folder: string;
let kv: Kv;
let isOpen: boolean;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "with-session-deno-kv-"));
});
beforeEach(async () => {
  kv = await openKv(":memory:");
  isOpen = true;
});
afterEach(() => {
  vi.useRealTimers();
  if (isOpen) kv.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const key = "0123456789abcdef".repeat(4);
const other = "fedcba9876543210".repeat(4);
const now = Date.now();
const later = now + 60_000;

function recordOf(fields: Record<string, string>, lastSeenAt = now) {
  return { fields: new Map(Object.entries(fields)), lastSeenAt };
}

function changeTo(fields: Record<string, string>) {
  return { record: recordOf(fields), changed: new Map(Object.entries(fields)) };
}

async function present(store: SessionStore) {
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("There is no record");
  return loaded;
}

type Commit = () => ReturnType<ReturnType<DenoKv["atomic"]>["commit"]>;

/** The same database, each call of which is heard, and each commit left to a function. */
function through(hears: (call: string) => void, commits: (commit: Commit) => ReturnType<Commit>): DenoKv {
  return {
    get(path) {
      hears("get");
      return kv.get([...path]);
    },
    atomic() {
      const operation: ReturnType<DenoKv["atomic"]> = kv.atomic();
      const commit = operation.commit.bind(operation);
      operation.commit = () => {
        hears("commit");
        return commits(commit);
      };
      return operation;
    },
  };
}

/** The same database, whose commits are left to a function; which runs the whole operation as often as it likes. */
function committing(commits: (commit: Commit) => ReturnType<Commit>): SessionStore {
  return denoKvStore(through(() => {}, commits));
}

/** A store whose every write is sent twice, as when the first answer was lost; and what happens in between. */
function repeating(between: () => Promise<void> = async () => {}): SessionStore {
  return committing(async (commit) => {
    await commit();
    await between();
    return await commit();
  });
}

async function increment(store: SessionStore) {
  const { fields, version } = await present(denoKvStore(kv));
  return await store.change(key, changeTo({ count: `${Number(fields.get("count")) + 1}` }), version, later);
}

for (const place of ["in memory", "on a file"]) {
  describe(`denoKvStore() ${place}`, () => {
    for (const { name, run } of storeCases()) {
      test(name, async () => {
        const opened = await openKv(place === "in memory" ? ":memory:" : join(folder, "kit.db"));
        let fails = false;
        await run(() => ({
          store: denoKvStore(opened),
          neighbour: denoKvStore(opened, { prefix: ["other", 1] }),
          fail: () => {
            fails = true;
            opened.close();
          },
          close: () => {
            if (!fails) opened.close();
          },
        }));
      });
    }
  });
}

test("denoKvStore() needs one call for a load and for each write", async () => {
  let calls: string[] = [];
  const store = denoKvStore(
    through(
      (call) => calls.push(call),
      (commit) => commit(),
    ),
  );
  const callsOf = async (step: () => Promise<unknown>) => {
    calls = [];
    await step();
    return calls;
  };
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  expect(await callsOf(() => store.create(key, recordOf({ a: "1" }), later))).toEqual(["commit"]);
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  const created = await present(store);
  expect(await callsOf(() => store.change(key, changeTo({ a: "2" }), created.version, later))).toEqual(["commit"]);
  const changed = await present(store);
  expect(await callsOf(() => store.touch(key, now + 1, later, changed))).toEqual(["commit"]);
  const { version } = await present(store);
  expect(await callsOf(() => store.delete(key, version))).toEqual(["commit"]);
  expect(await callsOf(() => store.delete(key))).toEqual(["commit"]);
  expect(await store.load(key)).toBeNull();
});

test("denoKvStore() keeps each record under the prefix, of one part or of several", async () => {
  await denoKvStore(kv).create(key, recordOf({ a: "1" }), later);
  await denoKvStore(kv, { prefix: "shop" }).create(key, recordOf({ a: "1" }), later);
  await denoKvStore(kv, { prefix: ["shop", 7, true] }).create(key, recordOf({ a: "1" }), later);
  const keys: unknown[] = [];
  for await (const entry of kv.list({ prefix: [] })) keys.push(entry.key);
  expect(keys).toEqual([
    ["shop", key],
    ["shop", 7, true, key],
    ["with-session", key],
  ]);
});

test("denoKvStore() gives every write the time that the record has left", async () => {
  const lives: unknown[] = [];
  const store = denoKvStore({
    get: (path) => kv.get([...path]),
    atomic() {
      const operation: ReturnType<DenoKv["atomic"]> = kv.atomic();
      const set = operation.set.bind(operation);
      operation.set = (path, value, options) => {
        lives.push(options.expireIn);
        return set(path, value, options);
      };
      return operation;
    },
  });
  await store.create(key, recordOf({ a: "1" }), now + 1000);
  const created = await present(store);
  await store.change(key, changeTo({ a: "2" }), created.version, now + 2000.5);
  await store.touch(key, now + 500, now + 3500, await present(store));
  await store.create(other, recordOf({ a: "1" }), now - 1);
  expect(lives).toEqual([1000, 2001, 3000, 1]);
});

test("denoKvStore() refuses a record larger than 65 536 bytes before any call, whatever its characters", async () => {
  const calls: string[] = [];
  const store = denoKvStore(
    through(
      (call) => calls.push(call),
      (commit) => commit(),
    ),
  );
  for (const [letter, bytes] of [
    ["x", 1],
    ["é", 2],
    ["漢", 3],
    ["😀", 4],
  ] as const) {
    await store.create(key, recordOf({ a: "" }), later);
    const empty = (await kv.get<Uint8Array>(["with-session", key])).value?.length ?? 0;
    await store.delete(key);
    const most = Math.floor((65_536 - empty) / bytes);

    await store.create(key, recordOf({ a: letter.repeat(most) }), later);
    expect((await present(store)).fields.get("a")).toBe(letter.repeat(most));
    for (let i = 0; i < 10; i++) await store.touch(key, now, later, await present(store));
    const before = await present(store);
    calls.length = 0;
    const large = { a: letter.repeat(most + 1) };
    const refusal = {
      code: "ERR_RECORD_TOO_LARGE",
      message: expect.stringMatching(/655\d\d bytes, Deno KV takes 65536$/),
    };
    await expect(store.create(other, recordOf(large), later)).rejects.toMatchObject(refusal);
    await expect(store.change(key, changeTo(large), before.version, later)).rejects.toMatchObject(refusal);
    expect(calls).toEqual([]);
    expect(await present(store)).toEqual(before);
    await store.delete(key);
  }
  await expect(kv.set(["a"], new Uint8Array(65_537))).rejects.toThrow();
});

test("denoKvStore() takes what is not its own for a corrupt record, which no creation overwrites", async () => {
  const store = denoKvStore(kv);
  const bytes = (text: string) => new TextEncoder().encode(text);
  for (const value of [
    "text",
    5,
    { a: 1 },
    bytes(""),
    bytes("[1,{}]"),
    bytes("0123abcd\nnot JSON"),
    new Uint8Array([255, 10, 255]),
  ]) {
    await kv.set(["with-session", key], value);
    const loaded = await present(store);
    expect(loaded.fields.size).toBe(0);
    expect(await store.create(key, recordOf({ a: "1" }), later)).toBe("taken");
    expect(await present(store)).toEqual(loaded);
    expect(await store.delete(key, loaded.version)).toBeUndefined();
    expect(await store.load(key)).toBeNull();
  }
});

test("denoKvStore() repeats a commit while another process holds the lock of the file", async () => {
  kv.close();
  const file = join(folder, "locked.db");
  kv = await openKv(file);
  const holding = `
    const { DatabaseSync } = require("node:sqlite");
    const db = new DatabaseSync(${JSON.stringify(file)});
    process.on("message", (sql) => { db.exec(sql); process.send(sql); });
  `;
  const holder = spawn(process.execPath, ["-e", holding], { stdio: ["ignore", "inherit", "ignore", "ipc"] });
  const tell = async (sql: string) => {
    holder.send(sql);
    await once(holder, "message");
  };
  let failures = 0;
  const store = committing(async (commit) => {
    try {
      return await commit();
    } catch (error) {
      if (++failures === 3) await tell("COMMIT");
      throw error;
    }
  });
  const whileLocked = async <T>(step: () => Promise<T>): Promise<T> => {
    failures = 0;
    await tell("BEGIN IMMEDIATE");
    const answer = await step();
    expect(failures).toBe(3);
    return answer;
  };

  const version = await whileLocked(() => store.create(key, recordOf({ count: "0" }), later));
  expect((await present(store)).version).toBe(version);
  const changed = await whileLocked(() => increment(store));
  expect(await present(store)).toEqual({ ...recordOf({ count: "1" }), version: changed });
  const before = await present(store);
  expect(await whileLocked(() => store.touch(key, now + 5, later, before))).toBe(true);
  expect((await present(store)).lastSeenAt).toBe(now + 5);
  const { version: touched } = await present(store);
  expect(await whileLocked(() => store.delete(key, touched))).toBeUndefined();
  expect(await store.load(key)).toBeNull();
  holder.kill();
});

test("denoKvStore() repeats a commit that failed without being done", async () => {
  let commits = 0;
  const store = committing(async (commit) => {
    if (++commits % 2 === 1) throw new Error("not this time");
    return await commit();
  });
  expect(await store.create(key, recordOf({ count: "0" }), later)).toBe((await present(store)).version);
  expect(await increment(store)).toBe((await present(store)).version);
  expect(await store.delete(key)).toBeUndefined();
  expect(await store.load(key)).toBeNull();
  expect(commits).toBe(6);
});

test("denoKvStore() gives up with the engine's error when commits keep failing", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  let commits = 0;
  const store = committing(async () => {
    throw new Error(`failure ${++commits}`);
  });
  await denoKvStore(kv).create(key, recordOf({ a: "1" }), later);
  const { version } = await present(store);
  for (const write of [
    () => store.create(other, recordOf({ a: "1" }), later),
    () => store.change(key, changeTo({ a: "2" }), version, later),
    () => store.delete(key),
    () => store.delete(key, version),
  ]) {
    commits = 0;
    const rejection = write().then(() => "done", String);
    while (commits < 40) {
      // Reads are real, so that timers come into being between turns of the real event loop.
      await new Promise(setImmediate);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(await rejection).toBe("Error: failure 40");
  }
  expect(await present(store)).toEqual({ ...recordOf({ a: "1" }), version });
});

test("denoKvStore() takes a commit for done that failed after it was done", async () => {
  const store = committing(async (commit) => {
    await commit();
    throw new Error("no answer");
  });
  expect(await store.create(key, recordOf({ count: "0" }), later)).toBe((await present(store)).version);
  expect(await increment(store)).toBe((await present(store)).version);
  expect(await store.touch(key, now + 1, later, await present(store))).toBe(true);
  expect(await present(store)).toMatchObject(recordOf({ count: "1" }, now + 1));
  expect(await store.delete(key, (await present(store)).version)).toBeUndefined();
  expect(await store.load(key)).toBeNull();
  await denoKvStore(kv).create(key, recordOf({ count: "0" }), later);
  expect(await store.delete(key)).toBeUndefined();
  expect(await store.load(key)).toBeNull();
});

test("denoKvStore() does a write once when the client sends it again, other writes between or not", async () => {
  expect(await repeating().create(key, recordOf({ count: "0" }), later)).toBe((await present(denoKvStore(kv))).version);
  expect(await increment(repeating())).toBe((await present(denoKvStore(kv))).version);
  expect(await present(denoKvStore(kv))).toMatchObject(recordOf({ count: "1" }));

  let others = 0;
  const interrupted = repeating(async () => {
    for (; others < 7; others++) await increment(denoKvStore(kv));
  });
  const version = await increment(interrupted);
  expect(version).not.toBe("conflict");
  expect(await present(denoKvStore(kv))).toMatchObject(recordOf({ count: "9" }));
  // The version that was answered is that of a state which the others have replaced.
  expect(await denoKvStore(kv).change(key, changeTo({ count: "0" }), version, later)).toBe("conflict");
  expect(await denoKvStore(kv).delete(key, version)).toBe("conflict");
});

test("denoKvStore() answers a conflict when another write has the same content", async () => {
  const store = denoKvStore(kv);
  const version = await store.create(key, recordOf({ count: "0" }), later);
  expect(await store.change(key, changeTo({ count: "1" }), version, later)).not.toBe("conflict");
  expect(await store.change(key, changeTo({ count: "1" }), version, later)).toBe("conflict");
});

test("denoKvStore() counts every one of 1 000 updates at once", async () => {
  const sessions = new SessionManager<{ count: number }>({ store: denoKvStore(kv), storeTimeout: 120 });
  const session = sessions.start(new Request("http://localhost/"));
  session.set("count", 0);
  await session.save();
  const id = (await session.id()) ?? "";
  await Promise.all(
    Array.from({ length: 1000 }, async () => {
      const opened = sessions.open(id);
      await opened.update("count", (count = 0) => count + 1);
      await opened.save();
    }),
  );
  expect(await sessions.open(id).get("count")).toBe(1000);
}, 120_000);

test("denoKvStore() counts what Deno and Node add to one file", async () => {
  kv.close();
  const file = join(folder, "shared.db");
  kv = await openKv(file);
  const sessions = new SessionManager<Record<string, number | string>>({ store: denoKvStore(kv) });
  const session = sessions.start(new Request("http://localhost/"));
  session.set("漢字", "😀");
  await session.save();
  const args = [`${import.meta.dirname}/deno_kv_increments.worker.ts`, file, (await session.id()) ?? "", "50"];
  await Promise.all([
    promisify(execFile)("deno", ["run", "--allow-all", "--unstable-kv", "--no-check", ...args]),
    promisify(execFile)(process.execPath, args),
  ]);
  const { count, 漢字, ...own } = await sessions.open((await session.id()) ?? "").all();
  expect(count).toBe(100);
  expect(漢字).toBe("😀");
  expect(Object.keys(own)).toHaveLength(100);
});

test("denoKvStore() throws a TypeError when given what is no open database, or no prefix", () => {
  // @ts-expect-error A promise is no database.
  expect(() => denoKvStore(openKv(":memory:"))).toThrow(TypeError);
  // @ts-expect-error Nor is nothing.
  expect(() => denoKvStore(undefined)).toThrow(TypeError);
  // @ts-expect-error A number is no prefix.
  expect(() => denoKvStore(kv, { prefix: 5 })).toThrow(TypeError);
});

test("DenoKv is what @deno/kv has", () => {
  expectTypeOf<Kv>().toExtend<DenoKv>();
});
