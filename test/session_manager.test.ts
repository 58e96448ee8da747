import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager, withSession } from "../mod.ts";
import { fakeClock } from "../src/testing.ts";
import { fileStore } from "../src/stores/file.ts";

const URL_OF_SHOP = "https://shop.example/";

/** A request that brings back what a response's headers have set. */
function next(headers: Headers): Request {
  return new Request(URL_OF_SHOP, { headers: { Cookie: headers.get("Set-Cookie")?.split(";")[0] ?? "" } });
}

describe("SessionManager", () => {
  test("[35] start, modify, persist by hand: a change alone never reaches the store", async () => {
    const sessions = new SessionManager<{ n: number }>();
    const begun = sessions.start(new Request(URL_OF_SHOP));
    begun.set("n", 1);
    await begun.save();
    const headers = await sessions.commit(begun);

    const changed = sessions.start(next(headers));
    changed.set("n", 2);
    expect(await sessions.start(next(headers)).get("n")).toBe(1);
    await changed.save();
    expect(await sessions.start(next(headers)).get("n")).toBe(2);
  });

  test("[57] open() works with no Request at all, and takes effect at save()", async () => {
    const sessions = new SessionManager<{ seen: number }>({ secrets: ["a secret for tests, 32 bytes long"] });
    const session = sessions.start(new Request(URL_OF_SHOP));
    const id = await session.start();
    await session.save();

    const socket = sessions.open(id);
    await socket.update("seen", (n = 0) => n + 1);
    expect(await sessions.open(id).get("seen")).toBeUndefined();
    await socket.save();
    expect(await sessions.open(id).get("seen")).toBe(1);
    expect([...(await sessions.commit(socket))]).toEqual([]);

    const ended = sessions.open(id);
    await ended.destroy();
    expect(await sessions.open(id).get("seen")).toBe(1);
    await ended.save();
    expect(await sessions.open(id).id()).toBeNull();
  });

  test("start() gives the same session for the same Request, and the handler's own within withSession()", async () => {
    const sessions = new SessionManager();
    const request = new Request(URL_OF_SHOP);
    expect(sessions.start(request)).toBe(sessions.start(request));
    const handler = withSession(
      (request, session) => new Response(String(sessions.start(request) === session)),
      sessions,
    );
    expect(await (await handler(request)).text()).toBe("true");
  });

  test("withSession() begins anew when a Request is handled twice", async () => {
    const handler = withSession(
      async (_request, session) => new Response(`${await session.update("n", (n = 0) => n + 1)}`),
    );
    const request = new Request(URL_OF_SHOP);
    expect(await (await handler(request)).text()).toBe("1");
    expect(await (await handler(request)).text()).toBe("1");
  });

  test("commit() answers no headers for a session that nobody used, and what caches must know for one that was read", async () => {
    const sessions = new SessionManager();
    expect([...(await sessions.commit(sessions.start(new Request(URL_OF_SHOP))))]).toEqual([]);
    const read = sessions.start(new Request(URL_OF_SHOP));
    await read.has("a");
    expect([...(await sessions.commit(read))]).toEqual([
      ["cache-control", "private"],
      ["vary", "Cookie"],
    ]);
  });

  test("[45] prune() collects what has expired where the engine does not, and leaves what lives", async () => {
    const directory = await mkdtemp(join(tmpdir(), "with-session-prune-"));
    const clock = fakeClock();
    for (const store of [memoryStore(), fileStore({ directory })]) {
      const sessions = new SessionManager<{ n: number }>({ store, now: clock.now, idleTimeout: 60 });
      const create = async (): Promise<string> => {
        const session = sessions.start(new Request(URL_OF_SHOP));
        session.set("n", 1);
        await session.save();
        return (await session.id()) ?? "";
      };
      await create();
      clock.advance(59);
      const living = await create();
      clock.advance(2);
      expect(await sessions.prune()).toBe(1);
      expect(await sessions.prune()).toBe(0);
      expect(await sessions.open(living).get("n")).toBe(1);
    }
    expect(await readdir(directory)).toHaveLength(1);
    await rm(directory, { recursive: true });
  });

  test("prune() answers 0 where the engine expires records itself, and ERR_STORE when the store fails", async () => {
    const { prune: _, ...withoutPrune } = memoryStore();
    expect(await new SessionManager({ store: withoutPrune }).prune()).toBe(0);
    const broken = { ...memoryStore(), prune: () => Promise.reject(new Error("secret")) };
    const error = await new SessionManager({ store: broken }).prune().catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "ERR_STORE" });
    expect(String(error)).not.toContain("secret");
  });
});
