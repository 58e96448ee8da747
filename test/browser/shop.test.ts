import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { shop as shopOf } from "../../examples/shop/shop.ts";
import { memoryStore } from "../../mod.ts";
import { openShop, type ShopProcess } from "../shop_process.ts";
import { openChromium } from "./chromium.ts";
import { serve } from "./serve.ts";
import { BROKEN_WORDS, WEAK_CONTRASTS } from "./shop_page.ts";

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

/** The shop in a new browser context. Errors that the browser reports fail the test, except those that `isExpected` matches. */
async function enter(options: BrowserContextOptions = {}, isExpected?: RegExp): Promise<Page> {
  const context = await browser.newContext({ baseURL: shop.url, ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  // The tests stop the shop themselves, so a refused connection is no fault of the page.
  page.on(
    "console",
    (message) => /net::ERR_(?:CONNECTION|EMPTY)/.test(message.text()) || complaints.push(message.text()),
  );
  page.on("pageerror", (error) => complaints.push(error.message));
  onTestFinished(async () => {
    await context.close();
    expect(complaints.filter((each) => isExpected?.test(each) !== true)).toEqual([]);
  });
  await page.goto("/");
  return page;
}

/** Adds a fruit, and waits until the shop has confirmed it. */
async function add(page: Page, fruit: string): Promise<void> {
  const loaded = page.waitForResponse(
    (each) => each.request().method() === "GET" && new URL(each.url()).pathname === "/",
  );
  await page.getByRole("button", { name: `Add ${fruit}` }).click();
  await (await loaded).finished();
  await expect.poll(() => notice(page)).toBe(`Added to your basket: ${fruit}.`);
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
  const found = page.locator("#notice p");
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
  await expect.poll(() => notice(page)).toBe("Your basket is empty again.");
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

test.for([320, 1280])("no word of a button is broken when the screen is %i pixels wide", async (width) => {
  const name = `Ada at ${width}`;
  for (let other = 0; other < 2; other++) await signIn(await enter(), name);
  const page = await enter({ viewport: { width, height: 844 } });
  await signIn(page, name);
  await expect.poll(() => page.locator("#devices li").count()).toBe(3);
  expect(await page.evaluate(BROKEN_WORDS)).toEqual([]);
  // The check finds a broken word if there is one.
  await page.evaluate(
    "document.querySelector('#devices button').style.cssText = 'width: 3.2rem; overflow-wrap: anywhere'",
  );
  expect(await page.evaluate(BROKEN_WORDS)).toEqual(["End"]);
});

/** The focused element, by its id or its text. A new page sets the focus a moment after it has loaded, so each check polls. */
const FOCUSED = `document.activeElement.id || document.activeElement.textContent`;

test("the focus stays on the button, and the page where it is, when a fruit is added", async () => {
  const page = await enter({ viewport: { width: 320, height: 500 } });
  const button = page.getByRole("button", { name: "Add Orange" });
  await button.scrollIntoViewIfNeeded();
  const place = (await button.boundingBox())?.y;
  expect(await page.evaluate("scrollY")).toBeGreaterThan(100);
  await button.focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => notice(page)).toBe("Added to your basket: Orange.");
  await expect.poll(() => page.evaluate(FOCUSED)).toBe("add-orange");
  expect(Math.abs(((await button.boundingBox())?.y ?? 0) - (place ?? 0))).toBeLessThan(2);
  // The message is visible, and does not cover the button.
  const [box, under] = await Promise.all([page.locator("#notice p").boundingBox(), button.boundingBox()]);
  expect(box?.y).toBeGreaterThanOrEqual(0);
  expect(under?.y).toBeGreaterThan((box?.y ?? 0) + (box?.height ?? 0));

  // The second request is sent before the first answer has arrived, and uses the same session.
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await expectBasket(page, ["^Orange\\s+3$"]);

  await page.getByRole("button", { name: "Empty the basket" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => notice(page)).toBe("Your basket is empty again.");
  await expect.poll(() => page.evaluate(FOCUSED)).toBe("basket-title");
});

test("the focus comes back to the button when a fruit is added without JavaScript", async () => {
  const page = await enter({ viewport: { width: 320, height: 500 }, javaScriptEnabled: false });
  await page.getByRole("button", { name: "Add Orange" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => notice(page)).toBe("Added to your basket: Orange.");
  expect(page.url()).toMatch(/\/#add-orange$/);
  await expect.poll(() => page.locator(":focus").getAttribute("id")).toBe("add-orange");
  const button = page.locator("#add-orange");
  const [box, under] = await Promise.all([page.locator("#notice p").boundingBox(), button.boundingBox()]);
  expect(under?.y).toBeGreaterThan((box?.y ?? 0) + (box?.height ?? 0));
});

test("the button of the experiment keeps the focus while its requests are under way", async () => {
  const page = await enter();
  await page.getByRole("button", { name: "Send twenty requests" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => page.locator("#outcome").innerText()).toMatch(/^20 of 20/);
  await expect.poll(() => page.evaluate(FOCUSED)).toBe("fire");
});

test("a name of spaces is refused by the browser, and by the shop in the words of the label", async () => {
  const page = await enter({}, /status of 400/);
  await add(page, "Pear");
  const field = page.getByLabel("Your name");
  await field.fill("   ");
  expect(await page.evaluate("document.querySelector('#user').checkValidity()")).toBe(false);
  await page.evaluate("document.querySelector('#user').form.noValidate = true");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("#user-error").waitFor();
  const message = "Your name must have 1 to 60 characters, and not spaces alone.";
  expect(await page.locator("#user-error").innerText()).toBe(message);
  expect(await field.getAttribute("aria-describedby")).toBe("user-error");
  await expect.poll(() => page.evaluate(FOCUSED)).toBe("user");
  await expectBasket(page, ["^Pear\\s+1$"]);
});

test("the account asks who it is when the login is five minutes old, and shows itself again then", async () => {
  let time = Date.now();
  const origin = await serve(shopOf({ store: memoryStore(), now: () => time }));
  const page = await enter({ baseURL: origin }, /status of 400/);
  await signIn(page, "Ada");
  await page.getByRole("link", { name: "Your account" }).click();
  await page.getByRole("heading", { name: "Your account" }).waitFor();
  const [before] = await page.context().cookies();
  time += 300_000;
  await page.reload();
  await page.getByRole("heading", { name: "Is it you?" }).waitFor();
  const field = page.getByLabel("The name that you signed in with");
  await field.fill("Eve");
  await page.getByRole("button", { name: "Confirm" }).click();
  await expect
    .poll(() => page.locator("#user-error").innerText())
    .toBe("That is not the name that you signed in with.");
  await expect.poll(() => page.evaluate(FOCUSED)).toBe("user");
  await field.fill("Ada");
  await page.getByRole("button", { name: "Confirm" }).click();
  await page.getByRole("heading", { name: "Your account" }).waitFor();
  const [after] = await page.context().cookies();
  expect(after?.value).not.toBe(before?.value);
});

test.for(["light", "dark"] as const)(
  "every text stands out from its ground by 4.5 to 1 when colours are %s",
  async (colorScheme) => {
    const page = await enter({ colorScheme }, /status of 400/);
    await add(page, "Pear");
    await signIn(page, "Ada");
    await page.getByText("Use another account").click();
    expect(await page.evaluate(WEAK_CONTRASTS)).toEqual([]);
    await page.locator("#user").fill(" ");
    await page.evaluate("document.querySelector('#user').form.noValidate = true");
    await page.getByRole("button", { name: "Switch to it" }).click();
    await page.locator("#user-error").waitFor();
    expect(await page.evaluate(WEAK_CONTRASTS)).toEqual([]);
    // The check finds a weak contrast if there is one.
    await page.evaluate("document.querySelector('h1').style.color = '#888'");
    await page.evaluate("document.querySelector('h1').style.background = '#777'");
    expect(await page.evaluate(WEAK_CONTRASTS)).toEqual(["The Orchard"]);
  },
);
