import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Kv, openKv } from "@deno/kv";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import { SessionManager } from "../../mod.ts";
import { isBusy } from "../../src/core/errors.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";
import { storeCases } from "../../src/testing.ts";
import { keepsEndlessSession, PATIENCE } from "../setup/sessions.ts";

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
  if (isOpen) kv.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const key = "0123456789abcdef".repeat(4);
const other = "fedcba9876543210".repeat(4);
const now = Date.now();

function writeOf(fields: Record<string, string>, expected: RecordVersion | null = null, life = 60_000): Write {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt: now };
  return { id: crypto.randomUUID(), record, changed: record.fields, expected, expiresAt: now + life };
}

async function present(store: SessionStore) {
  const found = await store.load(key);
  if (found === null) throw new Error("There is no record");
  return found;
}

async function saved(store: SessionStore, write: Write): Promise<RecordVersion> {
  const version = await store.save(key, write);
  if (version === "conflict") throw new Error("Nothing was stored");
  return version;
}

type Commit = () => ReturnType<ReturnType<DenoKv["atomic"]>["commit"]>;

/** The same database. `hears` gets the name of each call, and `commits` makes each commit. */
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

/** A store on the same database. `commits` makes each commit. */
function committing(commits: (commit: Commit) => ReturnType<Commit>): SessionStore {
  return denoKvStore(through(() => {}, commits));
}

for (const place of ["in memory", "on a file"]) {
  describe(`denoKvStore() ${place}`, () => {
    for (const { name, run } of storeCases()) {
      test(name, async () => {
        const opened = await openKv(place === "in memory" ? ":memory:" : join(folder, "kit.db"));
        let fails = false;
        let calls = 0;
        const counted: DenoKv = {
          get: (path) => (calls++, opened.get([...path])),
          atomic: () => (calls++, opened.atomic()),
        };
        await run(() => ({
          store: denoKvStore(counted),
          calls: () => calls,
          spoil: async (key) => void (await opened.set(["with-session", key], "somebody else's")),
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

test("denoKvStore() needs one call for a load and for each write, and one more for a deletion that is refused", async () => {
  let calls: string[] = [];
  const store = denoKvStore(
    through(
      (call) => calls.push(call),
      (commit) => commit(),
    ),
  );
  const callsOf = async (step: () => unknown) => {
    calls = [];
    await step();
    return calls;
  };
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "1" })))).toEqual(["commit"]);
  expect(await callsOf(() => store.load(key))).toEqual(["get"]);
  const created = await present(store);
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "2" }, created.version)))).toEqual(["commit"]);
  expect(await callsOf(() => store.save(key, writeOf({ "=a": "3" }, created.version)))).toEqual(["commit"]);
  expect(await callsOf(() => store.delete(key, created.version))).toEqual(["commit", "get"]);
  const { version } = await present(store);
  expect(await callsOf(() => store.delete(key, version))).toEqual(["commit"]);
  expect(await callsOf(() => store.delete(key))).toEqual(["commit"]);
  expect(await store.load(key)).toBeNull();
});

test("denoKvStore() keeps each record under the prefix, of one part or of several", async () => {
  for (const options of [{}, { prefix: "shop" }, { prefix: ["shop", 7, true] }]) {
    await denoKvStore(kv, options).save(key, writeOf({ "=a": "1" }));
  }
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
  const version = await saved(store, writeOf({ "=a": "1" }, null, 1000));
  const touch = { ...writeOf({ "=a": "1" }, version, 2000.5), changed: new Map() };
  await saved(store, touch);
  await store.save(other, writeOf({ "=a": "1" }, null, -1));
  expect(lives).toEqual([1000, 2001, 1]);
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
    await saved(store, writeOf({ "=a": "" }));
    const empty = (await kv.get<Uint8Array>(["with-session", key])).value?.length ?? 0;
    await store.delete(key);
    const most = Math.floor((65_536 - empty) / bytes);

    await saved(store, writeOf({ "=a": letter.repeat(most) }));
    const before = await present(store);
    expect(before.fields.get("=a")).toBe(letter.repeat(most));
    calls.length = 0;
    const large = { "=a": letter.repeat(most + 1) };
    const refusal = {
      code: "ERR_RECORD_TOO_LARGE",
      message: expect.stringMatching(/655\d\d bytes, Deno KV accepts 65536/),
    };
    await expect(store.save(other, writeOf(large))).rejects.toMatchObject(refusal);
    await expect(store.save(key, writeOf(large, before.version))).rejects.toMatchObject(refusal);
    expect(calls).toEqual([]);
    expect((await present(store)).version).toBe(before.version);
    await store.delete(key);
  }
  await expect(kv.set(["a"], new Uint8Array(65_537))).rejects.toThrow();
});

test("denoKvStore() takes a value of another program for a corrupt record, which no creation overwrites", async () => {
  const store = denoKvStore(kv);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const values = ["text", 5, { a: 1 }, bytes(""), bytes("[1,{}]"), bytes("2[not JSON"), new Uint8Array([255, 10, 255])];
  for (const value of values) {
    await kv.set(["with-session", key], value);
    const found = await present(store);
    expect([found.fields.size, found.lastSeenAt]).toEqual([0, 0]);
    expect(await store.save(key, writeOf({ "=a": "1" }))).toBe("conflict");
    expect((await present(store)).version).toBe(found.version);
    expect(await store.delete(key, found.version)).toBeUndefined();
    expect(await store.load(key)).toBeNull();
  }
});

test("denoKvStore() throws a StoreBusyError, and has stored nothing, while another process holds the lock", async () => {
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
  const store = denoKvStore(kv);
  const isRefused = async (write: () => unknown) => {
    const before = await store.load(key);
    await tell("BEGIN IMMEDIATE");
    const error: unknown = await Promise.resolve(write()).catch((reason: unknown) => reason);
    expect(isBusy(error)).toBe(true);
    await tell("COMMIT");
    expect((await store.load(key))?.version).toBe(before?.version);
    return write();
  };
  const version = await isRefused(async () => await saved(store, writeOf({ "=a": "1" })));
  await isRefused(async () => await saved(store, writeOf({ "=a": "2" }, (await present(store)).version)));
  expect((await present(store)).version).not.toBe(version);
  await isRefused(() => store.delete(key));
  expect(await store.load(key)).toBeNull();
  holder.kill();
});

test("denoKvStore() passes any other failure of a commit on", async () => {
  const store = committing(async () => {
    throw new TypeError("The connection was reset");
  });
  for (const write of [() => store.save(key, writeOf({})), () => store.delete(key), () => store.delete(key, "1")]) {
    await expect(Promise.resolve(write())).rejects.toThrow(new TypeError("The connection was reset"));
  }
});

test("denoKvStore() counts an update once when the client sends its write again, other writes between or not", async () => {
  let isLost = false;
  const store = committing(async (commit) => {
    const answer = await commit();
    if (!isLost) return answer;
    isLost = false;
    // The first answer is lost. Another request comes before the client sends the same write again.
    await new SessionManager<{ count: number }>({ store: denoKvStore(kv), storeTimeout: PATIENCE })
      .open(id)
      .update("count", (n = 0) => n + 10);
    return await commit();
  });
  const sessions = new SessionManager<{ count: number }>({ store, storeTimeout: PATIENCE });
  const session = sessions.start(new Request("http://localhost/"));
  session.set("count", 0);
  await session.save();
  const id = (await session.id()) ?? "";
  isLost = true;
  await sessions.open(id).update("count", (n = 0) => n + 1);
  expect(isLost).toBe(false);
  expect(await sessions.open(id).get("count")).toBe(11);
});

test("denoKvStore() answers a conflict when another write has the same content", async () => {
  const store = denoKvStore(kv);
  const version = await saved(store, writeOf({ "=count": "0" }));
  expect(await store.save(key, writeOf({ "=count": "1" }, version))).not.toBe("conflict");
  expect(await store.save(key, writeOf({ "=count": "1" }, version))).toBe("conflict");
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
});

test("denoKvStore() counts what Deno and Node add to one file", async () => {
  kv.close();
  const file = join(folder, "shared.db");
  kv = await openKv(file);
  const sessions = new SessionManager<Record<string, number | string>>({
    store: denoKvStore(kv),
    storeTimeout: PATIENCE,
  });
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

test("denoKvStore() counts every one of 1 000 increments of four processes on one file", async () => {
  kv.close();
  const file = join(folder, "four.db");
  kv = await openKv(file);
  const sessions = new SessionManager<{ count: number }>({ store: denoKvStore(kv), storeTimeout: PATIENCE });
  const session = sessions.start(new Request("http://localhost/"));
  session.set("count", 0);
  await session.save();
  const id = (await session.id()) ?? "";
  const args = [`${import.meta.dirname}/deno_kv_increments.worker.ts`, file, id, "250", "in-turn"];
  await Promise.all([1, 2, 3, 4].map(() => promisify(execFile)(process.execPath, args)));
  expect(await sessions.open(id).get("count")).toBe(1000);
});

test("denoKvStore() throws a TypeError when given what is no open database, or no prefix", () => {
  // @ts-expect-error A promise is no database.
  expect(() => denoKvStore(openKv(":memory:"))).toThrow(TypeError);
  // @ts-expect-error Nor is nothing.
  expect(() => denoKvStore(undefined)).toThrow(TypeError);
  // @ts-expect-error There is no such option.
  expect(() => denoKvStore(kv, { prefixes: "a" })).toThrow(/prefixes.*prefix\b/);
  for (const prefix of [5, null, {}, new Uint8Array(1), [null], ["shop", undefined], [{}], [["shop"]]]) {
    // @ts-expect-error None of them is a prefix.
    expect(() => denoKvStore(kv, { prefix })).toThrow(TypeError);
  }
});

test("denoKvStore() keeps a session whose timeout is endless", async () => {
  expect(await keepsEndlessSession(denoKvStore(kv))).toBe(true);
});

test("DenoKv is what @deno/kv has", () => {
  expectTypeOf<Kv>().toExtend<DenoKv>();
});
