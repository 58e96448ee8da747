import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionStore } from "../../../mod.ts";
import { fileStore } from "../../../src/stores/file.ts";
import { ESTABLISHED, established, withCookie } from "../../setup/established.ts";
import { altered, codeOf, gate, idIn, keyOf, temporaryDirectory, visitor } from "../../setup/sessions.ts";

describe("Losing or reviving data", () => {
  test("set() does not erase what another request set when both loaded before", async () => {
    const { send } = await established();
    await send(async (session) => {
      await session.get("kept");
      await send((other) => other.set("theirs", 1));
      session.set("ours", 2);
    });
    const { result } = await send((session) => session.all());
    expect(result).toEqual({ kept: ESTABLISHED, theirs: 1, ours: 2 });
  });

  test("update() does not lose the first when it is called twice in one request", async () => {
    const { send } = await established();
    await send(async (session) => {
      await Promise.all([1, 2].map(() => session.update("count", async (n = 0) => n + 1)));
      await session.update("count", (n = 0) => n + 1);
    });
    expect((await send((session) => session.get("count"))).result).toBe(3);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["set()", (session) => session.set("late", true)],
    ["update()", (session) => session.update("late", () => true).catch(() => {})],
    ["flash()", (session) => session.flash("late", true)],
    ["touch()", (session) => session.touch()],
    ["setTimeouts()", (session) => session.setTimeouts({ idle: 1e6 })],
    ["regenerate()", (session) => session.regenerate()],
    ["create()", (session) => session.create()],
    ["reading, and the touch that comes with it,", (session) => session.get("kept")],
  ])("%s does not bring a session back when another request has logged out meanwhile", async (_name, act) => {
    const { send, records, clock, id } = await established();
    clock.advance(43_200);
    const slow = await send(async (session) => {
      await session.get("kept");
      await send((other) => other.destroy());
      await act(session);
    });
    expect(records.size).toBe(0);
    expect(slow.cookies).toEqual([]);
    const { result, cookies } = await send(
      async (session) => [await session.id(), await session.get("kept")],
      withCookie(id),
    );
    expect([result, idIn(cookies)]).toEqual([[null, undefined], null]);
  });

  test("regenerate() does not retire the old record before the new one is stored", async () => {
    const { send, settings, store, records, id } = await established();
    const create = async (): Promise<never> => {
      throw new Error("The disk is full");
    };
    const failing = visitor({ ...settings, store: altered(store, { create }) });
    expect(await codeOf(() => failing((session) => session.regenerate(), withCookie(id)))).toBe("ERR_STORE");
    expect(records.size).toBe(1);
    expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
  });

  test("regenerate() does not leave the old id valid", async () => {
    const { settings, send, id } = await established();
    await send((session) => session.regenerate());
    const thief = visitor(settings);
    const { result } = await thief(async (session) => [await session.id(), await session.size()], withCookie(id));
    expect(result).toEqual([null, 0]);
  });

  test("regenerate() does not drop the data", async () => {
    const { send, id } = await established();
    const { cookies } = await send((session) => session.regenerate());
    expect(idIn(cookies)).not.toBe(id);
    expect((await send((session) => session.all())).result).toEqual({ kept: ESTABLISHED });
  });

  test("regenerate() does not take over another's record when the generator gives its id", async () => {
    const others = await established();
    const ids = ["B".repeat(32), others.id, "C".repeat(32)];
    const send = visitor({ ...others.settings, generateId: () => ids.shift() ?? "" });
    await send((session) => session.set("mine", true));
    const { cookies } = await send((session) => session.regenerate());
    expect(idIn(cookies)).toBe("C".repeat(32));
    expect((await others.send((session) => session.all())).result).toEqual({ kept: ESTABLISHED });
  });

  test.each<[string, (session: Session) => unknown]>([
    ["at once", () => {}],
    ["after a save", (session) => session.save()],
  ])("destroy() does not leave the old id alive when it follows regenerate() %s", async (_when, between) => {
    const { settings, store, send, id } = await established();
    const { result: successor, cookies } = await send(async (session) => {
      await session.regenerate({ grace: 60 });
      const next = await session.id();
      await between(session);
      await session.destroy();
      return next;
    });
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toContain("Max-Age=0");
    for (const each of [id, successor ?? ""]) {
      const { result } = await visitor(settings)((session) => session.id(), withCookie(each));
      expect(result).toBeNull();
    }
    expect(await store.load(keyOf(successor ?? ""))).toBeNull();
  });

  test("destroy() does not leave the record when nothing was read before", async () => {
    const { send, records } = await established();
    expect(records.size).toBe(1);
    await send((session) => session.destroy());
    expect(records.size).toBe(0);
  });

  test("a response does not go out before its session is stored, nor when that fails", async () => {
    const { settings, store, id } = await established();
    const { opened, open } = gate();
    const save: SessionStore["save"] = async (...args) => {
      await opened;
      return store.save(...args);
    };
    let isAnswered = false;
    const slow = visitor({ ...settings, store: { ...store, save } })((session) => session.set("n", 1), withCookie(id));
    const answered = slow.then(() => (isAnswered = true));
    const { result } = await visitor(settings)((session) => session.get("n"), withCookie(id));
    expect([result, isAnswered]).toEqual([undefined, false]);
    open();
    await answered;
    expect((await visitor(settings)((session) => session.get("n"), withCookie(id))).result).toBe(1);

    const fail = async (): Promise<never> => {
      throw new Error("No");
    };
    const failing = visitor({ ...settings, store: { ...store, save: fail } });
    expect(await codeOf(() => failing((session) => session.set("n", 2), withCookie(id)))).toBe("ERR_STORE");
  });

  test("memoryStore() does not show another request what is not stored yet", async () => {
    const send = visitor({ store: memoryStore() });
    await send((session) => session.set("list", [1]));
    await send(async (session) => {
      (await session.get("list")).push(2);
      expect((await send((other) => other.get("list"))).result).toEqual([1]);
    });
    expect((await send((session) => session.get("list"))).result).toEqual([1, 2]);
  });

  test("a change inside an object does not go unnoticed", async () => {
    const { send } = await established();
    await send((session) => session.set("basket", { items: new Map([["pear", { quantity: 1 }]]) }));
    await send(async (session) => {
      (await session.get("basket")).items.get("pear").quantity++;
    });
    const { result } = await send((session) => session.get("basket"));
    expect(result).toEqual({ items: new Map([["pear", { quantity: 2 }]]) });
  });

  test("a session does not look changed when only time has passed", async () => {
    const { send, calls, clock } = await established();
    await send((session) => session.set("basket", { at: new Date(0) }));
    calls.length = 0;
    for (let second = 0; second < 3; second++) {
      clock.advance(1);
      const { cookies } = await send(async (session) => {
        await session.get("basket");
        session.set("kept", ESTABLISHED);
      });
      expect(cookies).toEqual([]);
    }
    expect(calls).toEqual(["load", "load", "load"]);
  });

  test("fileStore() does not rewrite the data when a session is touched", async () => {
    const directory = await temporaryDirectory();
    const { send, clock, id } = await established({ store: fileStore({ directory }) });
    const dataName = async (): Promise<string[]> => {
      const folder = join(directory, keyOf(id));
      const [head = ""] = await readdir(folder);
      return readdir(join(folder, head));
    };
    const before = await dataName();
    expect(before).toHaveLength(1);
    clock.advance(43_200);
    const { cookies } = await send((session) => session.get("kept"));
    expect(idIn(cookies)).toBe(id);
    expect(await dataName()).toEqual(before);
  });
});
