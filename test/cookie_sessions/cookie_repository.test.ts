import { describe, expect, test } from "vitest";
import { SessionError } from "../../mod.ts";
import { CookieRepository } from "../../src/cookie_sessions/cookie_repository.ts";
import { loadNote, noteKey, type StoredNote } from "../../src/cookie_sessions/notes.ts";
import type { Contents, Found, Operation } from "../../src/core/repository.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { sealerFor } from "../../src/crypto/sealer.ts";
import { openStore, secrets } from "./setup.ts";

const START = 1_700_000_000_000;
const DAY = 86_400;
const MARGIN = 600_000;
/** For this long after an id was replaced, a request with the old id counts as already running. */
const UNDER_WAY = 60_000;

const idOf = (at: number): string => String(at).padStart(32, "s");

/** A repository without the core, so that each step is one call. Sessions expire after a day without use, and after thirty days. */
function scene({ endsOnReuse = false, hasRevocation = true } = {}) {
  const { store, records, calls } = openStore();
  const sealer = sealerFor("cookie session", secrets);
  const clock = { now: START };
  const op = (more: Partial<Operation> = {}): Operation => ({
    now: clock.now,
    store,
    request: undefined,
    runtimeArguments: [],
    name: "session",
    presentedName: "session",
    session: undefined,
    writeId: "write",
    endsAt: ({ metadata: { absoluteSince, timeouts }, lastSeenAt }) => {
      const { idle = DAY, absolute = 30 * DAY } = timeouts ?? {};
      return Math.min(lastSeenAt + idle * 1000, absoluteSince + (absolute === false ? Infinity : absolute * 1000));
    },
    emit: () => {},
    backOff: async () => {},
    ...more,
  });
  const contents = (more: Partial<Contents["metadata"]> = {}): Contents => ({
    fields: new Map([["=n", "1"]]),
    metadata: { createdAt: clock.now, absoluteSince: clock.now, ...more },
    lastSeenAt: clock.now,
  });
  const repository = new CookieRepository(sealer, { hasRevocation, now: () => clock.now, rotates: false, endsOnReuse });
  const noteOf = async (id: string): Promise<StoredNote | null> => await loadNote(await noteKey(id), op());
  /** A session and its successors, one after the other, each with a grace of a day. */
  const chain = async (retirements: number): Promise<Found[]> => {
    const sessions = [await repository.create(idOf(0), contents(), op())];
    for (let at = 1; at <= retirements; at++) {
      const successor = await repository.create(idOf(at), contents(), op());
      await repository.retire(sessions.at(-1)!, successor, clock.now + DAY * 1000, op());
      sessions.push(successor);
    }
    return sessions;
  };
  /** A session that was rotated. The old copy is accepted until the client has used the new one. */
  const rotated = async (more: Partial<Contents["metadata"]> = {}) => {
    const old = await repository.create(idOf(0), contents(), op());
    const successor = await repository.create(idOf(1), contents({ unconfirmed: true, ...more }), op());
    await repository.retire(old, successor, clock.now + DAY * 1000, op());
    return { old, successor };
  };
  const update = async (current: Found, changed: Contents): Promise<Found> => {
    const updated = await repository.update(current, changed, op());
    if (updated === "conflict") throw new Error("The session was rotated");
    return updated;
  };
  const open = async ({ token }: Found): Promise<string> => {
    const found = await repository.open(token, op());
    return typeof found === "string" ? found : "open";
  };
  return { store, records, calls, clock, op, contents, repository, noteOf, chain, rotated, update, open };
}

/** A store that calls `meanwhile` just before the next save. */
function interrupted(store: SessionStore, meanwhile: () => unknown): SessionStore {
  let isNext = true;
  return {
    ...store,
    async save(key, write) {
      if (isNext) {
        isNext = false;
        await meanwhile();
      }
      return await store.save(key, write);
    },
  };
}

describe("open()", () => {
  test("tells newer formats, texts of no format and a session without an id apart", async () => {
    const { repository, op, contents } = scene();
    const shaped = "A".repeat(60);
    expect(await repository.open(`2${shaped}`, op())).toBe("newer");
    expect(await repository.open(`1${shaped}`, op())).toBe("forged");
    for (const token of [`2${shaped}!`, `1${shaped}!`, `!1${shaped}`, `!2${shaped}`, `12${"A".repeat(20)}`])
      expect(await repository.open(token, op()), token).toBe("malformed");
    const { token } = await repository.create("no-id!", contents(), op());
    expect(await repository.open(token, op())).toBe("corrupt");
  });

  test("follows eight graces, and no more", async () => {
    const { chain, open, clock } = scene();
    const sessions = await chain(9);
    clock.now += UNDER_WAY;
    expect(await open(sessions[1]!)).toBe("open");
    expect(await open(sessions[0]!)).toBe("retired");
  });

  test("opens an old copy in the grace of regenerate(), also after the new id was renewed by age", async () => {
    const { repository, chain, open, contents, op } = scene();
    const [old, successor] = (await chain(1)) as [Found, Found];
    const last = await repository.create(idOf(2), contents({ unconfirmed: true }), op());
    await repository.retire(successor, last, START + DAY * 1000, op());
    expect(await repository.open(old.token, op())).toMatchObject({ id: old.id });
    await repository.end(last, op());
    expect(await open(old)).toBe("revoked");
  });

  test("calls a session replaced while requests may be under way, and retired afterwards", async () => {
    const { repository, open, op, contents, clock } = scene();
    const old = await repository.create(idOf(0), contents(), op());
    await repository.retire(old, await repository.create(idOf(1), contents(), op()), null, op());
    clock.now += UNDER_WAY - 1;
    expect(await open(old)).toBe("replaced");
    clock.now += 1;
    expect(await open(old)).toBe("retired");
  });

  test.each([false, true])(
    "takes a rotated id for reuse when the client has used the new one, and ends that if it should: %s",
    async (endsOnReuse) => {
      const { rotated, update, open, contents, clock } = scene({ endsOnReuse });
      const { old, successor } = await rotated();
      clock.now += UNDER_WAY;
      expect(await open(old)).toBe("open");
      const used = await update(successor, contents());
      // Requests with the old id may have been under way when the client first used the new one.
      clock.now += UNDER_WAY - 1;
      expect(await open(old)).toBe("open");
      clock.now += 1;
      expect(await open(old)).toBe("reuse");
      expect(await open(used)).toBe(endsOnReuse ? "revoked" : "open");
    },
  );

  test("takes a rotated id for none of reuse while requests may be under way, or when the new session has ended", async () => {
    const { repository, rotated, update, open, contents, op, clock } = scene({ endsOnReuse: true });
    const { old, successor } = await rotated();
    const used = await update(successor, contents());
    clock.now += UNDER_WAY - 1;
    expect(await open(old)).toBe("open");
    clock.now += 1;
    await repository.end(used, op());
    expect(await open(old)).toBe("revoked");
  });

  test("does not take a new id for used because it was stored again, or has timeouts of its own", async () => {
    for (const timeouts of [undefined, { idle: 90 * DAY, absolute: 90 * DAY }]) {
      const { repository, rotated, open, contents, op, clock } = scene();
      const { old, successor } = await rotated({ timeouts });
      clock.now += UNDER_WAY;
      await repository.update(successor, contents({ unconfirmed: true, timeouts }), op());
      clock.now += UNDER_WAY;
      expect(await open(old)).toBe("open");
    }
  });

  test("does not take a new id for used when no rotation was waiting for it", async () => {
    const { repository, chain, open, contents, op, clock } = scene();
    const [old, successor] = await chain(1);
    clock.now += UNDER_WAY;
    await repository.update(successor!, contents({ timeouts: { idle: 90 * DAY, absolute: 90 * DAY } }), op());
    clock.now += UNDER_WAY;
    expect(await open(old!)).toBe("open");
  });
});

describe("a copy of before a rotation by age", () => {
  test("opens under the new id, with nothing due, and is sealed as one that was not used yet", async () => {
    const { repository, rotated, update, open, contents, op, clock, noteOf } = scene();
    const { old, successor } = await rotated();
    clock.now += UNDER_WAY;
    const found = await repository.open(old.token, op());
    expect(found).toMatchObject({ id: successor.id, token: old.token, metadata: { rotatedAt: clock.now } });
    if (typeof found === "string") throw new Error(found);
    const once = await update(found, { ...contents(), fields: new Map([["=n", "2"]]) });
    const twice = await update(once, { ...contents(), fields: new Map([["=n", "3"]]) });
    for (const { token } of [once, twice])
      expect(await repository.open(token, op())).toMatchObject({ id: successor.id, metadata: { unconfirmed: true } });
    expect(await noteOf(successor.id)).toBeNull();
    expect(await open(old)).toBe("open");
    const next = await repository.open(twice.token, op());
    if (typeof next === "string") throw new Error(next);
    await update(next, contents());
    clock.now += UNDER_WAY;
    expect(await open(old)).toBe("reuse");
  });

  test("counts as used just now, so that no cookie is sent for a touch, while the client may just have used the new one", async () => {
    const { repository, rotated, update, contents, op, clock } = scene();
    const { old, successor } = await rotated();
    clock.now += UNDER_WAY;
    await update(successor, contents());
    clock.now += UNDER_WAY - 1;
    expect(await repository.open(old.token, op())).toMatchObject({ id: successor.id, lastSeenAt: clock.now });
  });

  test("that is known as reused stays rejected during the grace of a later regenerate()", async () => {
    const { repository, rotated, update, open, contents, op, clock } = scene();
    const { old, successor } = await rotated();
    const used = await update(successor, contents());
    clock.now += UNDER_WAY;
    const last = await repository.create(idOf(2), contents(), op());
    await repository.retire(used, last, clock.now + 3_600_000, op());
    expect([await open(old), await open(used)]).toEqual(["reuse", "open"]);
  });

  test("opens under the last of several new ids, none of which was used", async () => {
    const { repository, rotated, contents, op } = scene();
    const { old, successor } = await rotated();
    const last = await repository.create(idOf(2), contents({ unconfirmed: true }), op());
    await repository.retire(successor, last, DAY * 1000 + START, op());
    const found = await repository.open(old.token, op());
    expect(found).toMatchObject({ id: last.id });
    const between = await repository.open(successor.token, op());
    expect(between).toMatchObject({ id: last.id });
    expect(between).not.toHaveProperty("metadata.unconfirmed");
  });

  test("answers a conflict to a change and to a rotation that were under way", async () => {
    const { repository, rotated, contents, op } = scene();
    const { old } = await rotated();
    const other = await repository.create(idOf(2), contents(), op());
    expect(await repository.update(old, contents(), op())).toBe("conflict");
    expect(await repository.retire(old, other, null, op())).toBe("conflict");
  });

  test("is corrupt if its note holds another id than it was given", async () => {
    const { repository, rotated, store, op } = scene();
    const { old } = await rotated();
    const key = await noteKey(old.id);
    const { fields, version } = (await store.load(key))!;
    const spoiled = new Map([...fields].map(([name, text]) => [name, text.replace(/"id":"./, '"id":"!')]));
    const record = { fields: spoiled, lastSeenAt: START };
    await store.save(key, { id: "w".repeat(16), record, changed: spoiled, expected: version, expiresAt: Infinity });
    expect(await repository.open(old.token, op())).toBe("corrupt");
  });
});

describe("refresh()", () => {
  test("gives the session with its newest note, and null when it was ended or retired", async () => {
    const { repository, contents, op, noteOf, rotated } = scene();
    const { old, successor } = await rotated();
    expect(await repository.refresh(old, op())).toBeNull();
    await repository.update(successor, contents(), op());
    const note = await noteOf(successor.id);
    expect(note).toMatchObject({ state: "alive", usedAt: START });
    expect(await repository.refresh(successor, op())).toEqual({ ...successor, stored: { note, isFollowed: false } });
    await repository.end(successor, op());
    expect(await repository.refresh(successor, op())).toBeNull();
  });

  test("gives null for a session that ended so long ago that a store may have swept it", async () => {
    const { clock, repository, contents, op } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    clock.now += DAY * 1000 + MARGIN - 1;
    expect(await repository.refresh(session, op())).toMatchObject({ id: session.id });
    clock.now += 1;
    expect(await repository.refresh(session, op())).toBeNull();
  });
});

describe("create() and update()", () => {
  const timeouts = { idle: 90 * DAY, absolute: 90 * DAY };

  test("note what other copies would not expect, in a form that stays", async () => {
    const { repository, contents, op, records, noteOf } = scene();
    await repository.create(idOf(0), contents({ timeouts }), op());
    const longest = START + 90 * DAY * 1000 + MARGIN;
    expect(await noteOf(idOf(0))).toMatchObject({ state: "alive", longest, usedAt: 0 });
    const [{ expiresAt, fields }] = [...records.values()] as [NonNullable<ReturnType<typeof records.get>>];
    expect(expiresAt).toBe(longest);
    expect(fields.get("@")).toContain(`"+alive":[${longest},0]`);
  });

  test("note nothing of timeouts that are shorter or the same, nor a second time what is known", async () => {
    const { repository, contents, op, calls, rotated } = scene();
    for (const own of [{ idle: 100 }, { idle: DAY }, { absolute: 30 * DAY }])
      await repository.create(idOf(5), contents({ timeouts: own }), op());
    expect(calls).toEqual([]);
    const { successor } = await rotated();
    calls.length = 0;
    for (let times = 0; times < 3; times++) await repository.update(successor, contents(), op());
    expect(calls).toEqual(["load", "save", "load", "load"]);
  });

  test("keep what others have noted meanwhile", async () => {
    const { repository, contents, op, store, noteOf, rotated } = scene();
    const { successor } = await rotated();
    const meanwhile = () => repository.update(successor, contents(), op());
    const longer = contents({ unconfirmed: true, timeouts });
    await repository.update(successor, longer, op({ store: interrupted(store, meanwhile) }));
    const longest = START + 90 * DAY * 1000 + MARGIN;
    expect(await noteOf(successor.id)).toMatchObject({ state: "alive", longest, usedAt: START });
    // The earlier state of the note stays, too.
    await repository.update(successor, contents({ timeouts: { idle: 60 * DAY, absolute: 60 * DAY } }), op());
    expect(await noteOf(successor.id)).toMatchObject({ longest, usedAt: START });
  });

  test("reject when the session was ended meanwhile", async () => {
    const { repository, contents, op, store } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    const meanwhile = () => repository.end(session, op());
    await expect(
      repository.update(session, contents({ timeouts }), op({ store: interrupted(store, meanwhile) })),
    ).rejects.toMatchObject({ code: "ERR_SESSION_GONE" });
  });

  test("give what retire() can go on with", async () => {
    const { repository, contents, op, open } = scene();
    const session = await repository.create(idOf(0), contents({ timeouts }), op());
    const successor = await repository.create(idOf(1), contents(), op());
    expect(await repository.retire(session, successor, null, op())).toBe(true);
    expect(await open(session)).toBe("replaced");
  });

  test("store nothing when the cookie does not fit", async () => {
    const { repository, contents, op, calls } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    const assertFits = (): never => {
      throw new SessionError("ERR_COOKIE_TOO_LARGE", "It does not fit");
    };
    const tooLarge = { code: "ERR_COOKIE_TOO_LARGE" };
    await expect(repository.create(idOf(1), contents({ timeouts }), op({ assertFits }))).rejects.toMatchObject(
      tooLarge,
    );
    await expect(repository.update(session, contents({ timeouts }), op({ assertFits }))).rejects.toMatchObject(
      tooLarge,
    );
    expect(calls).toEqual(["load"]);
  });
});

describe("retire()", () => {
  test("keeps its note for as long as the grace, also if the session ends before", async () => {
    const { repository, contents, op, records } = scene();
    const session = await repository.create(idOf(0), contents({ timeouts: { idle: 1, absolute: 1 } }), op());
    const until = START + 90 * DAY * 1000;
    await repository.retire(session, await repository.create(idOf(1), contents(), op()), until, op());
    expect([...records.values()].map(({ expiresAt }) => expiresAt)).toEqual([until + MARGIN]);
  });

  test("knows what was noted when the session was created, so it needs one call", async () => {
    const { repository, contents, op, calls } = scene();
    const timeouts = { idle: 90 * DAY, absolute: 90 * DAY };
    const session = await repository.create(idOf(0), contents({ timeouts }), op());
    const successor = await repository.create(idOf(1), contents(), op());
    calls.length = 0;
    expect(await repository.retire(session, successor, null, op())).toBe(true);
    expect(calls).toEqual(["save"]);
  });

  test("goes on when something else was noted meanwhile", async () => {
    const { repository, contents, op, open, clock } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    await repository.update(session, contents({ timeouts: { idle: 90 * DAY, absolute: 90 * DAY } }), op());
    const successor = await repository.create(idOf(1), contents(), op());
    expect(await repository.retire(session, successor, null, op())).toBe(true);
    clock.now += UNDER_WAY;
    expect(await open(session)).toBe("retired");
  });

  test("rejects when it is not known whether the note was stored", async () => {
    const { repository, contents, op, store } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    const successor = await repository.create(idOf(1), contents(), op());
    const down = (): never => {
      throw new SessionError("ERR_STORE", "It is down");
    };
    await expect(
      repository.retire(session, successor, null, op({ store: { ...store, load: down, save: down } })),
    ).rejects.toMatchObject({ code: "ERR_STORE" });
  });
});

describe("reinstate()", () => {
  test.each(["stored", "read again"])(
    "puts back what was known of a session that was %s, and ends the successor",
    async (how) => {
      const { repository, contents, op, noteOf, open, records, rotated, update } = scene();
      const timeouts = { idle: 90 * DAY, absolute: 90 * DAY };
      const { successor: before } = await rotated();
      const stored = await update(before, contents({ timeouts }));
      const session = how === "stored" ? stored : (await repository.refresh(before, op()))!;
      const successor = await repository.create(idOf(2), contents(), op());
      await repository.retire(session, successor, null, op());
      await repository.reinstate(session, successor, op());
      const longest = START + 90 * DAY * 1000 + MARGIN;
      expect(await noteOf(session.id)).toMatchObject({ state: "alive", longest, usedAt: START });
      expect(records.get(await noteKey(session.id))?.expiresAt).toBe(longest);
      expect([await open(session), await open(successor)]).toEqual(["open", "revoked"]);
    },
  );

  test("notes no use of a session that had none", async () => {
    const { repository, contents, op, noteOf, records } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    const successor = await repository.create(idOf(1), contents(), op());
    await repository.retire(session, successor, null, op());
    await repository.reinstate(session, successor, op());
    expect(await noteOf(session.id)).toMatchObject({ state: "alive", longest: 0, usedAt: 0 });
    expect(records.get(await noteKey(session.id))?.expiresAt).toBe(START + 30 * DAY * 1000 + MARGIN);
  });

  test("leaves alone what another request has ended or used meanwhile, and ends the successor", async () => {
    for (const meanwhile of ["end", "update", "nothing"] as const) {
      const { repository, contents, op, open } = scene();
      const session = await repository.create(idOf(0), contents(), op());
      const successor = await repository.create(idOf(1), contents(), op());
      if (meanwhile === "end") await repository.end(session, op());
      if (meanwhile === "update")
        await repository.update(session, contents({ timeouts: { idle: 90 * DAY, absolute: 90 * DAY } }), op());
      await repository.reinstate(session, successor, op());
      expect([await open(session), await open(successor)]).toEqual([
        meanwhile === "end" ? "revoked" : "open",
        "revoked",
      ]);
    }
  });
});

describe("end()", () => {
  test("makes no call for a token of no session, and one for a session that has ended", async () => {
    const { repository, contents, op, calls } = scene();
    await repository.end("garbage", op());
    await repository.end(`1${"A".repeat(60)}`, op());
    expect(calls).toEqual([]);
    const { token } = await repository.create(idOf(0), contents(), op());
    for (let times = 0; times < 2; times++) await repository.end(token, op());
    expect(calls).toEqual(["load", "save", "load"]);
  });

  test("leaves a note alone that it cannot read, which ends the session", async () => {
    const { repository, contents, op, calls, open, records } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    await repository.end(session, op());
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    records.set(key, { ...record, fields: new Map([["@", "x"]]) });
    calls.length = 0;
    expect(await open(session)).toBe("revoked");
    await repository.end(session.token, op());
    expect(calls).toEqual(["load", "load"]);
  });

  test("needs no second attempt for a token whose session has a note", async () => {
    const { repository, contents, op, calls, open } = scene();
    const timeouts = { idle: 90 * DAY, absolute: 90 * DAY };
    const session = await repository.create(idOf(0), contents({ timeouts }), op());
    calls.length = 0;
    await repository.end(session.token, op());
    expect(calls).toEqual(["load", "save"]);
    expect(await open(session)).toBe("revoked");
  });

  test("tries again when something else was noted meanwhile", async () => {
    const { repository, contents, op, store, open } = scene();
    const session = await repository.create(idOf(0), contents(), op());
    const timeouts = { idle: 90 * DAY, absolute: 90 * DAY };
    const meanwhile = () => repository.update(session, contents({ timeouts }), op());
    await repository.end(session, op({ store: interrupted(store, meanwhile) }));
    expect(await open(session)).toBe("revoked");
  });

  test("follows eight successors, and no more", async () => {
    for (const [retirements, state] of [
      [8, "revoked"],
      [9, "open"],
    ] as const) {
      const { repository, chain, open, op } = scene();
      const sessions = await chain(retirements);
      await repository.end(sessions[0]!.token, op());
      expect(await open(sessions.at(-1)!)).toBe(state);
    }
  });
});

test("a repository without revocations makes no calls", async () => {
  const { repository, contents, op, calls, update, open } = scene({ hasRevocation: false });
  const session = await repository.create(
    idOf(0),
    contents({ unconfirmed: true, timeouts: { idle: 90 * DAY, absolute: 90 * DAY } }),
    op(),
  );
  const successor = await update(session, contents());
  expect(await repository.retire(session, successor, null, op())).toBe(true);
  await repository.reinstate(session, successor, op());
  await repository.end(session, op());
  expect(await repository.refresh(session, op())).toMatchObject({ id: session.id });
  expect(await open(session)).toBe("open");
  expect(calls).toEqual([]);
});
