import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CookieOptions, memoryStore, SessionError, type SessionEvent, withSession } from "../../mod.ts";
import { html } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

interface Data {
  readonly user: string;
}

/** Two deployments of one site on one store. The second one changes the cookie's scope. */
async function openSite(...cookies: readonly [before: CookieOptions, after: CookieOptions]) {
  const store = memoryStore();
  const events: SessionEvent[] = [];
  const handlers = cookies.map((cookie) =>
    withSession<Data>(
      async (request, session) => {
        const { pathname } = new URL(request.url);
        if (pathname.endsWith("/login")) {
          await session.regenerate();
          session.set("user", "Ada");
        }
        if (pathname.endsWith("/who")) return html(`<p>${await session.get("user", "nobody")}`);
        const failure = pathname.endsWith("/logout") ? await session.destroy().catch(codeOf) : undefined;
        return html(`<p>${failure ?? "done"}`);
      },
      { store, cookie, onEvent: (event) => events.push(event) },
    ),
  );
  let deployment = 0;
  const port = await serveTls(async (request) => (await handlers[deployment]?.(request)) ?? html(""));
  const deploy = (): void => {
    deployment = 1;
    events.length = 0;
  };
  return { origin: `https://www.shop.localhost:${port}`, deploy, events };
}

function codeOf(error: unknown): string {
  return error instanceof SessionError ? error.code : String(error);
}

/** The changes of scope, each with the `previous` option that names the old one. */
const changes: Readonly<
  Record<
    string,
    {
      readonly before: CookieOptions;
      readonly after: CookieOptions;
      readonly previous: NonNullable<CookieOptions["previous"]>;
    }
  >
> = {
  "the domain, from a shared one to the host's own": {
    before: { name: "sid", domain: "shop.localhost" },
    after: { name: "sid" },
    previous: [{ name: "sid", domain: "shop.localhost" }],
  },
  "the domain, from the host's own to a shared one": {
    before: { name: "sid" },
    after: { name: "sid", domain: "shop.localhost" },
    previous: [{ name: "sid" }],
  },
  "the path, from a folder to the whole site": {
    before: { name: "sid", path: "/app" },
    after: { name: "sid" },
    previous: [{ name: "sid", path: "/app" }],
  },
};

describe.each(eachBrowser)("%s", (name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  async function visit(url: string): Promise<unknown> {
    await browser.tab.goto(url);
    return await browser.tab.evaluate("document.body.innerText.trim()");
  }

  describe.each(Object.entries(changes))("when a deployment changes %s", (_change, { before, after, previous }) => {
    test.each([true, false])(
      "whoever has the old cookie can sign in and out, the old scope being named: %s",
      async (isNamed) => {
        const { origin, deploy, events } = await openSite(before, isNamed ? { ...after, previous } : after);
        await visit(`${origin}/app/login`);
        expect(await visit(`${origin}/app/who`)).toBe("Ada");
        deploy();

        // The old cookie is read as long as it is the only one. After a login there are two, unless `previous` names the old scope.
        await visit(`${origin}/app/login`);
        const first = await visit(`${origin}/app/who`);
        expect(first).toBe(isNamed ? "Ada" : "nobody");
        expect(events.some(({ type }) => type === "ambiguous")).toBe(!isNamed);
        // By now the library has expired the old cookie in every scope that it could guess.
        if (!isNamed) await visit(`${origin}/app/login`);
        expect(await visit(`${origin}/app/who`)).toBe("Ada");

        expect(await visit(`${origin}/app/logout`)).toBe("done");
        expect(await visit(`${origin}/app/who`)).toBe("nobody");
        expect(await visit(`${origin}/who`)).toBe("nobody");
      },
    );
  });

  /** Whether the browser takes both for one cookie, so that the second replaces the first: WebKitGTK, and Firefox before 141. */
  async function ignoresPartitioned(): Promise<boolean> {
    const agent = String(await browser.tab.evaluate("navigator.userAgent"));
    return name === "WebKitGTK" || Number(/Firefox\/(\d+)/.exec(agent)?.[1] ?? Infinity) < 141;
  }

  test.each([
    [{}, { partitioned: true }],
    [{ partitioned: true }, {}],
  ] as const)(
    "whoever has the old cookie can sign in after the second login when %o becomes %o",
    async (before, after) => {
      const { origin, deploy, events } = await openSite(before, after);
      await visit(`${origin}/login`);
      deploy();
      await visit(`${origin}/login`);
      const isIgnored = await ignoresPartitioned();
      expect(await visit(`${origin}/who`)).toBe(isIgnored ? "Ada" : "nobody");
      expect(events.some(({ type }) => type === "ambiguous")).toBe(!isIgnored);
      if (!isIgnored) await visit(`${origin}/login`);
      expect(await visit(`${origin}/who`)).toBe("Ada");
      await visit(`${origin}/logout`);
      expect(await visit(`${origin}/who`)).toBe("nobody");
    },
  );

  test("a cookie that gets another name brings its session along, and the old one is gone", async () => {
    const previous = [{ name: "sid" }];
    const { origin, deploy } = await openSite({ name: "sid" }, { name: "__Host-shop", previous });
    await visit(`${origin}/login`);
    deploy();
    expect(await visit(`${origin}/who`)).toBe("Ada");
    expect(await visit(`${origin}/logout`)).toBe("done");
    expect(await visit(`${origin}/who`)).toBe("nobody");
  });

  test("a logout with two cookies of the name throws, and the next one succeeds", async () => {
    const { origin, deploy } = await openSite({ name: "sid", path: "/app" }, { name: "sid" });
    await visit(`${origin}/app/login`);
    deploy();
    // The browser does not send the old cookie outside its path, so the client gets a second one.
    await visit(`${origin}/login`);
    expect(await visit(`${origin}/app/logout`)).toBe("ERR_AMBIGUOUS_COOKIE");
    expect(await visit(`${origin}/app/logout`)).toBe("done");
    expect(await visit(`${origin}/app/who`)).toBe("nobody");
    expect(await visit(`${origin}/who`)).toBe("nobody");
  });
});
