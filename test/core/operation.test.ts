import { describe, expect, onTestFinished, test, vi } from "vitest";
import {
  memoryStore,
  type Plugin,
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
} from "../../mod.ts";
import { undoing } from "../../src/core/operation.ts";
import type { Found, Operation } from "../../src/core/repository.ts";
import { managerInternalsOf } from "../../src/core/session_manager.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import { altered, codeOf, cookieOf, FAKED, SHOP, visitor } from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);

/** Replaces the clock that measures durations by one that only the test advances. */
function watch(): { advance(milliseconds: number): void } {
  let now = 5000;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  onTestFinished(() => clock.mockRestore());
  return { advance: (milliseconds) => void (now += milliseconds) };
}

/** A memory store whose calls take 20 milliseconds by that clock. */
function slowStore(): NonNullable<SessionOptions["store"]> {
  const clock = watch();
  return altered(memoryStore(), {
    load: (load, ...args) => (clock.advance(20), load(...args)),
    save: (save, ...args) => (clock.advance(20), save(...args)),
    delete: (remove, ...args) => (clock.advance(20), remove(...args)),
  });
}

describe("events", () => {
  test("tell how long the operation took, where it took time", async () => {
    const told: string[] = [];
    const onEvent = ({ type, durationMs }: SessionEvent): void => void told.push(`${type} ${durationMs}`);
    const visit = visitor({ store: slowStore(), onEvent });
    await visit(set);
    await visit((session) => session.set("a", 2));
    await visit((session) => session.touch());
    await visit((session) => session.regenerate());
    await visit((session) => session.destroy());
    await visit((session) => session.get("a"), { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } });
    expect(told).toEqual([
      "created 20",
      "loaded 20",
      "changed 20",
      "loaded 20",
      "touched 20",
      "loaded 20",
      "regenerated 40",
      "loaded 20",
      "destroyed 20",
      "rejected 20",
    ]);
  });

  test("tell nothing of the kind where nothing takes time", async () => {
    const told: unknown[] = [];
    const onEvent = ({ type, durationMs }: SessionEvent): void => void told.push([type, durationMs]);
    await visitor({ onEvent })((session) => session.get("a"), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}; __Host-session=${"b".repeat(32)}` },
    });
    expect(told).toEqual([["ambiguous", undefined]]);
  });

  test("tell the request, and the name of what carried its session, or of what would", async () => {
    const events: SessionEvent[] = [];
    const header = { name: "X-Shop", scheme: "Bearer" } as const;
    const sessions = new SessionManager({ cookie: { name: "shop" }, header, onEvent: (event) => events.push(event) });
    const request = new Request(SHOP);
    const session = sessions.start(request);
    session.set("a", 1);
    const headers = await sessions.commit(session);
    const id = /=([^;]+)/.exec(headers.getSetCookie()[0] ?? "")?.[1] ?? "";
    const again = new Request(SHOP, { headers: { "X-Shop": `Bearer ${id}` } });
    expect(await sessions.start(again).get("a")).toBe(1);
    expect(await sessions.open(id).get("a")).toBe(1);
    expect(events.map(({ type, name, request: own }) => [type, name, own])).toEqual([
      ["created", expect.stringContaining("shop"), request],
      ["loaded", "X-Shop", again],
      ["loaded", events[0]?.name, undefined],
    ]);
  });
});

describe("the operation that a plugin is given", () => {
  /** The arguments of a plugin when a session is loaded, for `start` and for `open`. */
  async function loaded(options: SessionOptions = {}): Promise<{
    readonly op: Operation;
    readonly own: Operation;
    readonly request: Request;
    readonly session: object;
    readonly found: Found;
  }> {
    const seen: (readonly [Found, Operation])[] = [];
    const plugin: Plugin = { name: "watcher", admit: (found, op) => void seen.push([found, op]) };
    const clock = fakeClock();
    const begun = new SessionManager({ store: memoryStore(), now: clock.now, plugins: [plugin], ...options });
    const first = begun.start(new Request(SHOP));
    first.set("a", 1);
    const headers = await begun.commit(first);
    const request = new Request(SHOP, { headers: { Cookie: headers.getSetCookie()[0]?.split(";")[0] ?? "" } });
    const session = begun.start(request, "env", 5);
    await session.get("a");
    await begun.open((await first.id()) ?? "").get("a");
    const [[found, op], [, own]] = seen as [(typeof seen)[0], (typeof seen)[0]];
    return { op, own, request, session, found };
  }

  test("tells the request, its session, what the runtime passed, and the transport", async () => {
    const { op, own, request, session } = await loaded();
    expect([op.request, own.request]).toEqual([request, undefined]);
    expect([op.runtimeArguments, own.runtimeArguments]).toEqual([["env", 5], []]);
    expect([op.name, op.presentedName, own.name, own.presentedName]).toEqual(
      Array.from({ length: 4 }, () => "__Host-session"),
    );
    expect(op.session).toBe(session);
    expect(op.transport?.name?.(request, [])).toBe("__Host-session");
    expect(own.transport).toBeUndefined();
  });

  test("tells the name under which the client presented its cookie, if it had another one before", async () => {
    const store = memoryStore();
    const { cookies } = await visitor({ store, cookie: { name: "old" } })(set);
    const seen: Operation[] = [];
    const plugin: Plugin = { name: "watcher", admit: (_found, op) => void seen.push(op) };
    const visit = visitor({ store, cookie: { previous: [{ name: "old" }] }, plugins: [plugin] });
    const { result } = await visit((session) => session.get("a"), { headers: { Cookie: cookieOf({ cookies }) } });
    expect(result).toBe(1);
    expect(seen.map(({ name, presentedName }) => [name, presentedName])).toEqual([["__Host-session", "old"]]);
  });

  test("has one name for its write, and another one than other operations", async () => {
    const { op, own } = await loaded();
    expect(op.writeId).toHaveLength(16);
    expect(op.writeId).toBe(op.writeId);
    expect(own.writeId).not.toBe(op.writeId);
  });

  test("tells when a session ends, by its own timeouts and those of the manager", async () => {
    const { op, found } = await loaded({ idleTimeout: 100, absoluteTimeout: 300 });
    expect(op.endsAt(found)).toBe(op.now + 100_000);
    expect(op.endsAt({ ...found, lastSeenAt: op.now + 250_000 })).toBe(op.now + 300_000);
    const short = { ...found.metadata, timeouts: { idle: 10 } };
    expect(op.endsAt({ ...found, metadata: short })).toBe(op.now + 10_000);
    const limited = await loaded({ idleTimeout: 40, timeoutLimits: { idle: 50 } });
    const long = { ...limited.found.metadata, timeouts: { idle: 90 } };
    expect(limited.op.endsAt({ ...limited.found, metadata: long })).toBe(limited.op.now + 50_000);
  });

  test("refuses a token that its cookie cannot carry, if it has a cookie", async () => {
    const { op, own } = await loaded();
    expect(await codeOf(() => op.assertFits?.("x".repeat(5000)))).toBe("ERR_COOKIE_TOO_LARGE");
    op.assertFits?.("x".repeat(32));
    own.assertFits?.("x".repeat(5000));
  });

  test("tells events what it serves, and how long it took where that takes time", async () => {
    const events: SessionEvent[] = [];
    const { op, own, request } = await loaded({ onEvent: (event) => void events.push(event) });
    events.length = 0;
    const error = new SessionError("ERR_STORE", "down");
    op.emit({ type: "failed", during: "store", error });
    op.emit({ type: "revoked", sessions: 2 });
    op.emit({ type: "conflict", attempts: 1 });
    own.emit({ type: "stale" });
    const name = "__Host-session";
    const durationMs = expect.any(Number);
    expect(events.map((event) => ({ ...event, request: event.request }))).toEqual([
      { type: "failed", during: "store", error, name, request, durationMs },
      { type: "revoked", sessions: 2, name, request, durationMs },
      { type: "conflict", attempts: 1, name, request, durationMs: undefined },
      { type: "stale", name, request: undefined, durationMs: undefined },
    ]);
  });
});

describe("undoing()", () => {
  const scope = { policy: managerInternalsOf(new SessionManager({ storeTimeout: 0.02 })).policy, runtimeArguments: [] };
  const store = faultyStore(memoryStore());

  test("tries twice, each time with half of the time limit of the store", async () => {
    store.plan({ load: "hangs" });
    const attempts: string[] = [];
    const undone = undoing({ ...scope, policy: { ...scope.policy, resolveStore: () => store } }, async (op) => {
      await Promise.resolve(op.store.load("key")).catch((error: Error) => {
        attempts.push(error.message);
        throw error;
      });
    });
    expect(await codeOf(() => undone)).toBe("ERR_STORE_TIMEOUT");
    expect(attempts).toEqual([expect.stringContaining(" 0.01 s;"), expect.stringContaining(" 0.01 s;")]);
  });

  test("tries once if that succeeds", async () => {
    let attempts = 0;
    await undoing(scope, async () => void attempts++);
    expect(attempts).toBe(1);
  });
});

test("a store that is being opened is waited for no longer than for its calls, and serves the next request", async () => {
  vi.useFakeTimers(FAKED);
  onTestFinished(() => void vi.useRealTimers());
  const { promise, resolve } = Promise.withResolvers<SessionStore>();
  let opened = 0;
  const visit = visitor({ store: () => (opened++, promise), storeTimeout: 60 });
  const first = codeOf(() => visit(set));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await first).toBe("ERR_STORE_TIMEOUT");
  const second = visit(set);
  await vi.advanceTimersByTimeAsync(59_999);
  resolve(memoryStore());
  expect((await second).cookies).toHaveLength(1);
  expect([opened, vi.getTimerCount()]).toEqual([1, 0]);
});
