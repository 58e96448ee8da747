import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withSession } from "../../mod.ts";
import { html, newHost } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

describe.each(eachBrowser)("%s", (browserName, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const text = async (): Promise<unknown> => await browser.tab.evaluate("document.body.innerText.trim()");

  /** A site on two hosts of one domain, with one session each. */
  async function openSite() {
    const handle = withSession<{ user: string }>(async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/login") session.set("user", "Ada");
      if (pathname === "/logout/storage") await session.destroy({ clearSiteData: ["storage"] });
      if (pathname === "/logout/cookies") await session.destroy({ clearSiteData: ["cookies"] });
      const user = await session.get("user", "nobody");
      // A careless program sets the session's cookie in a response that clears cookies.
      if (pathname.startsWith("/care")) session.set("user", "Eve");
      return html(user, pathname === "/careless" ? { "Clear-Site-Data": `"cookies"` } : {});
    });
    const port = await serveTls(handle);
    const host = newHost();
    return { own: `https://www.${host}:${port}`, sister: `https://blog.${host}:${port}` };
  }

  test("a logout with clearSiteData ends the session, and the storage where the browser knows the header", async () => {
    const { tab } = browser;
    const { own } = await openSite();
    await tab.goto(`${own}/login`);
    await tab.evaluate(`void localStorage.setItem("draft", "secret")`);
    await tab.goto(`${own}/who`);
    expect(await tab.evaluate(`localStorage.getItem("draft")`)).toBe("secret");
    await tab.goto(`${own}/logout/storage`);
    expect(await tab.cookies()).toEqual([]);
    expect(await text()).toBe("nobody");
    await tab.goto(`${own}/who`);
    expect(await text()).toBe("nobody");
    expect(await tab.evaluate(`localStorage.getItem("draft")`)).toBe(null);
  });

  test(`"cookies" reaches the sessions of sister hosts in Chromium`, async () => {
    const { tab } = browser;
    const { own, sister } = await openSite();
    for (const origin of [sister, own]) await tab.goto(`${origin}/login`);
    await tab.goto(`${own}/logout/cookies`);
    await tab.goto(`${own}/who`);
    expect(await text()).toBe("nobody");
    await tab.goto(`${sister}/who`);
    expect(await text()).toBe(browserName === "Chromium" ? "nobody" : "Ada");
  });

  test(`"cookies" removes a cookie that the same response sets`, async () => {
    const { tab } = browser;
    const { own } = await openSite();
    for (const [path, user] of [
      ["careful", "Eve"],
      ["careless", "nobody"],
    ] as const) {
      await tab.goto(`${own}/${path}`);
      await tab.goto(`${own}/who`);
      expect(await text()).toBe(user);
    }
  });
});
