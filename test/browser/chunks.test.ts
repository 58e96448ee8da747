import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { serve } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";

const secrets = ["a secret of at least thirty-two bytes"];

interface Data {
  text: string;
}

/** The cookies of a request, by name. */
function cookiesOf(request: Request): Map<string, string> {
  const pairs = (request.headers.get("Cookie") ?? "").split("; ").map((pair): [string, string] => {
    const [name = "", value = ""] = pair.split("=", 2);
    return [name, value];
  });
  return new Map(pairs.filter(([name]) => name !== ""));
}

describe.each(eachBrowser)("%s", (_name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  test("keeps a session of cookieSessions({ chunks: 3 }) in three cookies, and one of mixed generations is refused", async () => {
    const reasons: string[] = [];
    const store = cookieSessions({ secrets, chunks: 3, revocation: memoryStore() });
    const handler = withSession<Data>(
      async (request, session) => {
        const { pathname, searchParams } = new URL(request.url);
        if (pathname === "/set") session.set("text", (searchParams.get("letter") ?? "").repeat(8000));
        if (pathname === "/logout") await session.destroy();
        const text = await session.get("text", "");
        return new Response(`${text[0] ?? "nothing"} ${text.length}`);
      },
      { store, onEvent: (event) => event.type === "rejected" && reasons.push(event.reason) },
    );
    let sent = new Map<string, string>();
    let old = "";
    const origin = await serve(async (request) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/favicon.ico") return new Response(null, { status: 404 });
      sent = cookiesOf(request);
      // A response of an earlier request that arrives after later ones: it sets an old part.
      if (pathname === "/late")
        return new Response("late", { headers: { "Set-Cookie": `session.1=${old}; Path=/; HttpOnly; SameSite=Lax` } });
      return await handler(request);
    });
    const get = async (path: string): Promise<unknown> => {
      await browser.tab.goto(`${origin}${path}`);
      return await browser.tab.evaluate("document.body.innerText");
    };
    await get("/set?letter=a");
    expect(await get("/")).toBe("a 8000");
    expect([...sent.keys()].toSorted()).toEqual(["session", "session.1", "session.2"]);
    old = sent.get("session.1") ?? "";
    await get("/set?letter=b");
    expect(await get("/")).toBe("b 8000");
    await get("/late");
    expect(reasons).toEqual([]);
    expect(await get("/")).toBe("nothing 0");
    expect(reasons).toEqual(["forged"]);
    // The client can start a new session, and its logout removes every part.
    await get("/set?letter=c");
    expect(await get("/")).toBe("c 8000");
    await get("/logout");
    await get("/");
    expect([...sent.keys()]).toEqual([]);
  });
});
