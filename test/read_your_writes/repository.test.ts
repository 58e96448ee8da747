import { describe, expect, test } from "vitest";
import { memoryStore, type Operation, type Repository, type SessionStore, type StoredRecord } from "../../mod.ts";
import { createId } from "../../src/core/session_id.ts";
import { StoreRepository } from "../../src/core/store_repository.ts";
import type { CookieTransport } from "../../src/core/transport.ts";
import { recentWritesCookie } from "../../src/read_your_writes/recent_writes_cookie.ts";
import { readYourWritesRepository } from "../../src/read_your_writes/repository.ts";
import { windowOf } from "../../src/read_your_writes/window.ts";

const SHOP = "https://shop.example/";
const NOW = 1_800_000_000_000;

/** A transport that is nothing but cookies by name. */
function transportOf(cookies: ReadonlyMap<string, string>): CookieTransport {
  return {
    read: () => "token",
    write() {},
    clear() {},
    cookieName: () => "session",
    readBeside: () => cookies,
    writeBeside: (headers, name, value) => headers.append("Set-Cookie", `${name}=${value}`),
  };
}

/** One request on the repository of a store, with what it tells its client. */
function openRequest(store: SessionStore = eventualStore(), presented: ReadonlyMap<string, string> = new Map()) {
  const request = new Request(SHOP);
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
  const cookie = transportOf(presented);
  const sealer = { seal: async (text: string) => btoa(text), open: async (text: string) => atob(text) };
  const own = recentWritesCookie(cookie, sealer, op, request);
  const inner = new StoreRepository({ ids: undefined, encryption: undefined, hasDefaultIds: true, endsOnReuse: false });
  const repository: Repository = readYourWritesRepository(inner, () => own);
  const told = async (): Promise<unknown[]> => {
    const headers = new Headers();
    await own.respond(headers, op);
    return headers.getSetCookie().map((line) => {
      const value = line.slice(line.indexOf("=") + 1);
      return value === "" ? "expired" : JSON.parse(atob(value));
    });
  };
  return { op, repository, told, events };
}

/** The last write wins. */
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
    expect(repository.reinstate).toBeDefined();
    expect(repository.respond).toBeUndefined();
    const least: Repository = {
      open: () => "unknown",
      refresh: () => null,
      create: () => "conflict",
      update: () => "conflict",
      retire: () => "conflict",
      end() {},
    };
    const bare: Repository = readYourWritesRepository(least, () => undefined);
    expect([bare.tokenFor, bare.reinstate, bare.respond]).toEqual([undefined, undefined, undefined]);
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

  test("lets the inner repository write headers, tell events and wait, as without it", async () => {
    const { op, events } = openRequest();
    const waits: string[] = [];
    const inner: Repository = {
      async open(_token, given) {
        given.emit({ type: "revoked", sessions: 1 });
        await given.backOff();
        return "reuse";
      },
      refresh: () => null,
      create: () => "conflict",
      update: () => "conflict",
      retire: () => "conflict",
      end() {},
      respond: (headers) => headers.set("X-Inner", "1"),
    };
    const repository: Repository = readYourWritesRepository(inner, () => undefined);
    const watched = { ...op, backOff: async () => void waits.push("backOff") };
    expect(await repository.open("token", watched)).toBe("reuse");
    expect([events, waits]).toEqual([["revoked"], ["backOff"]]);
    const headers = new Headers();
    await repository.respond?.(headers, op);
    expect(headers.get("X-Inner")).toBe("1");
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

  test("takes the window from the store: twice its staleness, or twice a minute", () => {
    const { traits, ...verbs } = memoryStore();
    expect(windowOf({ traits, ...verbs })).toEqual({ length: 120_000, accepted: 720_000, marked: 1_320_000 });
    expect(windowOf({ traits: { ...traits, staleness: 300 }, ...verbs }).length).toBe(600_000);
  });
});
