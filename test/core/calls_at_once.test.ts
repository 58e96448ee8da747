import { describe, expect, test } from "vitest";
import { type Session, SessionError, SessionManager } from "../../mod.ts";
import { csrfToken } from "../../src/csrf.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { altered, cookieOf, gate, living, openStore, soon, visitor } from "../setup/sessions.ts";

type Shop = Session<Record<string, number | undefined>>;

/** The calls of a handler. `at` is their place, so that each `set` has a key of its own. */
const CALLS: Readonly<Record<string, (session: Shop, at: number) => unknown>> = {
  "update": (session) => session.update("n", (n = 0) => n + 1),
  "slow update": (session) => session.update("n", async (n = 0) => await soon(n + 1)),
  "set": (session, at) => session.set(`set ${at}`, 1),
  "save": (session) => session.save(),
  "destroy": (session) => session.destroy(),
  "regenerate": (session) => session.regenerate(),
  "touch": (session) => session.touch(),
  "id": (session) => session.id(),
  "csrfToken": (session) => csrfToken(session),
};
const NAMES = Object.keys(CALLS);
const pairs = NAMES.flatMap((first) => NAMES.map((second) => [first, second]));
const triples = pairs.flatMap((pair) => NAMES.map((third) => [...pair, third]));

/** Makes calls in one request without awaiting one before the next, and answers what became of them. */
async function play(names: readonly string[], { exists, isLoaded }: { exists: boolean; isLoaded: boolean }) {
  const { store, records } = openStore();
  const sessions = new SessionManager<Record<string, number | undefined>>({ store });
  const begun = exists ? await visitor(sessions)((session) => session.set({ kept: 1 })) : undefined;
  const init = { headers: begun === undefined ? {} : { Cookie: cookieOf(begun) } };
  const visit = await visitor(sessions)(async (session) => {
    if (isLoaded) await session.has("n");
    return await Promise.allSettled(names.map(async (name, at) => await CALLS[name]?.(session, at)));
  }, init);
  const read = async (cookie: string) => {
    const stored = (session: Shop) => (internalsOf(session).found ? session.all() : null);
    const reading = visitor(sessions)(async (session) => (await session.size(), await stored(session)), {
      headers: { Cookie: cookie },
    });
    return (await reading).result;
  };
  return {
    results: visit.result,
    old: begun === undefined ? null : await read(cookieOf(begun)),
    now: visit.cookies.length === 0 ? null : await read(cookieOf(visit)),
    living: living(records).length,
  };
}

describe.each([
  { exists: true, isLoaded: false },
  { exists: true, isLoaded: true },
  { exists: false, isLoaded: false },
])("calls that a handler makes at once (a session exists: $exists, is loaded: $isLoaded)", (start) => {
  test.each([
    ["pairs", pairs],
    ["triples", triples],
  ] as const)("%s end as if they were made one after the other", async (_what, lists) => {
    const faults: string[] = [];
    for (const names of lists) {
      const { results, old, now, living: count } = await play(names, start);
      const note = (fault: string) => faults.push(`${names.join(", ")}: ${fault}`);
      const destroyed = names.lastIndexOf("destroy");
      const updates = results.filter((_result, at) => names[at]?.includes("update") === true);
      const values = updates.flatMap((each) => (each.status === "fulfilled" ? [Number(each.value)] : []));
      for (const each of results) {
        if (each.status === "fulfilled") continue;
        if (!(each.reason instanceof SessionError)) note(String(each.reason));
        else if (each.reason.code !== "ERR_SESSION_GONE" || destroyed === -1) note(each.reason.code);
      }
      if (count > 1) note(`${count} sessions are left`);
      if (destroyed !== -1 && old !== null) note("the old id opens a session after destroy()");
      if (names.includes("regenerate") && old !== null) note("the old id opens a session after regenerate()");
      if (names.findLastIndex((name) => name.includes("update")) < destroyed && now?.["n"] !== undefined)
        note("an update that was called before destroy() is stored after it");
      if (destroyed !== -1) continue;
      if (start.exists && (now ?? old)?.["kept"] !== 1) note("the session is lost");
      if (((now ?? old)?.["n"] ?? 0) !== updates.length) note("an update is lost");
      if (values.toSorted().join() !== Array.from(updates, (_update, at) => at + 1).join()) note(`updates: ${values}`);
      for (const [at, name] of names.entries())
        if (name === "set" && (now ?? old)?.[`set ${at}`] !== 1) note(`set ${at} is lost`);
    }
    expect(faults).toEqual([]);
  });
});

test("an update that waits for destroy() fails, and begins no session", async () => {
  for (const isLoaded of [true, false]) {
    const { results, old, now } = await play(["update", "destroy", "update"], { exists: true, isLoaded });
    expect(results).toMatchObject([{ value: 1 }, { value: undefined }, { reason: { code: "ERR_SESSION_GONE" } }]);
    expect([old, now]).toEqual([null, null]);
  }
});

test("an update that destroy() overtakes fails, although its session gets a new id and its value is computed", async () => {
  const [making, made] = [gate(), gate()];
  let ids = 0;
  const generateId = async () => {
    if (ids++ === 1) {
      making.open();
      await made.opened;
    }
    return crypto.randomUUID();
  };
  const sessions = new SessionManager<Record<string, number | undefined>>({ store: openStore().store, generateId });
  const begun = await visitor(sessions)((session) => session.set({ n: 0 }));
  const { result, cookies } = await visitor(sessions)(
    async (session) => {
      await session.regenerate();
      // The id is being made. destroy() waits for it, and the update waits for destroy().
      const calls = [session.id()];
      await making.opened;
      const others = [session.destroy(), session.update("n", (n = 0) => n + 1)];
      await soon(0);
      made.open();
      return await Promise.allSettled([...calls, ...others]);
    },
    { headers: { Cookie: cookieOf(begun) } },
  );
  expect(result[2]).toMatchObject({ status: "rejected", reason: { code: "ERR_SESSION_GONE" } });
  expect(cookies).toEqual([expect.stringContaining("Max-Age=0")]);
});

/** A session, and the keys under which the value 2 was written. The first `failures` creations of a successor wait, and then fail. */
async function renewing(failures: number) {
  const { store, records } = openStore();
  const [reached, failing] = [gate(), gate()];
  const under: string[] = [];
  let creations = 0;
  const watched = altered(store, {
    change: (change, key, write) => {
      if ([...write.changed.values()].includes("2")) under.push(key);
      return change(key, write);
    },
    create: async (create, ...args) => {
      const isFailing = creations > 0 && creations <= failures;
      creations++;
      if (!isFailing) return await create(...args);
      reached.open();
      await failing.opened;
      throw new Error("down");
    },
  });
  const sessions = new SessionManager<Record<string, number | undefined>>({ store: watched });
  const begun = await visitor(sessions)((session) => session.set({ n: 1 }));
  const [oldKey] = records.keys();
  const visit = <Result>(use: (session: Shop) => Promise<Result>) =>
    visitor(sessions)(use, { headers: { Cookie: cookieOf(begun) } });
  return { visit, under, oldKey, reached, failing };
}

test("an update that waits for a call of regenerate() is stored under the new id only", async () => {
  const { visit, under, oldKey } = await renewing(0);
  const { result } = await visit((session) =>
    Promise.all([session.update("m", () => 1), session.regenerate(), session.update("n", (n = 0) => n + 1)]),
  );
  expect(result).toEqual([1, undefined, 2]);
  expect(under).toHaveLength(1);
  expect(under).not.toContain(oldKey);
});

test("an update that waits for a new id whose creation fails is stored under the next new id only", async () => {
  const { visit, under, oldKey, reached, failing } = await renewing(1);
  const { result } = await visit(async (session) => {
    await session.regenerate();
    const saving = session.save();
    await reached.opened;
    const updating = session.update("n", (n = 0) => n + 1);
    failing.open();
    return await Promise.allSettled([saving, updating]);
  });
  expect(result).toMatchObject([{ reason: { code: "ERR_STORE" } }, { value: 2 }]);
  expect(under).toHaveLength(1);
  expect(under).not.toContain(oldKey);
});
