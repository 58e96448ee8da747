import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, type SessionOptions, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { html, newHost, serve } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

type Handle = (request: Request) => Promise<Response>;

const places: Readonly<Record<string, () => SessionOptions>> = {
  "a store": () => ({ store: memoryStore() }),
  "the cookie": () => ({ store: cookieSessions({ secrets: ["x".repeat(32)] }) }),
};

interface Protection {
  readonly protect?: (handle: Handle) => Handle;
  readonly usesToken?: boolean;
}

/**
 * A bank with a form that sends money, and an attacker's page on another port of the same host: another origin, but the
 * same site.
 */
async function openBank(options: SessionOptions, { protect = (handle) => handle, usesToken = true }: Protection = {}) {
  const statuses: number[] = [];
  const handle = protect(
    withSession(async (request, session) => {
      if (request.method === "GET") {
        const token = await csrfToken(session);
        return html(`<form method="post"><input name="csrf-token" value="${token}"><button>Send</button></form>`);
      }
      if (usesToken && !(await verifyCsrfToken(session, request))) return html("no token", {}, 400);
      return html(`sent ${await session.update("sent", (n = 0) => n + 1)}`);
    }, options),
  );
  const host = newHost();
  const bank = await serve(async (request) => {
    const response = await handle(request);
    if (request.method === "POST") statuses.push(response.status);
    return response;
  }, host);
  const evil = await serve(
    async () =>
      html(`<form method="post" action="${bank}/"><input name="csrf-token" value="x"><button>Win</button></form>`),
    host,
  );
  return { bank, evil, statuses };
}

describe.each(eachBrowser)("%s", (_name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  /** The text of the page, or an empty string while the browser changes pages. */
  const text = async (): Promise<string> =>
    String(await browser.tab.evaluate("document.body.innerText").catch(() => "")).trim();

  /** Submits the form of a page, and returns the bank's answer. */
  async function submit(url: string, statuses: number[]): Promise<{ status: number; text: string }> {
    const { tab } = browser;
    await tab.goto(url);
    const before = statuses.length;
    await tab.evaluate(`void document.querySelector("button").click()`);
    await expect.poll(() => statuses.length).toBe(before + 1);
    // Between two pages a browser shows an empty page, which is complete as well. Each answer of the bank has a text and no button.
    const isAnswered = `!document.querySelector("button") && document.body.innerText.trim() !== ""`;
    await expect.poll(() => tab.evaluate(isAnswered).catch(() => false)).toBe(true);
    return { status: statuses.at(-1) ?? 0, text: await text() };
  }

  test.each(Object.entries(places))(
    "crossOriginProtection() refuses a form of another origin, with sessions in %s",
    async (_, options) => {
      const protect =
        (handle: Handle): Handle =>
        async (request) =>
          crossOriginProtection(handle)(request);
      const { bank, evil, statuses } = await openBank(options(), { protect, usesToken: false });
      expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 1" });
      expect(await submit(evil, statuses)).toMatchObject({ status: 403 });
      expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 2" });
    },
  );

  test.each(Object.entries(places))(
    "verifyCsrfToken() refuses a form of another origin, with sessions in %s",
    async (_, options) => {
      const { bank, evil, statuses } = await openBank(options());
      expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 1" });
      // The browser sent the cookie: for SameSite both pages belong to one site.
      expect(await submit(evil, statuses)).toEqual({ status: 400, text: "no token" });
      expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 2" });
    },
  );

  test("a form of another origin reaches the session where neither protects it", async () => {
    const { bank, evil, statuses } = await openBank({ store: memoryStore() }, { usesToken: false });
    expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 1" });
    expect(await submit(evil, statuses)).toEqual({ status: 200, text: "sent 2" });
  });

  test("crossOriginProtection() lets a trusted origin in", async () => {
    let trusted: string[] = [];
    const protect =
      (handle: Handle): Handle =>
      async (request) =>
        crossOriginProtection(handle, { trustedOrigins: trusted })(request);
    const { bank, evil, statuses } = await openBank({ store: memoryStore() }, { protect, usesToken: false });
    trusted = [evil];
    expect(await submit(bank, statuses)).toEqual({ status: 200, text: "sent 1" });
    expect(await submit(evil, statuses)).toEqual({ status: 200, text: "sent 2" });
  });

  /**
   * The user that the shop sees after a link, and after a form, on another site. With `Strict` the browser sends the
   * cookie with neither.
   */
  const crossSite = {
    Lax: { link: "Ada", form: "nobody" },
    Strict: { link: "nobody", form: "nobody" },
    None: { link: "Ada", form: "Ada" },
  } as const;

  test.each(Object.entries(crossSite))(
    "SameSite=%s: what a page of another site brings along",
    async (sameSite, { link, form }) => {
      const { tab } = browser;
      const handle = withSession<{ user: string }>(
        async (request, session) => {
          if (new URL(request.url).pathname === "/login") session.set("user", "Ada");
          return html(`<p>${request.method} ${await session.get("user", "nobody")}</p>`);
        },
        { cookie: { sameSite: sameSite as keyof typeof crossSite } },
      );
      const shop = `https://${newHost()}:${await serveTls(handle)}`;
      const markup = `<a href="${shop}/">Go</a><form method="post" action="${shop}/"><button>Send</button></form>`;
      const other = `https://${newHost()}:${await serveTls(async () => html(markup))}`;
      await tab.goto(`${shop}/login`);
      await expect.poll(text).toBe("GET Ada");
      await tab.goto(other);
      await tab.evaluate(`void document.querySelector("a").click()`);
      await expect.poll(text).toBe(`GET ${link}`);
      await tab.goto(other);
      await tab.evaluate(`void document.querySelector("button").click()`);
      await expect.poll(text).toBe(`POST ${form}`);
      // The session still exists.
      await tab.goto(`${shop}/`);
      await expect.poll(text).toBe("GET Ada");
    },
  );

  test("SameSite=Lax: a form of another site signs the user out where its handler writes, unless crossOriginProtection() refuses it", async () => {
    const { tab } = browser;
    const handle = withSession<{ user: string; last: string }>(async (request, session) => {
      if (new URL(request.url).pathname === "/login") session.set("user", "Ada");
      if (request.method === "POST") session.set("last", "POST");
      return html(`<p>${request.method} ${await session.get("user", "nobody")}</p>`);
    });
    let protects = true;
    const protectedHandle = crossOriginProtection(handle);
    const serveShop = async (request: Request): Promise<Response> => {
      const response = await (protects ? protectedHandle : handle)(request);
      return response.status === 403 ? html("<p>refused</p>", {}, 403) : response;
    };
    const shop = `https://${newHost()}:${await serveTls(serveShop)}`;
    const markup = `<form method="post" action="${shop}/"><button>Send</button></form>`;
    const other = `https://${newHost()}:${await serveTls(async () => html(markup))}`;
    const sendForm = async (): Promise<void> => {
      await tab.goto(other);
      await tab.evaluate(`void document.querySelector("button").click()`);
    };
    await tab.goto(`${shop}/login`);
    await expect.poll(text).toBe("GET Ada");
    await sendForm();
    await expect.poll(text).toBe("refused");
    await tab.goto(`${shop}/`);
    await expect.poll(text).toBe("GET Ada");
    protects = false;
    await sendForm();
    await expect.poll(text).toBe("POST nobody");
    await tab.goto(`${shop}/`);
    await expect.poll(text).toBe("GET nobody");
  });
});
