import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager, type Transport } from "../../mod.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import { altered, bare, openStore, SHOP, visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("onEvent", () => {
  test("hears what happens to sessions", async () => {
    const clock = fakeClock();
    const events: SessionEvent[] = [];
    const visit = visitor({ now: clock.now, onEvent: (event) => events.push(event) });
    const heard = async (use: (session: Session) => unknown, init = {}): Promise<object[]> => {
      events.length = 0;
      await visit(use, init);
      return bare(events);
    };
    expect(await heard(() => 0)).toEqual([]);
    expect(await heard(get)).toEqual([]);
    expect(await heard(set)).toEqual([{ type: "created" }]);
    expect(await heard(get)).toEqual([{ type: "loaded" }]);
    expect(await heard((session) => session.set("a", 2))).toEqual([
      { type: "loaded" },
      { type: "changed", attempts: 1 },
    ]);
    expect(await heard((session) => session.touch())).toEqual([{ type: "loaded" }, { type: "touched" }]);
    expect(await heard((session) => session.regenerate())).toEqual([{ type: "loaded" }, { type: "regenerated" }]);
    expect(await heard(destroy)).toEqual([{ type: "loaded" }, { type: "destroyed" }]);
    expect(await heard(get, { headers: { Cookie: `__Host-session=${MADE_UP}` } })).toEqual([
      { type: "rejected", reason: "unknown" },
    ]);
    expect(await heard(get, { headers: { Cookie: "__Host-session=junk" } })).toEqual([
      { type: "rejected", reason: "malformed" },
    ]);
  });

  test("hears no id that a logger prints: the request has the cookie, and is not printed with its event", async () => {
    const events: SessionEvent[] = [];
    const visit = visitor({ onEvent: (event) => events.push(event) });
    await visit(set);
    const { request } = (await visit((session, request) => (set(session), { request }))).result;
    const [, id = ""] = request.headers.get("Cookie")?.split("=") ?? [];
    expect(inspect(request)).toContain(id);
    expect(inspect(events, { depth: null })).not.toContain(id);
    expect(events.at(-1)?.request).toBe(request);
    expect(Object.keys(events.at(-1) ?? {})).toEqual(["type", "name", "durationMs"]);
  });

  test("hears no data that a logger prints: the engine's own error may quote it, and is not printed with its event", async () => {
    const { store: inner } = openStore();
    const error = Object.assign(new Error("refused: SET key very-private"), { command: { args: ["very-private"] } });
    const store = altered(inner, { change: () => Promise.reject(error) });
    const events: SessionEvent[] = [];
    const visit = visitor({ store, onEvent: (event) => events.push(event) });
    await visit(set);
    await visit((session) => session.set("a", 2)).catch(() => {});
    const failed = events.find((event) => event.type === "failed");
    expect(failed?.detail).toBe(error);
    expect(inspect(failed, { depth: null })).not.toContain("very-private");
    expect(JSON.stringify(failed)).not.toContain("very-private");
    expect({ ...failed }).not.toHaveProperty("detail");
    expect(events.filter((event) => Object.hasOwn(event, "detail"))).toEqual([failed]);
  });

  test("hears the name under which the request has its session, or else that of the options", async () => {
    const late: string[] = [];
    const named: Transport = { read: () => null, write: () => {}, clear: () => {}, name: ({ url }) => url };
    const sessions = new SessionManager({
      transports: [named],
      onEvent: ({ type, name }) => type === "late" && late.push(name),
    });
    const { result } = await visitor(sessions)((session) => (set(session), { session }));
    const session = sessions.open(MADE_UP);
    await sessions.commit(session);
    for (const each of [result.session, session]) {
      each.set("a", 2);
      await each.save().catch(() => {});
    }
    expect(late).toEqual([SHOP, "__Host-session"]);
  });

  test.each([
    ["load", get, {}],
    ["store", (session: Session) => session.set("a", 2), { save: "rejects" }],
    ["store", (session: Session) => session.update("a", () => 2), { save: "rejects" }],
    ["store", (session: Session) => session.regenerate(), { save: "rejects" }],
    ["store", destroy, { delete: "rejects" }],
  ] as const)("hears how long a %s took that failed (%#)", async (during, use, plan) => {
    const store = faultyStore(memoryStore());
    const events: SessionEvent[] = [];
    const visit = visitor({ store, onEvent: (event) => events.push(event) });
    await visit(set);
    store.plan(during === "load" ? { load: "rejects" } : plan);
    await visit(use).catch(() => {});
    const failed = events.filter(({ type }) => type === "failed");
    expect(failed).toEqual(
      failed.map(() =>
        expect.objectContaining({
          during,
          name: "__Host-session",
          durationMs: expect.any(Number),
          detail: expect.any(Error),
        }),
      ),
    );
    expect(failed.length).toBeGreaterThan(0);
  });

  test("may throw without anybody noticing", async () => {
    const visit = visitor({
      onEvent: () => {
        throw new Error("no");
      },
    });
    await visit(set);
    expect((await visit(get)).result).toBe(1);
  });

  test("may reject, or answer anything, without anybody noticing", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    for (const answer of [() => Promise.reject(new Error("no")), () => null, () => "text", () => 1n]) {
      const visit = visitor({ onEvent: answer });
      await visit(set);
      expect((await visit(get)).result).toBe(1);
    }
    // The runtime reports an unhandled rejection after all microtasks.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unhandled).toEqual([]);
  });
});
