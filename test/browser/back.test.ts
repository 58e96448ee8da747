import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shop } from "../../examples/shop/shop.ts";
import { memoryStore } from "../../mod.ts";
import { html, serve } from "./serve.ts";
import { browsers, type OpenBrowser } from "./tabs.ts";

const JSON_BODY = { "Content-Type": "application/json" };

/** Signs Ada out everywhere but on a device of her own, which has no browser. */
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

describe.each(Object.entries(browsers))("%s", (_name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const text = async (): Promise<string> =>
    String(await browser.tab.evaluate("document.body.innerText").catch(() => ""));

  /** The shop with Ada signed in, in the history behind another page. */
  async function leaveShop(): Promise<string> {
    const { tab } = browser;
    const origin = await serve(shop({ store: memoryStore() }));
    await tab.goto(origin);
    await tab.evaluate(`void (document.querySelector("#user").value = "Ada")`);
    await tab.evaluate(`void document.querySelector('form[action="/login"] button').click()`);
    await expect.poll(text).toContain("Hello, Ada");
    await tab.goto(`${origin}/nowhere`);
    await expect.poll(text).toContain("There is nothing at this address.");
    return origin;
  }

  test("the shop shows no user when this tab signs out, and goes back", async () => {
    await leaveShop();
    expect(await browser.tab.evaluate(`fetch("/api/logout", { method: "POST" }).then(({ status }) => status)`)).toBe(
      200,
    );
    await browser.tab.evaluate("void history.back()");
    await expect.poll(text).toContain("Ripe today");
    await expect.poll(text).not.toContain("Ada");
  });

  test("the shop shows no user, and says why, when another device ends the session, and this tab goes back", async () => {
    const origin = await leaveShop();
    await endElsewhere(origin);
    await browser.tab.evaluate("void history.back()");
    await expect.poll(text).toContain("This browser was signed out from another device, and its basket is gone.");
    expect(await text()).not.toContain("Ada");
  });

  test("a page without the shop's remedy may still show the user: what SECURITY.md warns of", async () => {
    let user = "Ada";
    const origin = await serve(async (request) =>
      html(`<p>${new URL(request.url).pathname === "/" ? user : "elsewhere"}`, { "Cache-Control": "private" }),
    );
    await browser.tab.goto(`${origin}/`);
    await browser.tab.goto(`${origin}/elsewhere`);
    user = "nobody";
    await browser.tab.evaluate("void history.back()");
    await expect.poll(text).toBe("Ada");
  });
});
