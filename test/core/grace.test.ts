import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, SessionManager, withSession } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { cookieOf, openStore, visitor } from "../setup/sessions.ts";

interface Data {
  n: number;
  user: string;
}

const SHOP = "https://shop.example/";

async function openShop() {
  const clock = fakeClock(0);
  const heard: SessionEvent["type"][] = [];
  const sessions = new SessionManager<Data>({
    store: memoryStore(),
    now: clock.now,
    onEvent: ({ type }) => heard.push(type),
  });
  /** Sends a request that presents an id. Returns what the handler saw, and the id in the response. */
  async function visit<Seen>(id: string, handle: (session: Session<Data>) => Promise<Seen>) {
    let seen: Seen | undefined;
    const handler = withSession<Data>(async (_request, session) => {
      seen = await handle(session);
      return new Response();
    }, sessions);
    const response = await handler(new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } }));
    const told = /^__Host-session=([^;]*)/.exec(response.headers.getSetCookie()[0] ?? "")?.[1];
    return { seen, told };
  }
  const session = sessions.start(new Request(SHOP));
  session.set({ n: 0, user: "ada" });
  await session.save();
  heard.length = 0;
  return { clock, heard, visit, old: (await session.id()) ?? "" };
}

const count = (session: Session<Data>): Promise<number> => session.update("n", (n = 0) => n + 1);

/** Lets requests go on only when all of them have reached this point. */
function meeting(guests: number): () => Promise<void> {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if (--guests === 0) open();
    return opened;
  };
}

describe("regenerate() with grace", () => {
  test("regenerate() leads parallel requests to one successor when they present the old id within the grace", async () => {
    const { clock, visit, old } = await openShop();
    const { told } = await visit(old, (session) => session.regenerate({ grace: 30 }));
    expect(told).not.toBe(old);
    clock.advance(29.999);
    const visits = await Promise.all(Array.from({ length: 20 }, () => visit(old, count)));
    expect(new Set(visits.map((each) => each.told))).toEqual(new Set([told]));
    expect(await visit(told ?? "", (session) => session.get("n"))).toEqual({ seen: 20, told: undefined });
  });

  test("regenerate() leads nowhere when another program has spoiled the way to the successor", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    const init = { headers: { Cookie: cookieOf(await visit((session) => session.set("n", 1))) } };
    await visit((session) => session.regenerate({ grace: 30 }));
    expect((await visitor({ store })((session) => session.get("n"), init)).result).toBe(1);
    for (const [key, record] of records) {
      const text = record.fields.get("@") ?? "";
      const spoiled = text.replace(/"id":"[^"]*"/, '"id":"AAAA"');
      records.set(key, { ...record, fields: new Map(record.fields).set("@", spoiled) });
    }
    const ended = await visitor({ store })(async (session) => (await session.info()).ended, init);
    expect(ended.result).toBe("corrupt");
  });

  test.each([
    [61, 1],
    [60 + 599, 1],
    [60 + 600, "ERR_SESSION_GONE"],
  ])(
    "regenerate() lets a request finish that found the session before its deadline, also under the new id (after %i s)",
    async (seconds, expected) => {
      const { clock, visit, old } = await openShop();
      const { seen } = await visit(old, async (session) => {
        await session.get("n");
        await visit(old, (other) => {
          other.setTimeouts({ absolute: 60 });
          return other.regenerate({ grace: 900 });
        });
        clock.advance(seconds);
        return await count(session).catch(({ code }) => code);
      });
      expect(seen).toBe(expected);
      // A request that comes after the deadline finds no session.
      expect((await visit(old, (session) => session.get("n"))).seen).toBeUndefined();
    },
  );

  test("regenerate() ends the old id when the grace is over, and the new one lives on", async () => {
    const { clock, visit, old } = await openShop();
    const { told = "" } = await visit(old, (session) => session.regenerate({ grace: 30 }));
    clock.advance(30);
    expect((await visit(old, (session) => session.get("user"))).seen).toBeUndefined();
    expect((await visit(told, (session) => session.get("user"))).seen).toBe("ada");
  });

  test("regenerate() keeps its old id with a grace that is longer than numbers reach", async () => {
    const { visit, old } = await openShop();
    const { told = "" } = await visit(old, (session) => session.regenerate({ grace: Number.MAX_VALUE }));
    expect((await visit(old, (session) => session.get("user"))).seen).toBe("ada");
    await visit(old, (session) => session.destroy());
    expect((await visit(told, (session) => session.get("user"))).seen).toBeUndefined();
  });

  test("regenerate() makes one successor when many requests regenerate one id at once, and stores the changes of all", async () => {
    const { heard, visit, old } = await openShop();
    const allHere = meeting(10);
    const visits = await Promise.all(
      Array.from({ length: 10 }, () =>
        visit(old, async (session) => {
          await session.regenerate({ grace: 30 });
          await allHere();
          await count(session);
        }),
      ),
    );
    const successors = new Set(visits.map(({ told }) => told));
    expect(successors.size).toBe(1);
    expect(heard.filter((type) => type === "regenerated")).toHaveLength(1);
    expect(heard).not.toContain("gone");
    const [successor] = successors;
    expect(await visit(old, (session) => session.id())).toMatchObject({ seen: successor });
    expect(await visit(String(successor), (session) => session.get("n"))).toMatchObject({ seen: 10 });
  });

  /** A request that calls `regenerate`, and another one that renews the id with a grace before the first one stores. */
  async function overtaken(renew: (session: Session<Data>) => unknown) {
    const shop = await openShop();
    const { visit, old } = shop;
    let first: string | undefined;
    const { seen, told } = await visit(old, async (session) => {
      await session.get("n");
      ({ told: first } = await visit(old, async (other) => {
        await other.regenerate({ grace: 30 });
        other.set("n", 7);
      }));
      const known = await renew(session);
      session.set("user", "bob");
      return known;
    });
    const leadTo = async (id: string | undefined) => (await visit(String(id), (session) => session.all())).seen;
    return { ...shop, first, known: seen, told, leadTo };
  }

  test("regenerate() keeps the id that another request has given, and stores its own changes there", async () => {
    const { first, told, old, leadTo, heard } = await overtaken((session) => session.regenerate({ grace: 10 }));
    expect(told).toBe(first);
    expect(await leadTo(told)).toEqual({ n: 7, user: "bob" });
    expect(await leadTo(old)).toEqual({ n: 7, user: "bob" });
    expect(heard.filter((type) => type === "regenerated")).toHaveLength(1);
  });

  test("regenerate() gives the id that the handler has got already, and the old id leads to it", async () => {
    const { first, told, known, old, leadTo } = await overtaken(async (session) => {
      await session.regenerate({ grace: 10 });
      return await session.id();
    });
    expect(told).toBe(known);
    for (const id of [old, first, told]) expect(await leadTo(id)).toEqual({ n: 7, user: "bob" });
  });

  test("regenerate() renews the id once more at a login, with the grace of the login", async () => {
    const { clock, first, told, old, leadTo, visit } = await overtaken((session) =>
      session.regenerate({ grace: 10, reauthenticated: true }),
    );
    expect(new Set([first, told, old]).size).toBe(3);
    for (const id of [old, first, told]) expect(await leadTo(id)).toEqual({ n: 7, user: "bob" });
    clock.advance(10);
    for (const id of [old, first]) expect(await leadTo(id)).toEqual({});
    expect((await visit(String(told), (session) => session.info())).seen?.authenticatedAt).toBe(0);
  });

  test("regenerate() renews the id once more without a grace, and no older id leads on", async () => {
    const { first, told, old, leadTo } = await overtaken((session) => session.regenerate());
    expect(await leadTo(told)).toEqual({ n: 7, user: "bob" });
    for (const id of [old, first]) expect(await leadTo(id)).toEqual({});
  });

  test("regenerate() never leads to two successors when the old id is regenerated again within its grace", async () => {
    const { visit, old } = await openShop();
    const first = await visit(old, (session) => session.regenerate({ grace: 30 }));
    const second = await visit(old, (session) => session.regenerate({ grace: 30 }));
    const ids = [old, first.told ?? "", second.told ?? ""];
    expect(new Set(ids).size).toBe(3);
    const leadTo = await Promise.all(ids.map((id) => visit(id, (session) => session.id())));
    expect(leadTo.map(({ seen }) => seen)).toEqual([second.told, second.told, second.told]);
  });

  test("regenerate() lets a logout by the old id end the successor when the grace still runs", async () => {
    const { visit, old } = await openShop();
    const { told = "" } = await visit(old, (session) => session.regenerate({ grace: 30 }));
    expect(await visit(old, (session) => session.destroy())).toMatchObject({ told: "" });
    for (const id of [old, told]) expect((await visit(id, (session) => session.id())).seen).toBeNull();
  });

  test("regenerate() takes along the change of a request that was under way, and that request is told the new id", async () => {
    const { heard, visit, old } = await openShop();
    let told = "";
    const slow = await visit(old, async (session) => {
      session.set("n", Number(await session.get("n")) + 1);
      told = (await visit(old, (other) => other.regenerate({ grace: 30 }))).told ?? "";
    });
    expect(slow.told).toBe(told);
    expect(heard).not.toContain("gone");
    expect((await visit(told, (session) => session.get("n"))).seen).toBe(1);
  });

  test("update() counts on the successor when the id changed under it", async () => {
    const { visit, old } = await openShop();
    const slow = await visit(old, async (session) => {
      await session.get("n");
      await visit(old, (other) => other.regenerate({ grace: 30 }));
      return await count(session);
    });
    expect(slow.seen).toBe(1);
    expect((await visit(slow.told ?? "", (session) => session.get("n"))).seen).toBe(1);
  });
});

describe("regenerate() without grace", () => {
  test("regenerate() ends the old id at once also where the same request asks for a grace, before or after", async () => {
    for (const graces of [
      [0, 30],
      [30, 0],
      [30, 0, 60],
    ]) {
      const { visit, old } = await openShop();
      const { told = "" } = await visit(old, async (session) => {
        for (const grace of graces) await session.regenerate({ grace });
      });
      expect((await visit(old, (session) => session.get("user"))).seen).toBeUndefined();
      expect((await visit(told, (session) => session.get("user"))).seen).toBe("ada");
    }
  });

  test("regenerate() ends the old id at once when no grace is given", async () => {
    const { visit, old } = await openShop();
    const { told = "" } = await visit(old, (session) => session.regenerate());
    expect((await visit(old, (session) => session.id())).seen).toBeNull();
    expect((await visit(told, (session) => session.get("user"))).seen).toBe("ada");
  });

  test("regenerate() drops the change of a request that was under way, and no cookie is touched", async () => {
    const { heard, visit, old } = await openShop();
    let told = "";
    const slow = await visit(old, async (session) => {
      session.set("n", Number(await session.get("n")) + 1);
      told = (await visit(old, (other) => other.regenerate())).told ?? "";
    });
    expect([slow.told, heard.at(-1)]).toEqual([undefined, "gone"]);
    expect((await visit(told, (session) => session.get("n"))).seen).toBe(0);
  });

  test("regenerate() carries over what another request stored when that came in between", async () => {
    const { heard, visit, old } = await openShop();
    const { told = "" } = await visit(old, async (session) => {
      await session.regenerate();
      await visit(old, count);
    });
    expect(heard).toContain("conflict");
    expect((await visit(told, (session) => session.all())).seen).toEqual({ n: 1, user: "ada" });
    expect((await visit(old, (session) => session.id())).seen).toBeNull();
  });
});
