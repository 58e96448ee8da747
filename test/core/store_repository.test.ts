import { describe, expect, test } from "vitest";
import { SessionError, type SessionStore } from "../../mod.ts";
import { type Metadata, withMetadata } from "../../src/core/metadata.ts";
import type { RecordCodec } from "../../src/core/record_codec.ts";
import type { Contents, Found, Operation } from "../../src/core/repository.ts";
import { StoreRepository } from "../../src/core/store_repository.ts";
import { takeEnded } from "../../src/core/store_repository/ended_sessions.ts";
import { faultyStore } from "../../src/testing.ts";
import { altered, counted, keyOf, openStore } from "../setup/sessions.ts";

const START = 1_800_000_000_000;
const DAY = 86_400_000;
const MARGIN = 600_000;
/** For this long after an id was retired, a request with it counts as already running. */
const UNDER_WAY = 60_000;
/** How long the record of a retired id is kept. */
const RETIRED_LIFE = 600_000;

const idOf = (at: number): string => String(at).padStart(32, "s");

/** The token is the id with a mark. */
const IDS = {
  toToken: (id: string) => `${id}.signed`,
  toId: (token: string) => (token.endsWith(".signed") ? token.slice(0, -7) : null),
};

/** A cipher that puts a mark before the text of each field. The metadata stay as they are. */
const CIPHER: RecordCodec = {
  seal: (fields, id, key) =>
    new Map(
      [...fields].map(([name, text]) => [name, name === "@" ? text : `${key === keyOf(id) ? "sealed" : ""}${text}`]),
    ),
  open: (fields) => {
    const texts = [...fields].filter(([name]) => name !== "@");
    if (texts.length === 0 || texts.some(([, text]) => !text.startsWith("sealed"))) return null;
    return new Map([...fields].map(([name, text]) => [name, text.replace(/^sealed/, "")]));
  },
};

/** A repository on a store, without the core, so that each step is one call. Sessions expire after a day without use. */
function scene(options: Partial<ConstructorParameters<typeof StoreRepository>[0]> = {}) {
  const { store: inner, records } = openStore();
  const faulty = faultyStore(inner);
  const { store, calls } = counted(faulty);
  const ends: number[] = [];
  const clock = { now: START };
  let writes = 0;
  const op = (more: Partial<Operation> = {}): Operation => ({
    now: clock.now,
    store: altered(store, {
      save: (save, key, write) => {
        ends.push(write.expiresAt);
        return save(key, write);
      },
    }),
    request: undefined,
    runtimeArguments: [],
    name: "session",
    presentedName: "session",
    session: undefined,
    writeId: String(++writes).padStart(16, "w"),
    endsAt: ({ lastSeenAt }) => lastSeenAt + DAY,
    emit: () => {},
    backOff: async () => {},
    ...more,
  });
  const contents = (more: Partial<Metadata> = {}): Contents => ({
    fields: new Map([["=n", "1"]]),
    metadata: { createdAt: clock.now, absoluteSince: clock.now, ...more },
    lastSeenAt: clock.now,
  });
  const repository = new StoreRepository({
    ids: undefined,
    encryption: undefined,
    hasDefaultIds: true,
    endsOnReuse: false,
    ...options,
  });
  const created = async (at: number, more: Partial<Metadata> = {}): Promise<Found> => {
    const found = await repository.create(idOf(at), contents(more), op());
    if (found === "conflict") throw new Error("The id is taken");
    return found;
  };
  /** The id of the session that a token gives, or the reason why it gives none. */
  const open = async (token: string, more: Partial<Operation> = {}): Promise<string> => {
    const found = await repository.open(token, op(more));
    return typeof found === "string" ? found : found.id;
  };
  /** A retired session and its successor. */
  const retired = async (graceUntil: number | null, more: Partial<Metadata> = {}) => {
    const old = await created(0);
    const successor = await created(1, more);
    expect(await repository.retire(old, successor, graceUntil, op())).toBe(true);
    return { old, successor };
  };
  const changed = (found: Found, text = "2"): Contents => ({ ...found, fields: new Map([["=n", text]]) });
  return { store, records, calls, ends, faulty, clock, op, contents, repository, created, open, retired, changed };
}

describe("open()", () => {
  test("finds a session until it ends, with what was stored", async () => {
    const { clock, created, open, op, repository } = scene();
    const { id, token, version } = await created(0);
    expect([id, token]).toEqual([idOf(0), idOf(0)]);
    const found = await repository.open(token, op());
    expect(found).toMatchObject({ id, token, version, lastSeenAt: START, metadata: { createdAt: START } });
    clock.now += DAY - 1;
    expect(await open(token)).toBe(id);
    clock.now += 1;
    expect(await open(token)).toBe("expired");
  });

  test("finds a session that can be changed, and reads what was stored", async () => {
    const { created, changed, op, repository } = scene();
    const { token } = await created(0);
    const opened = async (): Promise<Found> => {
      const found = await repository.open(token, op());
      if (typeof found === "string") throw new Error(`The session is ${found}`);
      return found;
    };
    const found = await opened();
    expect(await repository.update(found, changed(found), op())).not.toBe("conflict");
    expect((await opened()).fields.get("=n")).toBe("2");
  });

  test("asks the store for nothing that can be no id", async () => {
    const { calls, open } = scene();
    expect([await open("a".repeat(31)), await open("a".repeat(33)), await open(" ".repeat(32))]).toEqual(
      Array.from({ length: 3 }, () => "malformed"),
    );
    expect(calls).toEqual([]);
    expect(await open("a".repeat(32))).toBe("unknown");
    const others = scene({ hasDefaultIds: false });
    expect([await others.open("a".repeat(33)), await others.open("a".repeat(21))]).toEqual(["unknown", "malformed"]);
  });

  test("finds a session by a token that the format of ids has made, and by no other", async () => {
    const { calls, created, open, op, repository } = scene({ ids: IDS });
    const { id, token } = await created(0);
    expect([id, token]).toEqual([idOf(0), `${idOf(0)}.signed`]);
    calls.length = 0;
    expect(await repository.open(token, op())).toMatchObject({ id, token });
    expect(calls).toEqual(["load"]);
    expect([await open(id), await open("junk.signed")]).toEqual(["forged", "malformed"]);
    expect(calls).toEqual(["load"]);
    expect(repository.tokenFor(id, op())).toBe(token);
    expect([await repository.idOf(token, op()), await repository.idOf(id, op())]).toEqual([id, null]);
    expect(scene().repository.tokenFor(id, op())).toBe(id);
  });

  test("says why a record is no session", async () => {
    const { clock, created, open, records } = scene();
    const { id } = await created(0);
    const record = records.get(keyOf(id));
    if (record === undefined) throw new Error("It was not stored");
    const put = (changed: Partial<typeof record>): void => void records.set(keyOf(id), { ...record, ...changed });
    put({ fields: new Map() });
    expect(await open(id)).toBe("revoked");
    put({ fields: new Map([["@", "7"]]) });
    expect(await open(id)).toBe("newer");
    put({ fields: new Map([["@", "junk"]]) });
    expect(await open(id)).toBe("corrupt");
    put({ fields: withMetadata(record.fields, { createdAt: 1, absoluteSince: 1 }, keyOf(idOf(1))) });
    expect(await open(id)).toBe("misplaced");
    put({});
    expect(await open(id)).toBe(id);
    clock.now += DAY;
    put({ fields: new Map() });
    expect(await open(id)).toBe("revoked");
  });

  test("reads what the cipher has written, and refuses what it has not", async () => {
    const { created, open, op, records, repository } = scene({ encryption: CIPHER });
    const { id, fields } = await created(0);
    expect(fields.get("=n")).toBe("1");
    expect(records.get(keyOf(id))?.fields.get("=n")).toBe("sealed1");
    const found = await repository.open(id, op());
    expect(typeof found === "string" ? found : found.fields.get("=n")).toBe("1");
    const record = records.get(keyOf(id));
    if (record === undefined) throw new Error("It was not stored");
    records.set(keyOf(id), { ...record, fields: new Map([...record.fields, ["=n", "1"]]) });
    expect(await open(id)).toBe("corrupt");
  });
});

describe("a retired id", () => {
  test("leads to its successor during the grace, and nowhere from its last instant on", async () => {
    const { clock, open, retired } = scene();
    const { old, successor } = await retired(START + 1000);
    clock.now += 999;
    expect([await open(old.token), await open(successor.token)]).toEqual([successor.id, successor.id]);
    clock.now += 1;
    expect([await open(old.token), await open(successor.token)]).toEqual(["replaced", successor.id]);
    clock.now = START + UNDER_WAY - 1;
    expect(await open(old.token)).toBe("replaced");
    clock.now += 1;
    expect(await open(old.token)).toBe("retired");
  });

  test("leads nowhere without a grace", async () => {
    const { open, records, retired } = scene();
    const { old, successor } = await retired(null);
    expect([await open(old.token), await open(successor.token)]).toEqual(["replaced", successor.id]);
    const { fields } = records.get(keyOf(old.id)) ?? {};
    expect(fields?.has("=n")).toBe(false);
    expect(String(fields?.get("@"))).not.toContain("grace");
    const texts = [...records.values()].flatMap(({ fields: each }) => [...each.values()]).join();
    expect([texts.includes(old.id), texts.includes(successor.id)]).toEqual([false, false]);
  });

  test("leads to the token of its successor", async () => {
    // A retired record has no data that a cipher could open.
    const { op, repository, retired } = scene({ ids: IDS, encryption: CIPHER });
    const { old, successor } = await retired(START + 1000);
    expect(await repository.open(old.token, op())).toMatchObject({ id: successor.id, token: successor.token });
  });

  test("is noted for ten minutes, or for as long as its grace, and the margin of clocks", async () => {
    const brief = scene();
    await brief.retired(START + 1000);
    expect(brief.ends.at(-1)).toBe(START + RETIRED_LIFE + MARGIN);
    const long = scene();
    await long.retired(START + DAY);
    expect(long.ends.at(-1)).toBe(START + DAY + MARGIN);
    const none = scene();
    await none.retired(null);
    expect(none.ends.at(-1)).toBe(START + RETIRED_LIFE + MARGIN);
  });

  test("leads over several others, but not over more than a client makes", async () => {
    const { created, open, op, repository } = scene();
    let last = await created(0);
    for (let at = 1; at <= 9; at++) {
      const next = await created(at);
      await repository.retire(last, next, START + DAY, op());
      last = next;
    }
    expect([await open(idOf(1)), await open(idOf(0))]).toEqual([idOf(9), "replaced"]);
  });

  test("leads nowhere when another program has spoiled the way, or the successor is gone", async () => {
    const { open, records, retired } = scene();
    const { old, successor } = await retired(START + DAY);
    const key = keyOf(old.id);
    const record = records.get(key);
    if (record === undefined) throw new Error("It was not stored");
    for (const id of ["%", ""]) {
      const grace = { id, until: START + DAY };
      const metadata = { createdAt: 1, absoluteSince: 1, successor: { key: "k", retiredAt: START, grace } };
      records.set(key, { ...record, fields: withMetadata(new Map(), metadata, key) });
      expect(await open(old.token)).toBe("corrupt");
    }
    records.set(key, record);
    records.delete(keyOf(successor.id));
    expect(await open(old.token)).toBe("unknown");
  });

  test("leads to a successor that waits to be used, and not to one that was", async () => {
    const { clock, open, op, repository, retired, changed } = scene();
    const { old, successor } = await retired(START + DAY, { unconfirmed: true });
    clock.now += UNDER_WAY;
    expect(await open(old.token)).toBe(successor.id);
    const { unconfirmed: _, ...confirmed } = successor.metadata;
    await repository.update(successor, { ...changed(successor), metadata: confirmed }, op());
    clock.now -= 1;
    expect(await open(old.token)).toBe(successor.id);
    clock.now += 1;
    expect([await open(old.token), await open(successor.token)]).toEqual(["reuse", successor.id]);
  });

  test("ends its successor when it is used after it by a client, if that was asked for", async () => {
    const { clock, open, op, repository, retired, changed } = scene({ endsOnReuse: true });
    const { old, successor } = await retired(START + DAY, { unconfirmed: true });
    const { unconfirmed: _, ...confirmed } = successor.metadata;
    await repository.update(successor, { ...changed(successor), metadata: confirmed }, op());
    clock.now += UNDER_WAY;
    expect([await open(old.token, { isOwnToken: true }), await open(successor.token)]).toEqual(["reuse", successor.id]);
    const own = op();
    expect([await repository.open(old.token, own), await open(successor.token)]).toEqual(["reuse", "unknown"]);
    expect(takeEnded(own).map(({ key }) => key)).toEqual([keyOf(successor.id)]);
  });

  test("leads to a successor that waits for nothing until the grace is over", async () => {
    const { clock, open, retired } = scene({ endsOnReuse: true });
    const { old, successor } = await retired(START + DAY);
    clock.now += UNDER_WAY;
    expect(await open(old.token)).toBe(successor.id);
  });

  test("leads on to the successor of a successor that was used", async () => {
    const { clock, created, open, op, repository, retired } = scene({ endsOnReuse: true });
    const { old, successor } = await retired(START + DAY, { unconfirmed: true });
    const last = await created(2);
    await repository.retire(successor, last, START + DAY, op());
    clock.now += UNDER_WAY;
    expect([await open(old.token), await open(last.token)]).toEqual([last.id, last.id]);
  });
});

describe("a retired id whose successor was renewed by age", () => {
  async function chainOfThree(endsOnReuse: boolean, isOverAnother = false) {
    const { clock, created, open, op, repository, retired } = scene({ endsOnReuse });
    const { old, successor: first } = await retired(START + DAY, { unconfirmed: true });
    clock.now += UNDER_WAY;
    const successor = isOverAnother ? await created(3) : first;
    if (isOverAnother) await repository.retire(first, successor, START + DAY, op());
    const last = await created(2, { unconfirmed: true });
    const renew = (until: number | null = START + DAY) => repository.retire(successor, last, until, op());
    return { clock, open, old, successor, last, renew };
  }

  test.each(["lives", "ends", "ends, over another"])("leads nowhere once that one was used (it %s)", async (how) => {
    const ends = how !== "lives";
    const { old, successor, last, renew, open } = await chainOfThree(ends, how === "ends, over another");
    expect(await open(old.token)).toBe(successor.id);
    await renew();
    expect(await open(successor.token)).toBe(last.id);
    expect([await open(old.token), await open(last.token)]).toEqual(["reuse", ends ? "unknown" : last.id]);
  });

  test("leads nowhere when that one was retired without a grace, and ends nothing", async () => {
    const { old, last, renew, open } = await chainOfThree(true);
    await renew(null);
    expect([await open(old.token), await open(last.token)]).toEqual(["replaced", last.id]);
  });

  test("leads there for a minute in any case", async () => {
    const { clock, old, last, renew, open } = await chainOfThree(true);
    clock.now -= 1;
    await renew();
    expect(await open(old.token)).toBe(last.id);
  });
});

describe("refresh()", () => {
  test("finds the newest state, or that the session was ended or retired", async () => {
    const { calls, created, op, repository, changed } = scene({ ids: IDS });
    const before = await created(0);
    await repository.update(before, changed(before), op());
    calls.length = 0;
    const found = await repository.refresh(before, op());
    expect(found).toMatchObject({ id: before.id, token: before.token });
    expect(found?.fields.get("=n")).toBe("2");
    expect(calls).toEqual(["load"]);
    await repository.end(before, op());
    expect(await repository.refresh(before, op())).toBeNull();
    const old = await created(1);
    await repository.retire(old, await created(2), START + DAY, op());
    expect(await repository.refresh(old, op())).toBeNull();
  });

  test("finds a session that was alive when the request came, but none that an engine may have swept", async () => {
    const { clock, created, op, repository } = scene();
    const found = await created(0);
    clock.now += DAY + MARGIN - 1;
    expect(await repository.refresh(found, op())).toMatchObject({ id: found.id });
    clock.now += 1;
    expect(await repository.refresh(found, op())).toBeNull();
  });
});

describe("create() and update()", () => {
  test("store until the session ends, and the margin of clocks", async () => {
    const { clock, created, ends, op, repository, changed } = scene();
    const found = await created(0);
    clock.now += 5;
    await repository.update(found, { ...changed(found), lastSeenAt: clock.now }, op());
    expect(ends).toEqual([START + DAY + MARGIN, START + 5 + DAY + MARGIN]);
  });

  test("create nothing where something is, unless it is the same write, sent twice", async () => {
    const { contents, created, faulty, op, open, repository } = scene();
    const taken = await created(0);
    expect(await repository.create(taken.id, contents(), op())).toBe("conflict");
    faulty.plan({ save: ["does it twice"] });
    const found = await repository.create(idOf(1), contents(), op());
    expect(found).toMatchObject({ id: idOf(1), token: idOf(1) });
    expect(await open(idOf(1))).toBe(idOf(1));
  });

  test("create nothing where a record is that is no session", async () => {
    const { contents, op, records, repository } = scene();
    records.set(keyOf(idOf(0)), { fields: new Map([["@", "7"]]), lastSeenAt: START, version: 1 });
    expect(await repository.create(idOf(0), contents(), op())).toBe("conflict");
  });

  test("change what was found, and nothing that was stored since", async () => {
    const { created, op, open, records, repository, changed } = scene({ encryption: CIPHER });
    const before = await created(0);
    const after = await repository.update(before, changed(before), op());
    expect(after).toMatchObject({ id: before.id, token: before.token });
    expect(after === "conflict" || after.version === before.version).toBe(false);
    expect(await repository.update(before, changed(before, "3"), op())).toBe("conflict");
    expect(records.get(keyOf(before.id))?.fields.get("=n")).toBe("sealed2");
    expect(await open(before.token)).toBe(before.id);
  });

  test("name each write but a touch, which leaves the fields as they are", async () => {
    const { calls, clock, created, op, records, repository, changed } = scene({ encryption: CIPHER });
    const before = await created(0);
    const written = op();
    const after = await repository.update(before, changed(before), written);
    if (after === "conflict") throw new Error("Nobody else wrote");
    expect(after.metadata).toMatchObject({ writes: `${written.writeId}${before.metadata.writes}`, writtenAt: START });
    const stored = records.get(keyOf(before.id))?.fields;
    clock.now += 5;
    const touched = await repository.update(after, { ...after, lastSeenAt: clock.now }, op());
    expect(touched).toMatchObject({ metadata: after.metadata, lastSeenAt: START + 5 });
    expect(touched === "conflict" ? touched : touched.fields).toBe(after.fields);
    expect(records.get(keyOf(before.id))).toMatchObject({ lastSeenAt: START + 5, fields: stored });
    const { metadata } = after;
    const renamed = await repository.update(
      touched === "conflict" ? after : touched,
      { ...after, metadata: { ...metadata, timeouts: { idle: 5 } } },
      op(),
    );
    expect(renamed).toMatchObject({ metadata: { timeouts: { idle: 5 } } });
    expect(calls).toEqual(["create", "change", "touch", "change"]);
  });

  test("tell a store that the same write again is no touch, which the store may drop when it is busy", async () => {
    const { calls, created, op, repository, changed } = scene();
    const written = op();
    const before = await created(0);
    const after = await repository.update(before, changed(before), written);
    if (after === "conflict") throw new Error("Nobody else wrote");
    calls.length = 0;
    await repository.update(after, { ...after, metadata: { ...after.metadata } }, written);
    expect(calls).toEqual(["change"]);
  });

  test("tell a store what has changed of what it has", async () => {
    const { created, op, repository, store, changed } = scene({ encryption: CIPHER });
    const before = await created(0);
    const seen: unknown[] = [];
    const watched = altered(store, {
      save: (save, key, write) => {
        seen.push([write.changed.get("=n"), write.expected]);
        return save(key, write);
      },
    });
    await repository.update(before, changed(before), op({ store: watched }));
    expect(seen).toEqual([["sealed2", before.version]]);
  });

  test("tell a store which fields are gone, and nothing of those that are as they were", async () => {
    const { created, op, repository, store, changed } = scene();
    const before = await created(0);
    const seen: unknown[] = [];
    const watched = altered(store, {
      save: (save, key, write) => {
        seen.push([...write.changed].filter(([name]) => name !== "@"));
        return save(key, write);
      },
    });
    const withBoth: Contents = { ...changed(before), fields: new Map([...changed(before).fields, ["=m", "1"]]) };
    const both = await repository.update(before, withBoth, op({ store: watched }));
    if (both === "conflict") throw new Error("Nobody else wrote");
    await repository.update(both, changed(both), op({ store: watched }));
    expect(seen.at(-1)).toEqual([["=m", null]]);
  });
});

describe("retire()", () => {
  test("answers conflict when the session was changed since, and leaves it alive, and when it has ended", async () => {
    const { created, op, open, repository, changed } = scene();
    const before = await created(0);
    await repository.update(before, changed(before), op());
    const successor = await created(1);
    expect(await repository.retire(before, successor, null, op())).toBe("conflict");
    expect(await open(before.token)).toBe(before.id);
    await repository.end(before.token, op());
    expect(await repository.retire(before, successor, null, op())).toBe("conflict");
  });

  test("reads nothing once the store has done it, for what is read may be late", async () => {
    const { calls, created, op, repository } = scene();
    const [before, successor] = [await created(0), await created(1)];
    calls.length = 0;
    expect(await repository.retire(before, successor, null, op())).toBe(true);
    expect(calls).toEqual(["change"]);
  });

  test("is done when it was sent twice, and when its answer was lost", async () => {
    for (const fault of ["does it twice", "does it but rejects"] as const) {
      const { created, faulty, op, open, repository } = scene();
      const [before, successor] = [await created(0), await created(1)];
      faulty.plan({ save: [fault] });
      expect(await repository.retire(before, successor, START + DAY, outage(op))).toBe(true);
      expect(await open(before.token)).toBe(successor.id);
    }
  });

  test("fails when it was not done, and comes to nothing afterwards", async () => {
    const { clock, created, ends, op, open, records, repository, store } = scene();
    const [before, successor] = [await created(0), await created(1)];
    let late: (() => unknown) | undefined;
    const stuck = altered(store, {
      save: (save, key, write) => {
        if (late !== undefined) return (ends.push(write.expiresAt), save(key, write));
        late = () => save(key, write);
        throw new SessionError("ERR_STORE_TIMEOUT", "late");
      },
    });
    clock.now += 5;
    await expect(
      Promise.resolve(repository.retire(before, successor, START + DAY, op({ store: stuck }))),
    ).rejects.toMatchObject({ code: "ERR_STORE_TIMEOUT" });
    expect(ends.at(-1)).toBe(clock.now + DAY + MARGIN);
    expect(await late?.()).toBe("conflict");
    expect(await open(before.token)).toBe(before.id);
    expect(records.get(keyOf(before.id))).toMatchObject({ lastSeenAt: clock.now });
    expect(records.get(keyOf(before.id))?.fields.get("=n")).toBe("1");
  });

  test("fails with its own error when the store stays down, and when it refuses the record", async () => {
    const { created, op, repository, store } = scene();
    const [before, successor] = [await created(0), await created(1)];
    for (const code of ["ERR_STORE", "ERR_RECORD_TOO_LARGE"] as const) {
      let saves = 0;
      const failing = altered(store, {
        save: () => {
          throw new SessionError(code, `no ${++saves}`);
        },
      });
      const retiring = Promise.resolve().then(() => repository.retire(before, successor, null, op({ store: failing })));
      await expect(retiring).rejects.toMatchObject({ code, message: "no 1" });
      expect(saves).toBe(code === "ERR_STORE" ? 2 : 1);
    }
  });

  test("keeps the instants of a session, and nothing else of it", async () => {
    const { op, records, repository, created } = scene();
    const before = await created(0, { timeouts: { idle: 5 }, authenticatedAt: 3 });
    const successor = await created(1);
    await repository.retire(before, successor, null, op());
    const { fields, lastSeenAt } = records.get(keyOf(before.id)) ?? {};
    expect([[...(fields?.keys() ?? [])], lastSeenAt]).toEqual([["@"], START]);
    expect(fields?.get("@")).toContain(`${START} ${START} `);
    expect(fields?.get("@")).not.toContain("authenticatedAt");
    expect(fields?.get("@")).toContain(keyOf(successor.id));
  });
});

/** An operation whose store throws the errors that the library's client of a store throws. */
function outage(op: () => Operation): Operation {
  const { store, ...rest } = op();
  const save: SessionStore["save"] = async (key, write) => {
    try {
      return await store.save(key, write);
    } catch {
      throw new SessionError("ERR_STORE", "down");
    }
  };
  return { ...rest, store: { ...store, save } };
}

describe("reinstate()", () => {
  test("puts a retired session back, and ends the successor", async () => {
    const { clock, ends, op, open, records, repository, retired } = scene({ encryption: CIPHER });
    const { old, successor } = await retired(null);
    clock.now += 5;
    await repository.reinstate(old, successor, op());
    expect([await open(old.token), await open(successor.token)]).toEqual([old.id, "unknown"]);
    expect(records.get(keyOf(old.id))).toMatchObject({ lastSeenAt: START });
    expect(records.get(keyOf(old.id))?.fields.get("=n")).toBe("sealed1");
    expect(ends.at(-1)).toBe(START + DAY + MARGIN);
  });

  test.each([
    ["deletes them", {}, "unknown"],
    ["deletes them whatever their version is", { compareAndSet: false }, "unknown"],
    ["leaves tombstones", { consistency: "eventual", compareAndSet: false }, "revoked"],
  ] as const)("ends what the successor leads to by now, in a store that %s", async (_, traits, reason) => {
    const { created, op, open, records, repository, retired, store } = scene();
    const { old, successor } = await retired(null);
    const last = await created(2);
    await repository.retire(successor, last, null, op());
    const place = altered(store, {
      // Without compare-and-set, the last write wins.
      save: (save, key, write) =>
        save(key, "compareAndSet" in traits ? { ...write, expected: records.get(key)?.version ?? null } : write),
      delete: (remove, key, expected) => remove(key, "compareAndSet" in traits ? undefined : expected),
    });
    await repository.reinstate(old, successor, op({ store: { ...place, traits: { ...store.traits, ...traits } } }));
    const opened = await Promise.all([old, successor, last].map(({ token }) => open(token)));
    expect(opened).toEqual([old.id, reason, reason]);
  });

  test("leaves one alone that leads elsewhere, was ended, or must not come back", async () => {
    const elsewhere = scene();
    const { old, successor } = await elsewhere.retired(null);
    const other = await elsewhere.created(2);
    await elsewhere.repository.reinstate(old, other, elsewhere.op());
    const opened = await Promise.all([old, successor, other].map(({ token }) => elsewhere.open(token)));
    expect(opened).toEqual(["replaced", successor.id, "unknown"]);

    const gone = scene();
    const ended = await gone.retired(null);
    gone.records.delete(keyOf(ended.old.id));
    await gone.repository.reinstate(ended.old, ended.successor, gone.op());
    expect([await gone.open(ended.old.token), await gone.open(ended.successor.token)]).toEqual(["unknown", "unknown"]);

    const final = scene();
    const { old: last, successor: next } = await final.retired(null);
    const key = keyOf(last.id);
    const record = final.records.get(key);
    if (record === undefined) throw new Error("It was not stored");
    const pointer = { key: keyOf(next.id), retiredAt: START, isFinal: true } as const;
    const metadata = { createdAt: START, absoluteSince: START, successor: pointer };
    final.records.set(key, { ...record, fields: withMetadata(new Map(), metadata, key) });
    await final.repository.reinstate(last, next, final.op());
    expect([await final.open(last.token), await final.open(next.token)]).toEqual(["replaced", "unknown"]);
  });

  test("keeps a retirement that is still under way from being done", async () => {
    const { created, op, open, repository, store } = scene();
    const [before, successor] = [await created(0), await created(1)];
    let late: (() => unknown) | undefined;
    const delayed = altered(store, {
      save: (save, key, write) => {
        late ??= () => save(key, write);
        throw new SessionError("ERR_STORE_TIMEOUT", "late");
      },
    });
    await Promise.resolve(repository.retire(before, successor, null, op({ store: delayed }))).catch(() => {});
    await repository.reinstate(before, successor, op());
    expect(await late?.()).toBe("conflict");
    expect([await open(before.token), await open(successor.token)]).toEqual([before.id, "unknown"]);
  });

  test("does not write over what another request has stored since", async () => {
    const { calls, created, op, open, records, repository, changed } = scene();
    const [before, successor] = [await created(0), await created(1)];
    await repository.update(before, changed(before), op());
    calls.length = 0;
    await repository.reinstate(before, successor, op());
    expect(calls).toEqual(["load", "delete"]);
    expect(records.get(keyOf(before.id))?.fields.get("=n")).toBe("2");
    expect([await open(before.token), await open(successor.token)]).toEqual([before.id, "unknown"]);
  });
});

describe("end()", () => {
  test("ends a session that was found, and whatever a token leads to", async () => {
    const { created, op, open, repository } = scene({ ids: IDS });
    const [first, second] = [await created(0), await created(1)];
    await repository.end(first, op());
    await repository.end(second.token, op());
    expect([await open(first.token), await open(second.token)]).toEqual(["unknown", "unknown"]);
  });

  test("ends the successor of a retired id as well", async () => {
    const { op, open, repository, retired } = scene();
    const { old, successor } = await retired(null);
    await repository.end(old.token, op());
    expect([await open(old.token), await open(successor.token)]).toEqual(["unknown", "unknown"]);
  });

  test("notes the sessions that have ended", async () => {
    const { created, op, repository, retired } = scene();
    const own = op();
    const session = await created(2);
    await repository.end(session, own);
    expect(takeEnded(own).map(({ key }) => key)).toEqual([keyOf(session.id)]);
    const { old, successor } = await retired(null);
    await repository.end(old, own);
    // The old id was found before it was retired, so it is noted as it was found, and as a retired id.
    expect(takeEnded(own).map(({ key }) => key)).toEqual([keyOf(successor.id), keyOf(old.id), keyOf(old.id)]);
    expect(takeEnded(own)).toEqual([]);
  });

  test("leaves the note of a session that was revoked", async () => {
    const { calls, created, op, open, records, repository } = scene();
    const found = await created(0);
    records.set(keyOf(found.id), { fields: new Map(), lastSeenAt: START, version: 100 });
    calls.length = 0;
    await repository.end(found.token, op());
    expect(calls).toEqual(["load"]);
    expect(await open(found.token)).toBe("revoked");
  });

  test("asks the store for nothing that can be no id", async () => {
    const { calls, op, repository } = scene({ ids: IDS });
    await repository.end(idOf(0), op());
    await repository.end("junk.signed", op());
    await scene().repository.end("junk", op());
    expect(calls).toEqual([]);
  });
});
