import { describe, expect, test } from "vitest";
import { memoryStore, type SessionStore } from "../../../mod.ts";
import { established, withCookie } from "../../setup/established.ts";
import { visitor } from "../../setup/sessions.ts";

const GUESS = "A".repeat(32);

describe("Doing too much", () => {
  test("a visitor who never used the session does not cost a store call or get a cookie", async () => {
    const { send, settings, calls, clock } = await established();
    clock.advance(43_200);
    for (const visit of [send, visitor(settings)]) expect((await visit(() => {})).cookies).toEqual([]);
    expect(calls).toEqual([]);
  });

  test("a read does not cost a write", async () => {
    const { send, calls, clock } = await established();
    for (let minute = 0; minute < 100; minute++) {
      clock.advance(60);
      await send((session) => session.get("kept"));
    }
    expect(calls.filter((call) => call !== "load")).toEqual([]);
  });

  test("a miss is not asked for again, and nothing is looked up before it is created", async () => {
    const { settings, calls } = await established();
    await visitor(settings)(async (session) => {
      for (const key of ["a", "b", "a"]) await session.get(key);
      await session.all();
    }, withCookie(GUESS));
    expect(calls.splice(0)).toEqual(["load"]);
    await visitor(settings)((session) => session.set("a", 1));
    expect(calls).toEqual(["create"]);
  });

  test("a store is not opened by requests that do not use it, and once by one that does", async () => {
    let opened = 0;
    const store = memoryStore();
    const open = (): SessionStore => {
      opened++;
      return store;
    };
    const send = visitor({ store: open });
    await send(() => {});
    await send((session) => session.get("a"));
    expect(opened).toBe(0);
    await send((session) => session.set("a", 1));
    expect(opened).toBe(1);
    await send(async (session) => [
      await session.get("a"),
      await session.update("a", (n) => n + 1),
      await session.save(),
    ]);
    // The client of the engine is opened once, not for each request.
    expect(opened).toBe(1);
  });
});
