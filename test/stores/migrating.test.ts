import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { memoryStore, type Session, SessionManager, withSession } from "../../mod.ts";
import { isPromise } from "../../src/core/maybe_promise.ts";
import type { RecordVersion, SessionStore, StoredRecord, Write } from "../../src/core/store.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { fileStore } from "../../src/stores/file.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { tagged } from "../../src/stores/migrating/versions.ts";
import { userSessions } from "../../src/user_sessions.ts";
import {
  cookieJar,
  fakeClock,
  type FaultPlan,
  faultyStore,
  kvSimulator,
  type OpenStore,
  storeCases,
} from "../../src/testing.ts";
import { PATIENCE } from "../setup/sessions.ts";

const KEY = "0123456789abcdef".repeat(4);
const MARKER_LIFE = 600_000;

const folder = await mkdtemp(join(tmpdir(), "migrating-store-"));
let folders = 0;
afterAll(() => rm(folder, { recursive: true }));

function inFiles(): SessionStore {
  return fileStore({ directory: join(folder, String(folders++)), durability: "process" });
}

function writeOf(count: number, expected: RecordVersion | null = null, changed = true): Write {
  const fields = new Map([["=count", String(count)]]);
  const lastSeenAt = Date.now();
  const expiresAt = lastSeenAt + 3_600_000;
  return {
    id: crypto.randomUUID(),
    record: { fields, lastSeenAt },
    changed: changed ? fields : new Map(),
    expected,
    expiresAt,
  };
}

async function countIn(store: SessionStore): Promise<number | null> {
  const found = await store.load(KEY);
  return found === null ? null : Number(found.fields.get("=count"));
}

async function present(store: SessionStore): Promise<StoredRecord> {
  const found = await store.load(KEY);
  if (found === null) throw new Error("There is no record");
  return found;
}

/** A store in which every session begins as one that has not been moved yet. */
function unmoved(from: SessionStore, to: SessionStore): SessionStore {
  const store = migratingStore(from, to);
  const begun = new Set<string>();
  return {
    ...store,
    async save(key, write, signal) {
      if (write.expected !== null || begun.has(key)) return await store.save(key, write, signal);
      begun.add(key);
      const answer = await from.save(key, write, signal);
      return tagged("from", answer);
    },
  };
}

const pairs: Record<string, () => [from: SessionStore, to: SessionStore]> = {
  "from memory to memory": () => [memoryStore(), memoryStore()],
  "from memory to files": () => [memoryStore(), inFiles()],
  "from files to memory": () => [inFiles(), memoryStore()],
  "from Workers KV to memory": () => [kvStore(), memoryStore()],
  "from memory to Workers KV": () => [memoryStore(), kvStore()],
};

function kvStore(): SessionStore {
  return cloudflareKvStore(kvSimulator({ cacheTtl: 0, delay: 0, deleteDelay: 0, writeInterval: 0 }).at("Paris"));
}

describe.each(Object.entries(pairs))("migratingStore() %s", (_name, open) => {
  const failing =
    (place: 0 | 1): OpenStore =>
    () => {
      const stores = open();
      const broken = faultyStore(stores[place]);
      stores[place] = broken;
      return {
        store: migratingStore(...stores),
        neighbour: migratingStore(memoryStore(), memoryStore()),
        fail: () => broken.plan({ load: "rejects", save: "rejects", delete: "rejects" }),
      };
    };

  const cases = storeCases().filter(({ name }) => {
    const [from, to] = open();
    return !name.endsWith("[prune]") || (from.prune !== undefined && to.prune !== undefined);
  });
  for (const { name, run } of cases) {
    it(`for sessions that begin in the new store: ${name}`, async () => {
      await run(() => migratingStore(...open()));
      // A session in the new store needs the old store only when it begins and when it ends.
      await run(failing(1));
    });
  }

  // The left-out cases are about what the old store does with a creation.
  const moves = cases.filter(({ name }) => !/one of many creations|over traits\.maxBytes/.test(name));
  for (const { name, run } of moves) {
    it(`for sessions that begin in the old store: ${name}`, () => run(() => unmoved(...open())));
  }
});

describe("migratingStore()", () => {
  it("moves a session with its next write, and leaves nothing in the old store", async () => {
    for (const isChange of [true, false]) {
      const [from, to] = [memoryStore(), memoryStore()];
      await from.save(KEY, writeOf(1));
      const store = migratingStore(from, to);
      const found = await present(store);
      expect(await to.load(KEY)).toBeNull();
      const write = writeOf(isChange ? 2 : 1, found.version, isChange);
      expect(await store.save(KEY, write)).not.toBe("conflict");
      expect(await from.load(KEY)).toBeNull();
      expect(await countIn(to)).toBe(isChange ? 2 : 1);
      expect([...(await present(store)).fields.keys()]).toEqual(["=count"]);
    }
  });

  it("keeps the client's cookie where the new store does not show yet that a session was moved there", async () => {
    const clock = fakeClock();
    const [from, kv, jar] = [memoryStore(), kvSimulator({ now: clock.now, delay: 30 }), cookieJar({ now: clock.now })];
    const visit = async (store: SessionStore, use: (session: Session) => unknown): Promise<unknown> => {
      let answer: unknown;
      const handler = withSession(
        async (_request, session) => {
          answer = await use(session);
          return new Response();
        },
        { store, now: clock.now },
      );
      await jar.fetch(handler, "https://shop.example/");
      return answer;
    };
    const at = (place: string): SessionStore =>
      migratingStore(from, cloudflareKvStore(kv.at(place)), { now: clock.now });
    await visit(from, (session) => session.set("user", "ada"));
    await visit(at("Paris"), (session) => session.set("n", 1));
    expect(await visit(at("Tokyo"), async (session) => (await session.info()).ended)).toBe("unknown");
    clock.advance(60);
    expect(await visit(at("Tokyo"), (session) => session.get("user"))).toBe("ada");
  });

  it("leaves nothing of its own in the new store when the session is written again", async () => {
    const [from, to] = [memoryStore(), memoryStore()];
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, to);
    await store.save(KEY, writeOf(2, (await present(store)).version));
    expect([...(await present(to)).fields.keys()]).toHaveLength(2);
    await store.save(KEY, writeOf(2, (await present(store)).version, false));
    expect([...(await present(to)).fields.keys()]).toEqual(["=count"]);
  });

  it("tells an engine that keeps fields apart of its own field, too", async () => {
    const changes: unknown[] = [];
    const inner = memoryStore();
    const to: SessionStore = {
      ...inner,
      save(key, write) {
        changes.push([...write.changed].filter(([name]) => !name.startsWith("=")));
        return inner.save(key, write);
      },
    };
    const from = memoryStore();
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, to);
    await store.save(KEY, writeOf(2, (await present(store)).version));
    await store.save(KEY, writeOf(3, (await present(store)).version));
    await store.delete(KEY);
    await store.save(KEY, writeOf(4));
    const name = "*with-session.migrating";
    expect(changes).toEqual([[[name, "moved"]], [[name, null]], [[name, "ended"]], [], [[name, null]]]);
  });

  it("removes later what it could not remove from the old store in the move", async () => {
    const inner = memoryStore();
    await inner.save(KEY, writeOf(1));
    const from = faultyStore(inner, { delete: ["rejects", "rejects", "none"] });
    const store = migratingStore(from, memoryStore());
    for (let count = 2; count <= 4; count++) {
      expect(await countIn(inner)).toBe(1);
      expect(await store.save(KEY, writeOf(count, (await present(store)).version))).not.toBe("conflict");
      expect(await countIn(store)).toBe(count);
    }
    expect(await inner.load(KEY)).toBeNull();
  });

  it("has moved a session also if the old store fails, whatever becomes of the write that keeps the record for longer", async () => {
    for (const fault of ["none", "rejects"] as const) {
      const from = faultyStore(memoryStore(), { delete: "rejects" });
      await from.save(KEY, writeOf(1));
      const store = migratingStore(from, faultyStore(memoryStore(), { save: ["none", fault] }));
      const version = await store.save(KEY, writeOf(2, (await present(store)).version));
      expect(await store.save(KEY, writeOf(3, version as RecordVersion)), fault).not.toBe("conflict");
      expect(await countIn(store)).toBe(3);
    }
    const from = faultyStore(memoryStore(), { delete: "rejects" });
    await from.save(KEY, writeOf(1));
    const to = memoryStore();
    let saves = 0;
    const store = migratingStore(from, {
      ...to,
      async save(key, write) {
        // Another request comes before the second write of the move.
        if (++saves === 2) await increment(migratingStore(from, to));
        return await to.save(key, write);
      },
    });
    expect(await store.save(KEY, writeOf(2, (await present(store)).version))).not.toBe("conflict");
    expect(await countIn(store)).toBe(3);
  });

  it("writes a record once if another request has moved the session, also if the old store fails", async () => {
    const from = faultyStore(memoryStore(), { delete: "rejects" });
    await from.save(KEY, writeOf(1));
    const to = faultyStore(memoryStore());
    const store = migratingStore(from, to);
    const { version } = await present(store);
    await increment(store);
    to.plan({});
    expect(await store.save(KEY, writeOf(3, version))).toBe("conflict");
    expect(to.calls.save).toBe(1);
  });

  it("ends a session in the old store at once if the new store has lost its record", async () => {
    const from = faultyStore(memoryStore(), { delete: "rejects" });
    await from.save(KEY, writeOf(1));
    const to = memoryStore();
    const store = migratingStore(from, to);
    await increment(store);
    const { version } = await present(store);
    await to.delete(KEY);
    from.plan({});
    expect(await store.delete(KEY, version)).toBeUndefined();
    expect(await store.load(KEY)).toBeNull();
  });

  it("refuses the move of a session that ended so long ago that no marker is left", async () => {
    const [from, to] = [memoryStore(), memoryStore()];
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, to);
    const found = await present(store);
    await store.delete(KEY, found.version);
    expect(await to.prune?.(Date.now() + MARKER_LIFE + 1000)).toBe(1);
    expect(await store.save(KEY, writeOf(2, found.version))).toBe("conflict");
    expect(await store.load(KEY)).toBeNull();
  });

  it("refuses a session that is too large for the new store, and leaves it where it is", async () => {
    const [from, to] = [memoryStore(), kvStore()];
    await from.save(KEY, writeOf(1));
    const store = migratingStore(from, to);
    const { version } = await present(store);
    const large = new Map([["=large", "x".repeat(to.traits.maxBytes)]]);
    const write = { ...writeOf(2, version), record: { fields: large, lastSeenAt: 1 }, changed: large };
    await expect(Promise.resolve(store.save(KEY, write))).rejects.toMatchObject({ code: "ERR_RECORD_TOO_LARGE" });
    expect(await countIn(store)).toBe(1);
    expect(store.traits.maxBytes).toBe(to.traits.maxBytes);
  });

  it("promises what both stores do", () => {
    const strong = memoryStore();
    const kv = kvStore();
    const strongest = { consistency: "strong", compareAndSet: true, maxBytes: Infinity };
    expect(migratingStore(strong, memoryStore()).traits).toEqual(strongest);
    const slow = { ...memoryStore(), traits: { ...strong.traits, consistency: "eventual", staleness: 300 } } as const;
    expect(migratingStore(kv, slow).traits.staleness).toBe(300);
    expect(migratingStore(strong, kv).traits.staleness).toBe(60);
    expect(migratingStore(kv, strong).traits).toMatchObject({ consistency: "eventual", compareAndSet: true });
    expect(migratingStore(strong, kv).traits).toMatchObject({ consistency: "eventual", compareAndSet: false });
  });

  it("prunes both stores, and only those that can be pruned", async () => {
    const [from, to] = [memoryStore(), memoryStore()];
    await from.save(KEY, { ...writeOf(1), expiresAt: 1 });
    await to.save(KEY, { ...writeOf(1), expiresAt: 1 });
    expect(await migratingStore(from, to).prune?.(2)).toBe(2);
    await to.save(KEY, { ...writeOf(1), expiresAt: 1 });
    expect(await migratingStore(kvStore(), to).prune?.(2)).toBe(1);
    expect(migratingStore(kvStore(), kvStore()).prune).toBeUndefined();
  });

  it("has closed for good when one of the stores has", () => {
    const closing = (isClosed: boolean): SessionStore => ({ ...memoryStore(), isClosed: () => isClosed });
    expect(migratingStore(closing(true), memoryStore()).isClosed?.()).toBe(true);
    expect(migratingStore(memoryStore(), closing(true)).isClosed?.()).toBe(true);
    expect(migratingStore(closing(false), closing(false)).isClosed?.()).toBe(false);
    expect(migratingStore(closing(false), memoryStore()).isClosed?.()).toBe(false);
    expect(migratingStore(memoryStore(), memoryStore()).isClosed).toBeUndefined();
  });

  it("brings nothing back when a session that is in the oldest of three stores ends while it is moved", async () => {
    const [oldest, older, to] = [memoryStore(), memoryStore(), memoryStore()];
    const mover = migratingStore(migratingStore(oldest, older), to);
    await oldest.save(KEY, writeOf(1));
    const { version } = await present(mover);
    const load = oldest.load.bind(oldest);
    oldest.load = async (key) => {
      const unmoved = await load(key);
      oldest.load = load;
      await mover.delete(key);
      return unmoved;
    };
    expect(await mover.save(KEY, writeOf(2, version))).toBe("conflict");
    expect(await mover.load(KEY)).toBeNull();
  });

  it("throws when it is not given two stores, or an option is unknown", () => {
    const store = memoryStore();
    // @ts-expect-error One store is missing.
    expect(() => migratingStore(store)).toThrow(TypeError);
    // @ts-expect-error A function is not a store.
    expect(() => migratingStore(() => store, memoryStore())).toThrow(TypeError);
    expect(() => migratingStore(store, store)).toThrow(TypeError);
    // The inner one would hide the outer one's marker of a logout.
    expect(() => migratingStore(store, migratingStore(memoryStore(), memoryStore()))).toThrow(
      /cannot be a migratingStore/,
    );
    // @ts-expect-error There is no such option.
    expect(() => migratingStore(store, memoryStore(), { clock: Date.now })).toThrow(TypeError);
  });

  it("ends a session of the old store, also where reads are late and the core writes a record without fields", async () => {
    const from = inFiles();
    const clock = fakeClock();
    const before = new SessionManager<{ n: number }>({ store: from, storeTimeout: PATIENCE, now: clock.now });
    const session = before.start(new Request("https://shop.example/"));
    session.set("n", 1);
    await session.save();
    const id = (await session.id()) ?? "";
    const kv = kvSimulator({ now: clock.now, delay: 10 });
    const at = (place: string) =>
      new SessionManager<{ n: number }>({
        store: migratingStore(from, cloudflareKvStore(kv.at(place)), { now: clock.now }),
        storeTimeout: PATIENCE,
        now: clock.now,
      });
    const [paris, tokyo] = [at("Paris"), at("Tokyo")];
    expect(await tokyo.open(id).get("n")).toBe(1);
    const ended = paris.open(id);
    await ended.destroy();
    await ended.save();
    clock.advance(120);
    for (const place of [paris, tokyo]) expect(await place.open(id).get("n")).toBeUndefined();
    expect(await before.open(id).get("n")).toBeUndefined();
  });
});

describe("SessionManager on migratingStore()", () => {
  it("finds no mark of the earlier move in a session after the program has turned back", async () => {
    const clock = fakeClock();
    const options = { now: clock.now };
    const [first, second] = [memoryStore(), memoryStore()];
    const managed = (store: SessionStore) => {
      const users = userSessions();
      return { users, sessions: new SessionManager({ store, plugins: [users], ...options }) };
    };
    const before = managed(first);
    const begin = async (name: string): Promise<string> => {
      const session = before.sessions.start(new Request("https://shop.example/"));
      session.set("n", 0);
      await before.users.bind(session, name);
      await session.save();
      return (await session.id()) ?? "";
    };
    const [loggedOut, revoked, used] = [await begin("ada"), await begin("eve"), await begin("bob")];
    const forth = managed(migratingStore(first, second, options));
    await forth.sessions.open(loggedOut).destroy();
    await forth.users.revokeAll("eve");
    await forth.sessions.open(used).update("n", () => 1);

    const { sessions: back } = managed(migratingStore(second, first, options));
    expect((await back.open(loggedOut).info()).ended).toBe("unknown");
    expect((await back.open(revoked).info()).ended).toBe("revoked");
    expect(await back.open(used).get("n")).toBe(1);
  });

  it("keeps everybody signed in, loses no update, and ends what is ended", async () => {
    const [from, to] = [inFiles(), inFiles()];
    const ids: string[] = [];
    const old = new SessionManager<{ n: number }>({ store: from, storeTimeout: PATIENCE });
    for (let i = 0; i < 3; i++) {
      const session = old.start(new Request("https://shop.example/"));
      session.set("n", i);
      await session.save();
      ids.push((await session.id()) ?? "");
    }
    const [one = "", two = "", three = ""] = ids;
    const managers = [0, 1].map(
      () => new SessionManager<{ n: number }>({ store: migratingStore(from, to), storeTimeout: PATIENCE }),
    );
    const increments = managers.flatMap((sessions) =>
      Array.from({ length: 25 }, () => sessions.open(one).update("n", (n = 0) => n + 1)),
    );
    const values = await Promise.all(increments);
    expect(values.sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));

    const loggedIn = managers[0]?.open(two);
    const next = await loggedIn?.regenerate();
    await loggedIn?.save();
    expect(next).toBeUndefined();
    expect(await managers[1]?.open(two).get("n")).toBeUndefined();
    expect(await managers[1]?.open((await loggedIn?.id()) ?? "").get("n")).toBe(1);

    const left = managers[0]?.open(three);
    await left?.destroy();
    await left?.save();

    // After all sessions have been moved, the new store works alone.
    const alone = new SessionManager<{ n: number }>({ store: to, storeTimeout: PATIENCE });
    expect(await alone.open(one).get("n")).toBe(50);
    expect(await alone.open(two).get("n")).toBeUndefined();
    expect(await alone.open(three).get("n")).toBeUndefined();
    expect(await from.load(KEY)).toBeNull();
  });
});

// All orders in which the calls of concurrent requests can reach the two stores.

/** The calls of a request, on a store whose calls wait for their turn. Returns whether the request was acknowledged. */
type Act = (store: SessionStore) => Promise<boolean>;

const increment: Act = async (store) => {
  for (;;) {
    const found = await store.load(KEY);
    if (found === null) return false;
    const count = Number(found.fields.get("=count")) + 1;
    if ((await store.save(KEY, writeOf(count, found.version))) !== "conflict") return true;
  }
};

const touch: Act = async (store) => {
  const found = await store.load(KEY);
  if (found === null) return false;
  return (await store.save(KEY, writeOf(Number(found.fields.get("=count")), found.version, false))) !== "conflict";
};

const logOut: Act = async (store) => {
  await store.delete(KEY);
  return true;
};

const logOutAsSeen: Act = async (store) => {
  for (;;) {
    const found = await store.load(KEY);
    if (found === null || (await store.delete(KEY, found.version)) !== "conflict") return true;
  }
};

class Turns {
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** The same store, but each call waits for its turn. */
  gated(store: SessionStore): SessionStore {
    const inTurn = async <Answer>(call: () => Answer | Promise<Answer>): Promise<Answer> => {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      return await call();
    };
    return {
      ...store,
      load: (...args) => inTurn(() => store.load(...args)),
      save: (...args) => inTurn(() => store.save(...args)),
      delete: (...args) => inTurn(() => store.delete(...args)),
    };
  }

  /** Lets one call after the other go on, as `choose` decides, until all are done. */
  async play(acts: readonly (() => Promise<void>)[], choose: (options: number) => number): Promise<void> {
    const begin = async (act: () => Promise<void>): Promise<void> => {
      this.#running++;
      await act();
      this.#running--;
    };
    for (const act of acts) void begin(act);
    for (;;) {
      // The requests wait only for their turns. After some rounds of promises, all of them wait again.
      for (let i = 0; i < 30; i++) await Promise.resolve();
      if (this.#running === 0) return;
      const [next] = this.#waiting.splice(choose(this.#waiting.length), 1);
      if (next === undefined) throw new Error("Nobody waits");
      next();
    }
  }
}

interface Outcome {
  readonly from: SessionStore;
  readonly to: SessionStore;
  readonly acknowledged: number;
  readonly crashed: boolean;
}

/**
 * Plays requests in every order of their calls, or in `samples` random orders. `check` judges each result. With `crash`, the first request stops
 * after each possible number of its calls.
 */
async function inEveryOrder(
  acts: readonly Act[],
  check: (outcome: Outcome) => Promise<void>,
  { samples, crash = false }: { samples?: number; crash?: boolean } = {},
): Promise<number> {
  let seed = 20_261_127;
  const drawn = (options: number): number => (seed = (seed * 48_271) % 2_147_483_647) % options;
  let played = 0;
  for (let callsLeft = crash ? 0 : Infinity; ; callsLeft++) {
    let hasCrashed = false;
    const once = async (choose: (options: number) => number): Promise<void> => {
      const [from, to] = [memoryStore(), memoryStore()];
      await from.save(KEY, writeOf(0));
      const turns = new Turns();
      let acknowledged = 0;
      let crashed = false;
      const runs = acts.map((act, i) => async () => {
        let left = i === 0 ? callsLeft : Infinity;
        const mortal = (store: SessionStore): SessionStore => {
          const living = <Answer>(call: () => Answer): Answer => {
            if (left-- > 0) return call();
            throw new Error("Crashed");
          };
          return {
            ...store,
            load: (...args) => living(() => store.load(...args)),
            save: (...args) => living(() => store.save(...args)),
            delete: (...args) => living(() => store.delete(...args)),
          };
        };
        try {
          if (await act(migratingStore(mortal(turns.gated(from)), mortal(turns.gated(to))))) acknowledged += 1;
        } catch {
          crashed = true;
        }
      });
      await turns.play(runs, choose);
      hasCrashed ||= crashed;
      played++;
      await check({ from, to, acknowledged, crashed });
    };
    if (samples === undefined) await everySchedule(once);
    else for (let i = 0; i < samples; i++) await once(drawn);
    if (!hasCrashed) return played;
  }
}

/** Plays once for every sequence of choices, depth first. */
async function everySchedule(play: (choose: (options: number) => number) => Promise<void>): Promise<void> {
  for (let plan: number[] = []; ;) {
    const decided: { readonly way: number; readonly options: number }[] = [];
    await play((options) => {
      const way = plan[decided.length] ?? 0;
      decided.push({ way, options });
      return way;
    });
    const last = decided.findLastIndex(({ way, options }) => way + 1 < options);
    if (last === -1) return;
    plan = decided.slice(0, last + 1).map(({ way }, i) => (i === last ? way + 1 : way));
  }
}

/** Expects that there is no session, now and after all markers have expired. */
async function isEnded({ from, to }: Outcome): Promise<void> {
  expect(await migratingStore(from, to).load(KEY)).toBeNull();
  await to.prune?.(Date.now() + MARKER_LIFE + 1000);
  expect(await migratingStore(from, to).load(KEY)).toBeNull();
}

describe("migratingStore() in every order of calls", () => {
  it("loses no increment of two requests that move one session", async () => {
    const played = await inEveryOrder([increment, increment], async ({ from, to }) => {
      expect(await countIn(migratingStore(from, to))).toBe(2);
      expect(await from.load(KEY)).toBeNull();
    });
    expect(played).toBeGreaterThan(100);
  });

  it("loses no increment among touches", async () => {
    await inEveryOrder(
      [increment, touch, increment],
      async ({ from, to }) => {
        expect(await countIn(migratingStore(from, to))).toBe(2);
        expect(await from.load(KEY)).toBeNull();
      },
      { samples: 500 },
    );
  });

  for (const [name, end] of Object.entries({ "a logout": logOut, "a logout at a version": logOutAsSeen })) {
    it(`brings nothing back after ${name}, whoever moves the session meanwhile`, async () => {
      const played = await inEveryOrder([increment, end], isEnded);
      expect(played).toBeGreaterThan(30);
      await inEveryOrder([touch, end], isEnded);
      await inEveryOrder([end, logOut], isEnded);
      await inEveryOrder([increment, increment, end], isEnded, { samples: 1000 });
      await inEveryOrder([increment, touch, end, logOut], isEnded, { samples: 500 });
      const unlessCrashed = async (outcome: Outcome) => (outcome.crashed ? undefined : await isEnded(outcome));
      await inEveryOrder([end, increment], unlessCrashed, { crash: true });
    });
  }

  it("has the increments that were acknowledged when a process crashes in the middle of a move", async () => {
    await inEveryOrder(
      [increment, increment],
      async ({ from, to, acknowledged, crashed }) => {
        const store = migratingStore(from, to);
        const count = await countIn(store);
        // A request that was not acknowledged may have been done.
        expect(crashed ? [acknowledged, acknowledged + 1] : [acknowledged]).toContain(count);
        expect(await increment(store)).toBe(true);
        expect(await countIn(store)).toBe((count ?? 0) + 1);
        expect(await from.load(KEY)).toBeNull();
      },
      { crash: true },
    );
  });

  it("can end a session for good after a process crashed in the middle of a move or of a logout", async () => {
    for (const act of [increment, logOut, logOutAsSeen]) {
      await inEveryOrder(
        [act, touch],
        async (outcome) => {
          expect(await logOut(migratingStore(outcome.from, outcome.to))).toBe(true);
          await isEnded(outcome);
          expect(await outcome.from.load(KEY)).toBeNull();
        },
        { crash: true },
      );
    }
  });

  it("lets a logout be tried again when one of the stores fails, and brings nothing back", async () => {
    for (const [isMoved, to] of [
      [false, memoryStore()],
      [true, memoryStore()],
      [false, kvStore()],
    ] as const) {
      for (const fault of ["rejects", "does it but rejects"] as const) {
        const clock = fakeClock();
        const from = faultyStore(memoryStore());
        const options = { now: clock.now };
        const begun = new SessionManager<{ n: number }>({ store: from, ...options });
        const first = begun.open("");
        first.set("n", 1);
        const id = await first.create();
        await first.save();
        const faulty = faultyStore(to);
        const sessions = new SessionManager<{ n: number }>({
          store: migratingStore(from, faulty, options),
          ...options,
        });
        from.plan({ delete: "rejects" });
        // What is moved while `from` fails leaves the older state there.
        if (isMoved) await sessions.open(id!).update("n", (n = 0) => n + 1);
        const logOut = (): Promise<unknown> =>
          sessions
            .open(id!)
            .destroy()
            .then(
              () => "done",
              (error: unknown) => Object(error).code,
            );
        expect(await logOut()).toBe("ERR_STORE");
        expect(await sessions.open(id!).get("n")).toBe(isMoved ? 2 : 1);
        from.plan({});
        faulty.plan({ save: [fault] });
        expect(await logOut()).toBe("ERR_STORE");
        expect(await logOut()).toBe("done");
        clock.advance(3700);
        await sessions.prune();
        expect(await sessions.open(id!).get("n")).toBeUndefined();
      }
    }
  });

  it("keeps a retired id from its session also if the old store fails when the session is moved, or after that", async () => {
    for (const isMoved of [false, true]) {
      const clock = fakeClock();
      const options = { now: clock.now };
      const from = faultyStore(memoryStore());
      const first = new SessionManager<{ n: number }>({ store: from, ...options }).open("");
      first.set("n", 1);
      const id = await first.create();
      await first.save();
      const to = memoryStore();
      const sessions = new SessionManager<{ n: number }>({ store: migratingStore(from, to, options), ...options });
      from.plan({ delete: "rejects" });
      const session = sessions.open(id!);
      if (isMoved) await session.update("n", (n = 0) => n + 1);
      await session.regenerate();
      await session.save();
      from.plan({});
      clock.advance(3700);
      await sessions.prune();
      expect(await sessions.open(id!).get("n")).toBeUndefined();
      expect(await sessions.open((await session.id())!).get("n")).toBe(isMoved ? 2 : 1);
    }
  });

  it("leaves nothing in the old store when a move got no answer, so that a retired id stays retired", async () => {
    const [from, to] = [memoryStore(), faultyStore(memoryStore())];
    const options = { now: fakeClock().now };
    const first = new SessionManager<{ n: number }>({ store: from, ...options }).open("");
    first.set("n", 1);
    const id = await first.create();
    await first.save();
    const key = createHash("sha256").update(id!).digest("hex");
    expect(await from.load(key)).not.toBeNull();
    const session = new SessionManager<{ n: number }>({ store: migratingStore(from, to, options), ...options }).open(
      id!,
    );
    await session.regenerate();
    // The first one stores the new session, the second one retires the old id.
    to.plan({ save: ["none", "does it but rejects"] });
    await session.save();
    expect(await from.load(key)).toBeNull();
  });

  it("does not end a state that another request replaces by a newer one in the middle of that", async () => {
    for (const place of ["from", "to"] as const) {
      const [from, to] = [memoryStore(), memoryStore()];
      await (place === "from" ? from : to).save(KEY, writeOf(0));
      let meanwhile: (() => Promise<unknown>) | undefined;
      // Before the first thing that ends something.
      const interrupted: SessionStore = {
        ...from,
        async delete(key, expected) {
          const act = meanwhile;
          meanwhile = undefined;
          await act?.();
          return await from.delete(key, expected);
        },
      };
      const store = migratingStore(interrupted, to);
      const { version } = await present(store);
      meanwhile = () => increment(migratingStore(from, to));
      expect(await store.delete(KEY, version), place).toBe("conflict");
      expect(await countIn(store), place).toBe(1);
      expect(await store.delete(KEY), place).toBeUndefined();
      expect(await store.load(KEY), place).toBeNull();
    }
  });

  it("does not end a state that a server which does not migrate yet has replaced in the old store", async () => {
    const [from, to] = [memoryStore(), memoryStore()];
    await from.save(KEY, writeOf(0));
    const store = migratingStore(from, to);
    const { version } = await present(store);
    await from.save(KEY, writeOf(1, (await present(from)).version));
    expect(await store.delete(KEY, version)).toBe("conflict");
    expect(await countIn(store)).toBe(1);
  });

  it("finds a session in each order of a load and a move", async () => {
    const seen = new Set<boolean>();
    await inEveryOrder([increment, async (store) => (await store.load(KEY)) !== null], async ({ acknowledged }) => {
      seen.add(acknowledged === 2);
    });
    expect([...seen]).toEqual([true]);
  });
});

describe("migratingStore() with faults of the stores", () => {
  it("has done a write, or not, when a call fails; and never answers that nothing is there", async () => {
    for (const verb of ["load", "save", "delete"] as const) {
      for (const fault of ["rejects", "does it but rejects"] as const) {
        for (let at = 0; at < 4; at++) {
          for (const place of ["from", "to"] as const) {
            const [from, to] = [memoryStore(), memoryStore()];
            await from.save(KEY, writeOf(0));
            const list = Array.from({ length: at + 1 }, (_, i) => (i === at ? fault : ("none" as const)));
            const plan: FaultPlan = { [verb]: list };
            const store = migratingStore(
              place === "from" ? faultyStore(from, plan) : from,
              place === "to" ? faultyStore(to, plan) : to,
            );
            const isDone = await increment(store).catch(() => undefined);
            const count = await countIn(migratingStore(from, to));
            expect(isDone === undefined ? [0, 1] : [1], `${place} ${verb} ${at} ${fault}`).toContain(count);
            expect(isDone).not.toBe(false);
          }
        }
      }
    }
  });

  it.each(["from", "to"] as const)(
    "loses nothing when an answer of the store %s has no meaning: the call fails, or was done",
    async (place) => {
      for (const verb of ["load", "save", "delete"] as const) {
        for (let at = 0; at < 4; at++) {
          const [from, to] = [memoryStore(), memoryStore()];
          await from.save(KEY, writeOf(0));
          const plan: FaultPlan = {
            [verb]: Array.from({ length: at + 1 }, (_, i) => (i === at ? "wrong type" : "none")),
          };
          const store = migratingStore(
            place === "from" ? faultyStore(from, plan) : from,
            place === "to" ? faultyStore(to, plan) : to,
          );
          const told = await increment(store).catch((error: unknown) => error);
          if (told !== true) expect(told).toMatchObject({ code: "ERR_STORE" });
          expect(await countIn(migratingStore(from, to)), `${verb} ${at}`).toBe(told === true ? 1 : 0);
        }
      }
    },
  );

  it("passes signals on", async () => {
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    const heard = (store: SessionStore): SessionStore => ({
      ...store,
      load: (key, given) => (seen.push(given), store.load(key)),
      save: (key, write, given) => (seen.push(given), store.save(key, write)),
      delete: (key, expected, given) => (seen.push(given), store.delete(key, expected)),
    });
    const from = memoryStore();
    await from.save(KEY, writeOf(0));
    const store = migratingStore(heard(from), heard(memoryStore()));
    const found = await store.load(KEY, signal);
    const version = await store.save(KEY, writeOf(1, found?.version ?? null), signal);
    await store.save(KEY, writeOf(2, version), signal);
    await store.delete(KEY, undefined, signal);
    await store.save(KEY, writeOf(3), signal);
    expect(seen.length).toBeGreaterThan(10);
    expect(new Set(seen)).toEqual(new Set([signal]));
    expect(isPromise(store.load(KEY))).toBe(true);
  });
});
