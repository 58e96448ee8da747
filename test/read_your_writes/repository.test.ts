import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Operation,
  type Repository,
  SessionError,
  type SessionStore,
  type StoredRecord,
} from "../../mod.ts";
import { SWEEP_MARGIN } from "../../src/core/expiry.ts";
import type { Found } from "../../src/core/repository.ts";
import { createId } from "../../src/core/session_id.ts";
import { StoreRepository } from "../../src/core/store_repository.ts";
import type { CookieTransport, Transport } from "../../src/core/transport.ts";
import { type CookieContent, cookieText } from "../../src/read_your_writes/cookie_text.ts";
import { clientMetadataText } from "../../src/read_your_writes/merged_session.ts";
import type { FieldChange } from "../../src/read_your_writes/recent_writes.ts";
import { recentWritesCookie } from "../../src/read_your_writes/recent_writes_cookie.ts";
import { readYourWritesRepository } from "../../src/read_your_writes/repository.ts";
import { windowOf } from "../../src/read_your_writes/window.ts";

const SHOP = "https://shop.example/";
const NOW = 1_800_000_000_000;

/** A transport with only the methods that say how its cookie is set. */
const TRANSPORT: CookieTransport = {
  read: () => "token",
  write() {},
  clear() {},
  cookieName: () => "session",
  cookieAttributes: () => "",
};

/** One request on the repository of a store, with the cookies that it sets. */
function openRequest(store: SessionStore = eventualStore(), presented: ReadonlyMap<string, string> = new Map()) {
  const cookies = Array.from(presented, ([suffix, value]) => `session~${suffix}=${value}`);
  const request = new Request(SHOP, { headers: { Cookie: cookies.join("; ") } });
  const events: string[] = [];
  const op: Operation = {
    now: NOW,
    store,
    request,
    runtimeArguments: [],
    name: "session",
    presentedName: "session",
    session: {},
    writeId: "a-write-of-this-request",
    endsAt: ({ lastSeenAt }) => lastSeenAt + 86_400_000,
    emit: ({ type }) => void events.push(type),
    backOff: async () => {},
  };
  const sealer = {
    prepare: () => {},
    seal: async (text: string) => btoa(text),
    open: async (text: string) => atob(text),
  };
  const own = recentWritesCookie(TRANSPORT, sealer, op, request);
  const inner = new StoreRepository({ ids: undefined, encryption: undefined, hasDefaultIds: true, endsOnReuse: false });
  const repository: Repository = readYourWritesRepository(inner, () => own);
  const told = async (): Promise<unknown[]> => {
    const headers = new Headers();
    await own.respond(headers, op);
    return headers.getSetCookie().map((line) => {
      const value = line.slice(line.indexOf("=") + 1).split(";", 1)[0] ?? "";
      return value === "" ? "expired" : JSON.parse(atob(value));
    });
  };
  return { op, inner, own, repository, told, events };
}

/** Recent-writes cookies, by the end of their names, as the transport returns them. */
function sealed(...contents: readonly CookieContent[]): Map<string, string> {
  return new Map(contents.map((content, at) => [`0123456789abcde${at}`, btoa(cookieText(content, NOW))]));
}

/** The changes of fields that a client has seen. */
function writesOf(changes: Record<string, FieldChange>, versions: readonly string[] = [], isComplete = false) {
  return { changes: new Map(Object.entries(changes)), lastSeenAt: NOW, isComplete, versions };
}

/** The session in an answer, which must be one. */
function sessionOf(answer: Found | string): Found {
  if (typeof answer === "string") throw new Error(answer);
  return answer;
}

/** A store in which the last write wins. */
function eventualStore(): SessionStore {
  const records = new Map<string, StoredRecord>();
  return {
    traits: { consistency: "eventual", compareAndSet: false, maxBytes: Infinity },
    load: (key) => records.get(key) ?? null,
    save(key, { id, record }) {
      records.set(key, { ...record, version: id });
      return id;
    },
    delete: (key) => void records.delete(key),
  };
}

const CONTENTS = { fields: new Map([["=a", "1"]]), metadata: { createdAt: NOW, absoluteSince: NOW }, lastSeenAt: NOW };

describe("readYourWritesRepository()", () => {
  test("marks what it stores in a field that nobody sees", async () => {
    const store = eventualStore();
    const { repository, op } = openRequest(store);
    const id = createId();
    const created = await repository.create(id, CONTENTS, op);
    if (created === "conflict") throw new Error("It is new");
    expect([...created.fields.keys()].filter((name) => name !== "@")).toEqual(["=a"]);
    const changed = await repository.update(created, { ...created, fields: new Map([["=b", "2"]]) }, op);
    if (changed === "conflict") throw new Error("Nobody else writes");
    expect([...changed.fields.keys()].filter((name) => name !== "@")).toEqual(["=b"]);
    const inner = new StoreRepository({
      ids: undefined,
      encryption: undefined,
      hasDefaultIds: true,
      endsOnReuse: false,
    });
    const stored = await inner.open(id, op);
    if (typeof stored === "string") throw new Error(stored);
    expect(JSON.parse(stored.fields.get("*recent") ?? "")).toEqual([0, { [NOW]: ["@"], [NOW + 1]: ["=a", "=b"] }]);
  });

  test("opens a session again that was put back in this request, and tells the client of neither id", async () => {
    const { repository, op, told } = openRequest();
    const old = await repository.create(createId(), CONTENTS, op);
    const successor = await repository.create(createId(), CONTENTS, op);
    if (old === "conflict" || successor === "conflict") throw new Error("They are new");
    await told();
    const next = await repository.create(createId(), CONTENTS, op);
    if (next === "conflict") throw new Error("It is new");
    expect(await repository.retire(old, next, null, op)).toBe(true);
    expect(await repository.open(old.token, op)).toBe("replaced");
    await repository.reinstate?.(old, next, op);
    expect(await repository.open(old.token, op)).toMatchObject({ id: old.id });
    expect(await repository.open(next.token, op)).toBe("revoked");
    expect((await told()).filter((each) => JSON.stringify(each).includes(next.token))).toEqual([]);
  });

  test("offers what the inner repository offers, and nothing else", () => {
    const { repository, op } = openRequest();
    expect(repository.tokenFor?.("id", op)).toBe("id");
    expect(repository.idOf?.("token", op)).toBe("token");
    expect(repository.reinstate).toBeDefined();
    const least: Repository = {
      open: () => "unknown",
      refresh: () => null,
      create: () => "conflict",
      update: () => "conflict",
      retire: () => "conflict",
      end() {},
    };
    const bare: Repository = readYourWritesRepository(least, () => undefined);
    expect([bare.tokenFor, bare.idOf, bare.reinstate]).toEqual([undefined, undefined, undefined]);
  });

  test("passes refusals on, and throws for a session that another repository gave", async () => {
    const { op } = openRequest();
    const found = { ...CONTENTS, id: "id", token: "id", version: 1 };
    const refusing: Repository = {
      open: () => "corrupt",
      refresh: () => null,
      create: () => "conflict",
      update: () => "conflict",
      retire: () => "conflict",
      end() {},
    };
    const repository: Repository = readYourWritesRepository(refusing, () => undefined);
    expect(await repository.open("id", op)).toBe("corrupt");
    expect(await repository.create("id", CONTENTS, op)).toBe("conflict");
    await expect(Promise.resolve().then(() => repository.update(found, CONTENTS, op))).rejects.toThrow(TypeError);
  });

  test("lets the inner repository tell events, wait, and know whose token it is and how it travels, as without it", async () => {
    const { op, events } = openRequest();
    const waits: string[] = [];
    const own: unknown[] = [];
    const inner: Repository = {
      async open(_token, given) {
        own.push(given.isOwnToken, given.transport);
        given.emit({ type: "revoked", sessions: 1 });
        await given.backOff();
        return "reuse";
      },
      refresh: () => null,
      create: () => "conflict",
      update: () => "conflict",
      retire: () => "conflict",
      end() {},
    };
    const repository: Repository = readYourWritesRepository(inner, () => undefined);
    const transport: Transport = { read: () => null, write() {}, clear() {} };
    const watched = { ...op, transport, backOff: async () => void waits.push("backOff") };
    expect(await repository.open("token", watched)).toBe("reuse");
    expect([events, waits]).toEqual([["revoked"], ["backOff"]]);
    await repository.open("token", { ...op, isOwnToken: true });
    expect(own).toEqual([undefined, transport, true, undefined]);
  });

  test("tells the client of no retirement that another request came before", async () => {
    const inner = eventualStore();
    let isTaken = false;
    const store: SessionStore = {
      ...inner,
      save: (key, write) => (isTaken ? "conflict" : inner.save(key, write)),
    };
    const { repository, op, told } = openRequest(store);
    const old = await repository.create(createId(), CONTENTS, op);
    await told();
    const next = await repository.create(createId(), CONTENTS, op);
    if (old === "conflict" || next === "conflict") throw new Error("They are new");
    isTaken = true;
    expect(await repository.retire(old, next, null, op)).toBe("conflict");
    expect(await repository.open(old.token, op)).toMatchObject({ id: old.id });
  });

  test("says of an id that is over whether it was replaced a minute ago or less, was retired, or has ended", async () => {
    const { repository, op, told } = openRequest();
    const [old, next] = [
      sessionOf(await repository.create(createId(), CONTENTS, op)),
      sessionOf(await repository.create(createId(), CONTENTS, op)),
    ];
    await told();
    expect(await repository.retire(old, next, null, op)).toBe(true);
    await repository.end(next, op);
    expect(await repository.open(old.token, { ...op, now: NOW + 59_999 })).toBe("replaced");
    expect(await repository.open(old.token, { ...op, now: NOW + 60_000 })).toBe("retired");
    expect(await repository.open(next.token, op)).toBe("revoked");
    expect(await repository.open(createId(), op)).toBe("unknown");
  });

  test("opens no session whose time is over, and refreshes one until an engine may sweep it", async () => {
    const { op, inner } = openRequest();
    const repository: Repository = readYourWritesRepository(inner, () => undefined);
    const found = sessionOf(await repository.create(createId(), CONTENTS, op));
    const end = op.endsAt(found);
    expect(await repository.open(found.token, { ...op, now: end - 1 })).toMatchObject({ id: found.id });
    expect(await repository.open(found.token, { ...op, now: end })).toBe("expired");
    const seen = sessionOf(await repository.open(found.token, op));
    await repository.update(seen, { ...seen, fields: new Map([["=a", "2"]]) }, op);
    const newest = await repository.refresh(found, { ...op, now: end + SWEEP_MARGIN - 1 });
    expect(newest?.fields.get("=a")).toBe("2");
    expect(await repository.refresh(found, { ...op, now: end + SWEEP_MARGIN })).toBeNull();
    await repository.end(seen, op);
    expect(await repository.refresh(found, op)).toBeNull();
  });

  test("finds what the client has seen of a session whose token is signed anew, by its id", async () => {
    const store = eventualStore();
    const id = createId();
    const first = openRequest(store);
    await first.repository.create(id, CONTENTS, first.op);
    const writes = writesOf({ "=a": { at: NOW + 5, text: "2" } });
    const { repository, op } = openRequest(store, sealed({ token: "signed otherwise", id, writes }));
    expect(sessionOf(await repository.open(id, op)).fields.get("=a")).toBe("2");
  });

  test("takes no session for ended because another one was that nobody has loaded", async () => {
    const { repository, op } = openRequest();
    const found = sessionOf(await repository.create(createId(), CONTENTS, op));
    await repository.end(createId(), op);
    expect(await repository.open(found.token, op)).toMatchObject({ id: found.id });
  });

  test("knows of each session what was noted of it, and tells it once", async () => {
    const { own, told } = openRequest();
    own.note({ token: "one", id: "one" }, writesOf({ "=a": { at: NOW, text: "1" } }));
    own.note({ token: "two", id: "two" }, writesOf({ "=b": { at: NOW, text: "2" } }));
    own.noteEnd({ token: "three", id: "three" }, { at: NOW, isRetired: false });
    expect([...(await own.of({ token: "one" })).changes.keys()]).toEqual(["=a"]);
    expect(await own.of({ token: "two", id: "two" })).toMatchObject({ id: "two", cookies: 0, tombstone: undefined });
    expect((await own.of({ token: "three" })).tombstone).toEqual({ at: NOW, isRetired: false });
    expect(await told()).toHaveLength(3);
    expect(await told()).toEqual([]);
  });

  test("tells the client the versions that it has seen, so that a record of one of them is only late", async () => {
    const store = eventualStore();
    const first = openRequest(store);
    const created = sessionOf(await first.repository.create(createId(), CONTENTS, first.op));
    const short = (version: unknown): string => String(version).slice(-12);
    expect(await first.told()).toMatchObject([{ versions: [short(created.version)], complete: true }]);
    const next = openRequest(store);
    const found = sessionOf(await next.repository.open(created.token, next.op));
    const updated = sessionOf(await next.repository.update(found, { ...found, fields: new Map() }, next.op));
    expect(await next.told()).toMatchObject([
      { versions: [short(updated.version), short(created.version)], complete: true },
    ]);
  });

  test("tells the client that it knows all of a session only if all of it was changed recently", async () => {
    const store = eventualStore();
    const first = openRequest(store);
    const created = sessionOf(await first.repository.create(createId(), CONTENTS, first.op));
    const { accepted } = windowOf(store);
    for (const [after, complete] of [
      [accepted - 1, true],
      [accepted, false],
    ] as const) {
      const { repository, op, told } = openRequest(store);
      const later = { ...op, now: op.now + after };
      const found = sessionOf(await repository.open(created.token, later));
      await repository.update(found, { ...found, fields: new Map([...found.fields, ["=new", "1"]]) }, later);
      expect(await told()).toMatchObject([{ complete }]);
    }
  });

  test("does not tell the version of a record that lacks a change, so that the change is stored again", async () => {
    const store = eventualStore();
    const first = openRequest(store);
    const { token, id } = sessionOf(await first.repository.create(createId(), CONTENTS, first.op));
    const writes = writesOf({ "=b": { at: NOW - 1, text: "2" } }, ["another"]);
    const { repository, op, told } = openRequest(store, sealed({ token, id, writes }));
    expect(await repository.open(token, op)).toMatchObject({ needsStoring: true });
    expect(await told()).toMatchObject([{ versions: ["another"] }, "expired"]);
  });

  test("gives the inner repository sessions as that one knows them", async () => {
    const { op, own, inner } = openRequest();
    const replaced: unknown[] = [];
    const repository: Repository = readYourWritesRepository(
      {
        open: (...args) => inner.open(...args),
        refresh: (...args) => inner.refresh(...args),
        create(id, contents, given, replaces) {
          replaced.push(replaces?.stored);
          return inner.create(id, contents, given);
        },
        update: (...args) => inner.update(...args),
        retire: (...args) => inner.retire(...args),
        end: (...args) => inner.end(...args),
      },
      () => own,
    );
    const old = sessionOf(await repository.create(createId(), CONTENTS, op));
    const stored = sessionOf(await inner.open(old.token, op)).stored;
    const next = sessionOf(await repository.create(createId(), CONTENTS, op, old));
    expect(replaced).toEqual([undefined, stored]);
    expect(await repository.retire(old, next, null, op)).toBe(true);
  });

  test("retires no session that the store does not show and cannot take", async () => {
    const id = createId();
    const inner = eventualStore();
    let isTaken = false;
    const store: SessionStore = {
      ...inner,
      save: (key, write) => (isTaken ? "conflict" : inner.save(key, write)),
    };
    const changes = { "=a": { at: NOW, text: "1" }, "@": { at: NOW, text: clientMetadataText(CONTENTS.metadata) } };
    const { repository, op } = openRequest(store, sealed({ token: id, id, writes: writesOf(changes, [], true) }));
    const missing = sessionOf(await repository.open(id, op));
    const next = sessionOf(await repository.create(createId(), CONTENTS, op));
    isTaken = true;
    expect(await repository.retire(missing, next, null, op)).toBe("conflict");
  });

  test("retires sessions and puts them back where there is no client", async () => {
    const { op, inner } = openRequest();
    const repository: Repository = readYourWritesRepository(inner, () => undefined);
    const [old, next] = [
      sessionOf(await repository.create(createId(), CONTENTS, op)),
      sessionOf(await repository.create(createId(), CONTENTS, op)),
    ];
    expect(await repository.retire(old, next, null, op)).toBe(true);
    await repository.reinstate?.(old, next, op);
    expect(await repository.open(old.token, op)).toMatchObject({ id: old.id });
    expect(await repository.open(next.token, op)).toBe("revoked");
  });

  test("does not hide why it could not wait to read again, unless no time is left", async () => {
    const store = eventualStore();
    const first = openRequest(store);
    const { token, id } = sessionOf(await first.repository.create(createId(), CONTENTS, first.op));
    const writes = writesOf({ "=a": { at: NOW + 5, text: undefined } });
    const { repository, op, events } = openRequest(store, sealed({ token, id, writes }));
    for (const failure of [new Error("mine"), new SessionError("ERR_STORE_TIMEOUT", "No answer")]) {
      const opening = Promise.resolve(repository.open(token, { ...op, backOff: () => Promise.reject(failure) }));
      await expect(opening).rejects.toBe(failure);
    }
    const none = new SessionError("ERR_CONFLICT", "No time");
    expect(await repository.open(token, { ...op, backOff: () => Promise.reject(none) })).toMatchObject({ id });
    expect(events).toEqual(["stale"]);
  });

  test("takes the window from the store: twice its staleness, or twice a minute", () => {
    const { traits, ...verbs } = memoryStore();
    expect(windowOf({ traits, ...verbs })).toEqual({ length: 120_000, accepted: 720_000, marked: 1_320_000 });
    expect(windowOf({ traits: { ...traits, staleness: 300 }, ...verbs }).length).toBe(600_000);
  });
});
