import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, withSession } from "../../../mod.ts";
import { cookieJar } from "../../../src/testing.ts";
import { visitor } from "../../setup/sessions.ts";

interface Data {
  user: string;
  beacons: number;
}

describe("A beacon that was sent with the form of a login, and arrives after it,", () => {
  const count = (session: Session<Data>): Promise<number> => session.update("beacons", (n = 0) => n + 1);

  /**
   * A client visits the page of the form and logs in. A beacon from before the login arrives last. Returns whether the client
   * is still logged in.
   */
  async function visit(formPage: (session: Session<Data>) => unknown, beacon: (session: Session<Data>) => unknown) {
    const jar = cookieJar();
    const options = { store: memoryStore() };
    const browser = visitor<Data>(options, { jar });
    await browser(formPage);
    // The beacon carries the cookies from before the login.
    const before = cookieJar();
    for (const { name, value } of jar.cookies())
      before.store(
        "https://shop.example/",
        new Response(null, { headers: { "Set-Cookie": `${name}=${value}; Path=/; Secure` } }),
      );
    await browser(async (session) => {
      await session.regenerate();
      session.set("user", "ada");
    });
    const late = visitor<Data>(options, { jar: before });
    const { response } = await late(async (session) => void (await Promise.resolve(beacon(session)).catch(() => {})));
    jar.store("https://shop.example/", response);
    return (await browser((session) => session.get("user"))).result === "ada";
  }

  const nothing = (): void => {};

  test("leaves the login alone where the page of the form has begun a session", async () => {
    expect(await visit((session) => session.create(), count)).toBe(true);
  });

  test("replaces the cookie of a client that had no session before, as SECURITY.md says", async () => {
    expect(await visit(nothing, count)).toBe(false);
  });

  test("leaves the login alone where its handler begins no session", async () => {
    const careful = async (session: Session<Data>): Promise<void> => {
      if ((await session.id()) !== null) await count(session);
    };
    expect(await visit(nothing, careful)).toBe(true);
  });
});

describe("Two programs on ports of localhost", () => {
  async function isSignedInAfter(names: readonly [string | undefined, string | undefined]): Promise<boolean> {
    const jar = cookieJar();
    const [shop, blog] = names.map((name) =>
      withSession<Data>(
        async (request, session) => {
          if (new URL(request.url).pathname === "/login") session.set("user", "ada");
          return new Response(await session.get("user", "nobody"));
        },
        name === undefined ? {} : { cookie: { name } },
      ),
    );
    if (shop === undefined || blog === undefined) throw new Error("There are two programs");
    await jar.fetch(shop, "http://localhost:3000/login");
    await jar.fetch(blog, "http://localhost:5173/login");
    return (await (await jar.fetch(shop, "http://localhost:3000/")).text()) === "ada";
  }

  test("do not sign each other out when each has a name for its cookie", async () => {
    expect(await isSignedInAfter(["__Host-shop", "__Host-blog"])).toBe(true);
    expect(await isSignedInAfter([undefined, undefined])).toBe(false);
  });
});

describe("Clear-Site-Data", () => {
  test.each(["cookies", "*"] as const)("does not take away a cookie that its response sets: %s", async (word) => {
    const visit = visitor<Data>();
    await visit((session) => session.set("user", "ada"));
    const both = visit(async (session) => {
      await session.destroy({ clearSiteData: [word] });
      session.set("user", "nobody");
    });
    await expect(both).rejects.toThrow(TypeError);
    const { response } = await visit((session) => session.destroy({ clearSiteData: [word] }));
    expect(response.headers.get("Clear-Site-Data")).toBe(`"${word}"`);
  });
});

test("docs/login.md has a remedy for each page that a browser keeps after a logout", async () => {
  const docs = await readFile(new URL("../../../docs/login.md", import.meta.url), "utf8");
  const section = docs.slice(docs.indexOf("## What browsers do after logout"));
  for (const kept of ["Back", "prefetched", "304", "service worker", "Other tabs"])
    expect(section).toMatch(new RegExp(`^\\|.*\\*\\*${kept}|^\\|.*${kept}`, "m"));
});
