import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shop } from "../../examples/shop/shop.ts";
import { memoryStore, SessionManager, withSession } from "../../mod.ts";
import { html, newHost, serve } from "./serve.ts";
import { type BrowserName, eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

const JSON_BODY = { "Content-Type": "application/json" };

/** Signs Ada out everywhere except on another device that this function signs in. That device has no browser. */
async function endElsewhere(origin: string): Promise<void> {
  const login = await fetch(`${origin}/api/login`, {
    method: "POST",
    headers: { ...JSON_BODY, "X-Session-Id": "" },
    body: JSON.stringify({ user: "Ada" }),
  });
  const headers = { ...JSON_BODY, "X-Session-Id": login.headers.get("X-Session-Id") ?? "" };
  const ended = await fetch(`${origin}/api/devices/end-others`, { method: "POST", headers });
  expect(await ended.json()).toEqual({ ended: 1 });
}

// WebKitGTK 2.50 sometimes does not reach the previous page when it goes back; the reason is not known. Such a run proves nothing and is
// repeated.
describe.each(eachBrowser)("%s", { retry: 3 }, (name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const text = async (): Promise<string> =>
    String(await browser.tab.evaluate("document.body.innerText").catch(() => ""));

  /** Goes to an address, and waits until the page has loaded, so that the next visit adds an entry to the history. */
  async function visit(url: string): Promise<void> {
    await browser.tab.goto(url);
    await expect.poll(() => browser.tab.evaluate("document.readyState").catch(() => "")).toBe("complete");
  }

  const goBack = async (): Promise<unknown> => await browser.tab.evaluate("void history.back()");

  /** Signs Ada in at the shop, and goes on to another page, so that the shop is the previous one in the history. */
  async function leaveShop(): Promise<string> {
    const { tab } = browser;
    const origin = await serve(shop({ store: memoryStore() }));
    await visit(origin);
    await tab.evaluate(`void (document.querySelector("#user").value = "Ada")`);
    await tab.evaluate(`void document.querySelector('form[action="/login"] button').click()`);
    await expect.poll(text).toContain("Hello, Ada");
    await visit(`${origin}/nowhere`);
    await expect.poll(text).toContain("There is nothing at this address.");
    return origin;
  }

  test("the shop shows no user when this tab signs out, and goes back", async () => {
    await leaveShop();
    expect(await browser.tab.evaluate(`fetch("/api/logout", { method: "POST" }).then(({ status }) => status)`)).toBe(
      200,
    );
    await goBack();
    await expect.poll(text).toContain("Ripe today");
    await expect.poll(text).not.toContain("Ada");
  });

  test("the shop shows no user, and says why, when another device ends the session, and this tab goes back", async () => {
    const origin = await leaveShop();
    await endElsewhere(origin);
    await goBack();
    await expect.poll(text).toContain("This browser was signed out from another device, and its basket is gone.");
    expect(await text()).not.toContain("Ada");
  });

  /**
   * Where a page without the shop's remedy still shows the user after "back", by its Cache-Control and by which browser
   * ended the session.
   */
  const shown: readonly (readonly [
    scheme: "http" | "https",
    cacheControl: string,
    where: "here" | "elsewhere",
    old: readonly BrowserName[],
  ])[] = [
    ["https", "private", "here", ["Chromium", "Firefox", "WebKitGTK"]],
    ["https", "private", "elsewhere", ["Chromium", "Firefox", "WebKitGTK"]],
    ["https", "no-store", "here", []],
    // Chromium keeps such a page as long as the site's cookies do not change.
    ["https", "no-store", "elsewhere", ["Chromium"]],
    // WebKitGTK obeys no-store only over https.
    ["http", "no-store", "here", ["WebKitGTK"]],
    ["http", "no-store", "elsewhere", ["Chromium", "WebKitGTK"]],
  ];

  test.each(shown)(
    "a page without the remedy may show the user, as SECURITY.md says: %s, %s, ended %s",
    async (scheme, cacheControl, where, old) => {
      const { tab } = browser;
      const sessions = new SessionManager<{ user: string }>({});
      let id = "";
      const handle = withSession<{ user: string }>(async (request, session) => {
        const { pathname } = new URL(request.url);
        if (pathname === "/login") {
          session.set("user", "Ada");
          id = (await session.create()) ?? "";
        }
        if (pathname === "/logout") await session.destroy();
        return html(`<p>${await session.get("user", "nobody")}`, { "Cache-Control": cacheControl });
      }, sessions);
      const host = newHost();
      const origin = scheme === "https" ? `https://${host}:${await serveTls(handle)}` : await serve(handle, host);
      await visit(`${origin}/login`);
      await visit(`${origin}/account`);
      await visit(`${origin}/elsewhere`);
      if (where === "here") await tab.evaluate(`fetch("/logout", { method: "POST" }).then(({ status }) => status)`);
      else {
        const session = sessions.open(id);
        await session.destroy();
        await session.save();
      }
      await goBack();
      await expect.poll(() => tab.evaluate("location.pathname").catch(() => ""), { timeout: 30_000 }).toBe("/account");
      await expect.poll(text).toBe(old.includes(name) ? "Ada" : "nobody");
    },
  );
});
