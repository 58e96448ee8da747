import { describe, expect, test } from "vitest";
import { withSession } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { codeOf, cookieOf, type Data, openStore, sealed, SHOP, visitor, withCopy } from "./setup.ts";

describe("a session that outgrows its cookie", () => {
  test("throws ERR_COOKIE_TOO_LARGE, and the old cookie stays", async () => {
    const visit = visitor(sealed());
    await visit((session) => session.set("n", 1));
    const grow = (size: number) => () => visit((session) => session.set("text", "x".repeat(size)));
    expect(await codeOf(grow(4000))).toBe("ERR_COOKIE_TOO_LARGE");
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
    const largest = await grow(2900)();
    expect(cookieOf(largest).length - 1).toBeLessThanOrEqual(4096);
    expect((await visit((session) => session.size())).result).toBe(2);
  });

  test("throws at save() as well, in mid-handler, and can be mended there", async () => {
    const visit = visitor(sealed());
    const { result } = await visit(async (session) => {
      session.set({ n: 1, text: "x".repeat(4000) });
      const code = await codeOf(() => session.save());
      session.delete("text");
      await session.save();
      return code;
    });
    expect(result).toBe("ERR_COOKIE_TOO_LARGE");
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });

  test("ends nothing when it was to be regenerated, and notes nothing", async () => {
    const { store, records } = openStore();
    const visit = visitor(sealed({}, { revocation: store }));
    await visit((session) => session.set("n", 1));
    const { result } = await visit(async (session) => {
      session.set("text", "x".repeat(4000));
      await session.regenerate();
      return await codeOf(() => session.save());
    });
    expect(result).toBe("ERR_COOKIE_TOO_LARGE");
    expect([...records.values()].map(({ fields }) => fields.get("@")).join()).not.toContain("successor");
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });

  test.each([false, true])("fits also when its id is due: revocation %j", async (isRevocable) => {
    const { now, advance } = fakeClock();
    const revocation = isRevocable ? { revocation: openStore().store } : {};
    const visit = visitor(sealed({ rotateEvery: 60, now }, revocation));
    const fits = (size: number): Promise<boolean> =>
      visit((session) => session.set("text", "x".repeat(size))).then(
        () => true,
        () => false,
      );
    let largest = 2600;
    while (await fits(largest + 1)) largest++;
    expect(largest).toBeGreaterThan(2800);
    const id = await visit((session) => session.id());
    for (let renewals = 0; renewals < 3; renewals++) {
      advance(61);
      expect((await visit((session) => session.get("text"))).result).toHaveLength(largest);
      expect((await visit((session) => session.set("text", "y".repeat(largest)))).response.status).toBe(200);
    }
    expect((await visit((session) => session.id())).result).not.toBe(id.result);
  });

  test("has no limit in a header", async () => {
    const handle = withSession<Data>(
      async (_request, session) => {
        session.set("text", "x".repeat(8000));
        return new Response();
      },
      sealed({ cookie: false, header: "X-Session-Id" }),
    );
    const response = await handle(new Request(SHOP, { headers: { "X-Session-Id": "" } }));
    expect(response.headers.get("X-Session-Id")?.length).toBeGreaterThan(8000);
  });
});

describe("cookieSessions({ chunks })", () => {
  test("splits a large session over several cookies, and takes them together", async () => {
    const jar = cookieJar();
    const visit = visitor(sealed({}, { chunks: 3 }), jar);
    const text = Array.from({ length: 1400 }, (_, i) => String.fromCharCode(48 + (i % 40)))
      .join("")
      .repeat(6);
    const { cookies } = await visit((session) => session.set({ n: 1, text }));
    expect(cookies.map((line) => line.split("=")[0])).toEqual([
      "__Host-session",
      "__Host-session.1",
      "__Host-session.2",
    ]);
    for (const line of cookies) expect((line.split(";")[0] ?? "").length).toBeLessThanOrEqual(4096);
    expect((await visit((session) => session.get("text"))).result).toBe(text);
  });

  test("removes the cookies that a smaller session no longer needs, and all of them at logout", async () => {
    const jar = cookieJar();
    const visit = visitor(sealed({}, { chunks: 3 }), jar);
    const names = (): string[] =>
      jar
        .cookies()
        .map(({ name }) => name)
        .toSorted();
    await visit((session) => session.set({ n: 1, text: "x".repeat(7000) }));
    expect(names()).toEqual(["__Host-session", "__Host-session.1", "__Host-session.2"]);
    await visit((session) => session.set("text", "x".repeat(4000)));
    expect(names()).toEqual(["__Host-session", "__Host-session.1"]);
    await visit((session) => session.delete("text"));
    expect(names()).toEqual(["__Host-session"]);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
    await visit((session) => session.set("text", "x".repeat(4000)));
    await visit((session) => session.destroy());
    expect(names()).toEqual([]);
  });

  test("of a server that sets one cookie reads the sessions of others that set more, and leaves none of these cookies", async () => {
    const jar = cookieJar();
    await visitor(sealed({}, { chunks: 3 }), jar)((session) => session.set({ n: 1, text: "x".repeat(7000) }));
    const visit = visitor(sealed({}, { chunks: 1 }), jar);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    expect(await codeOf(() => visit((session) => session.set("n", 2)))).toBe("ERR_COOKIE_TOO_LARGE");
    await visit((session) => session.delete("text"));
    expect(jar.cookies().map(({ name }) => name)).toEqual(["__Host-session"]);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });

  test("rejects a session of which a chunk is missing, is another one, or belongs to an earlier state", async () => {
    const options = sealed({}, { chunks: 3 });
    const jar = cookieJar();
    const visit = visitor(options, jar);
    await visit((session) => session.set("text", "x".repeat(4000)));
    const earlier = new Map(jar.cookies().map(({ name, value }) => [name, value]));
    await visit((session) => session.set("text", "y".repeat(4000)));
    const now = new Map(jar.cookies().map(({ name, value }) => [name, value]));
    const headerOf = (cookies: Map<string, string>): string =>
      [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const look = async (cookies: Map<string, string>) =>
      (await withCopy(options, headerOf(cookies))((session) => session.get("text"))).result;
    const second = "__Host-session.1";
    expect(await look(now)).toBe("y".repeat(4000));
    expect(await look(new Map([["__Host-session", now.get("__Host-session")!]]))).toBeUndefined();
    expect(await look(new Map([...now, [second, earlier.get(second)!]]))).toBeUndefined();
    expect(await look(new Map([...now, [second, `${now.get(second)!}AAAA`]]))).toBeUndefined();
  });

  test("throws ERR_COOKIE_TOO_LARGE when the session needs more cookies than that", async () => {
    const visit = visitor(sealed({}, { chunks: 2 }));
    await visit((session) => session.set("n", 1));
    expect(await codeOf(() => visit((session) => session.set("text", "x".repeat(7000))))).toBe("ERR_COOKIE_TOO_LARGE");
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 1 });
  });
});
