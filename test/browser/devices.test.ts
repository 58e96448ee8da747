import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openShop, type ShopProcess } from "../shop_process.ts";
import { openChromium } from "./chromium.ts";
import { openFirefox } from "./firefox.ts";
import type { Tab } from "./tabs.ts";

let chromium: Browser;
let directory: string;
let shop: ShopProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "shop-devices-"));
  [chromium, shop] = await Promise.all([openChromium(), openShop(directory)]);
});
afterAll(async () => {
  await chromium.close();
  await shop.close();
  await rm(directory, { recursive: true });
});

async function enter(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await chromium.newContext({ baseURL: shop.url, ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  await page.goto("/");
  return page;
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await press(page, page.getByRole("button", { name: "Sign in" }));
  await page.getByRole("heading", { name: `Hello, ${name}` }).waitFor();
}

/** Presses a button, and waits for the resulting page. Loading another page earlier would abort the request. */
async function press(page: Page, button: Locator): Promise<void> {
  const loaded = page.waitForEvent("load");
  await button.click();
  await loaded;
}

/** The message at the top of the page. */
async function notice(page: Page): Promise<string> {
  return (await page.locator("#notice").innerText()).trim();
}

const revoked = "This browser was signed out from another device, and its basket is gone.";

/** The lines of "Your devices", as a visitor reads them. */
async function devices(page: Page): Promise<string[]> {
  await page.reload();
  const lines = await page.locator("#devices li p").allInnerTexts();
  return lines.map((line) => line.replaceAll(/\s+/g, " "));
}

async function isSignedIn(page: Page): Promise<boolean> {
  await page.reload();
  return (await page.getByLabel("Your name").count()) === 0;
}

const here = expect.stringMatching(/^Chrome on Linux(?: \(\d\))? this browser signed in /);
const isHere = (line: string): boolean => line.includes("this browser");

test("the shop signs Firefox out when Chromium says so, and Chromium when Firefox does", async () => {
  const firefox = await openFirefox();
  onTestFinished(firefox.close);
  const page = await enter();
  await signIn(page, "Ada");
  await signInWith(firefox.tab, "Ada");
  expect((await devices(page)).toSorted()).toEqual([
    here,
    expect.stringMatching(/^Firefox on Linux last seen .* signed in /),
  ]);
  expect(await userIn(firefox.tab)).toBe("Ada");

  await page.getByRole("button", { name: "the session of Firefox" }).click();
  await expect.poll(() => notice(page)).toBe("Signed out there: Firefox on Linux.");
  // The pressed button no longer exists, so its list has the focus.
  await expect.poll(() => page.locator(":focus").innerText()).toBe("Your devices");
  await firefox.tab.goto(`${shop.url}/`);
  expect(await firefox.tab.evaluate(`document.querySelector("#notice").innerText.trim()`)).toBe(revoked);
  expect(await userIn(firefox.tab)).toBeNull();
  expect(await devices(page)).toEqual([here]);

  await signInWith(firefox.tab, "Ada");
  await firefox.tab.evaluate(`void document.querySelector('form[action="/devices/end-others"] button').click()`);
  await expect
    .poll(() => firefox.tab.evaluate(`document.querySelector("#notice").innerText.trim()`))
    .toBe("You are signed out everywhere else. Other devices: 1.");
  expect(await userIn(firefox.tab)).toBe("Ada");
  expect(await isSignedIn(page)).toBe(false);
  expect(await notice(page)).toBe(revoked);
});

test.each([true, false])("the shop shows this browser, and ends one or all others, JavaScript being %s", async (js) => {
  const [phone, laptop, tablet] = [await enter({ javaScriptEnabled: js }), await enter(), await enter()];
  for (const page of [phone, laptop, tablet]) await signIn(page, js ? "Grace" : "Lin");
  expect((await devices(phone)).filter(isHere)).toHaveLength(1);
  expect(await devices(phone)).toHaveLength(3);
  // A screen reader gives each button another name.
  const names = await phone.getByRole("button", { name: /^End the session of/ }).allInnerTexts();
  expect(new Set(names).size).toBe(3);

  const other = phone.locator("#devices li", { hasText: "last seen" }).first();
  await other.getByRole("button").click();
  await expect.poll(() => notice(phone)).toMatch(/^Signed out there: Chrome on Linux \(\d\)\.$/);
  expect(await devices(phone)).toHaveLength(2);
  expect([await isSignedIn(laptop), await isSignedIn(tablet)].toSorted()).toEqual([false, true]);

  await phone.getByRole("button", { name: "Sign out everywhere else" }).click();
  await expect.poll(() => notice(phone)).toBe("You are signed out everywhere else. Other devices: 1.");
  expect(await devices(phone)).toEqual([here]);
  expect([await isSignedIn(laptop), await isSignedIn(tablet)]).toEqual([false, false]);

  await press(phone, phone.locator("#devices li").getByRole("button"));
  expect(await isSignedIn(phone)).toBe(false);
});

async function userIn(tab: Tab): Promise<unknown> {
  return await tab.evaluate(`fetch("/api/session").then((response) => response.json()).then(({ user }) => user)`);
}

async function signInWith(tab: Tab, name: string): Promise<void> {
  await tab.goto(`${shop.url}/`);
  await tab.evaluate(`void (document.querySelector("#user").value = ${JSON.stringify(name)})`);
  await submit(tab, 'form[action="/login"]');
  expect(await userIn(tab)).toBe(name);
}

/** Clicks the button of a form, and waits for the resulting page. */
async function submit(tab: Tab, form: string): Promise<void> {
  await tab.evaluate(`void (window.isOld = true, document.querySelector('${form} button').click())`);
  // Between two pages a browser shows an empty page, which is complete as well.
  const isNew = `!window.isOld && document.readyState === "complete" && document.body.innerText !== ""`;
  await expect.poll(() => tab.evaluate(isNew).catch(() => false)).toBe(true);
}
