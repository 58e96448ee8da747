import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { openShop, type ShopProcess } from "../shop_process.ts";
import { openChromium } from "./chromium.ts";

let browser: Browser;
let directory: string;
let shop: ShopProcess;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "shop-browser-"));
  [browser, shop] = await Promise.all([openChromium(), openShop(directory)]);
});

afterAll(async () => {
  await browser.close();
  await shop.close();
  await rm(directory, { recursive: true });
});

/** The shop in a browser of its own. What the browser complains of fails the test. */
async function enter(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ baseURL: shop.url, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  // The tests stop the shop themselves: that a connection was refused meanwhile is no fault of the page.
  page.on(
    "console",
    (message) => /net::ERR_(?:CONNECTION|EMPTY)/.test(message.text()) || complaints.push(message.text()),
  );
  page.on("pageerror", (error) => complaints.push(error.message));
  onTestFinished(async () => {
    await context.close();
    expect(complaints).toEqual([]);
  });
  await page.goto("/");
  return page;
}

async function add(page: Page, fruit: string): Promise<void> {
  await page.getByRole("button", { name: `Add ${fruit}` }).click();
}

async function signIn(page: Page, name: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function signOut(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
}

async function expectBasket(page: Page, lines: readonly string[]): Promise<void> {
  await expect
    .poll(() => page.locator("#basket .lines li").allInnerTexts())
    .toEqual(lines.map((line) => expect.stringMatching(line)));
}

async function notice(page: Page): Promise<string | null> {
  const found = page.getByRole("status").and(page.locator("p"));
  return (await found.count()) === 0 ? null : await found.innerText();
}

test("the shop keeps a basket through login, reload and a restart of the server when a browser walks through it", async () => {
  const page = await enter();
  expect(await page.locator("#facts").innerText()).toContain("new, nothing stored");
  expect(await page.context().cookies()).toEqual([]);

  await add(page, "Pear");
  await add(page, "Pear");
  await add(page, "Plum");
  expect(await notice(page)).toBe("Added to your basket: Plum.");
  await expectBasket(page, ["^Pear\\s+2$", "^Plum\\s+1$"]);
  expect(await page.locator("#facts").innerText()).toMatch(/known to the shop[^]*in a cookie/);
  const [before] = await page.context().cookies();
  expect(before).toMatchObject({ name: "session", httpOnly: true, sameSite: "Lax", path: "/" });

  await signIn(page, "Ada");
  expect(await notice(page)).toBe("Welcome, Ada. Your basket came with you.");
  await expectBasket(page, ["^Pear\\s+2$", "^Plum\\s+1$"]);
  const [after] = await page.context().cookies();
  expect(after?.value).not.toBe(before?.value);

  await page.reload();
  expect(await notice(page)).toBeNull();
  expect(await page.getByRole("heading", { name: "Hello, Ada" }).count()).toBe(1);

  await shop.close();
  shop = await openShop(directory, shop.port);
  await page.reload();
  expect(await page.getByRole("heading", { name: "Hello, Ada" }).count()).toBe(1);
  await expectBasket(page, ["^Pear\\s+2$", "^Plum\\s+1$"]);

  await page.getByRole("button", { name: "Empty the basket" }).click();
  expect(await notice(page)).toBe("Your basket is empty again.");
  await expectBasket(page, []);
});

test("the shop counts twenty of twenty when the button sends them at once, for a newcomer and for a known visitor", async () => {
  const page = await enter();
  const outcome = page.locator("#outcome");
  await page.getByRole("button", { name: "Send twenty requests" }).click();
  await expect.poll(() => outcome.innerText()).toMatch(/^20 of 20 are in the basket: none was lost/);
  await expectBasket(page, ["^Cherries\\s+20$"]);
  await add(page, "Pear");
  await page.getByRole("button", { name: "Send twenty requests" }).click();
  await expect.poll(() => outcome.innerText()).toMatch(/^20 of 20 are in the basket: none was lost/);
  await expectBasket(page, ["^Cherries\\s+40$", "^Pear\\s+1$"]);
  expect(await page.locator(".dots .counted").count()).toBe(20);
});

test("the shop shows no user when the visitor signs out and goes back", async () => {
  const page = await enter();
  await add(page, "Pear");
  await signIn(page, "Ada");
  await page.getByRole("link", { name: "/api/basket" }).click();
  await page.goBack();
  expect(await page.getByRole("heading", { name: "Hello, Ada" }).count()).toBe(1);

  await signOut(page);
  expect(await notice(page)).toBe("Goodbye, Ada. You are signed out, and your basket is gone.");
  await page.goBack();
  await expect.poll(() => page.getByLabel("Your name").count()).toBe(1);
  expect(await page.locator("body").innerText()).not.toContain("Ada");
  await expectBasket(page, []);
});

test("the shop shows no user when the visitor signs out in another tab and goes back in this one", async () => {
  const page = await enter();
  await signIn(page, "Ada");
  await page.getByRole("link", { name: "/api/session" }).click();
  const other = await page.context().newPage();
  await other.goto("/");
  await signOut(other);
  await page.goBack();
  await expect.poll(() => page.getByLabel("Your name").count()).toBe(1);
});

test("the shop takes forms, and hides what cannot work, when there is no JavaScript", async () => {
  const page = await enter({ javaScriptEnabled: false });
  expect(await page.getByRole("button", { name: "Send twenty requests" }).count()).toBe(0);
  await add(page, "Lemon");
  await signIn(page, "Ada");
  expect(await notice(page)).toBe("Welcome, Ada. Your basket came with you.");
  await expectBasket(page, ["^Lemon\\s+1$"]);
  await signOut(page);
  expect(await notice(page)).toContain("Goodbye, Ada.");
  expect(await page.getByLabel("Your name").count()).toBe(1);
});

test.for([320, 390])("the shop fits without scrolling sideways when the screen is %i pixels wide", async (width) => {
  const page = await enter({ viewport: { width, height: 844 }, isMobile: true, hasTouch: true });
  const excess = (): Promise<number> => page.evaluate("document.documentElement.scrollWidth - innerWidth");
  expect(await excess()).toBeLessThanOrEqual(0);
  await add(page, "Pear");
  await signIn(page, "A".repeat(60));
  await page.getByRole("button", { name: "Send twenty requests" }).click();
  await expectBasket(page, ["^Pear\\s+1$", "^Cherries\\s+20$"]);
  expect(await excess()).toBeLessThanOrEqual(0);
});
