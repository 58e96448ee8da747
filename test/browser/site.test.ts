import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, posix, relative } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { buildSite, SITE } from "../../site/build.ts";
import { ROOT } from "../setup/command.ts";
import { filesOf } from "../setup/documentation.ts";
import { openChromium } from "./chromium.ts";
import { listen } from "./serve.ts";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
};
/** The home page, a guide and a page of the API reference. */
const PAGES = ["/", "/session.html", "/api/with-session.html"];
const WIDTHS = [1280, 390];
/** WCAG 2.2, success criterion 1.4.3. */
const MIN_CONTRAST = 4.5;

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://127.0.0.1");
  const file = join(SITE, pathname.endsWith("/") ? `${pathname}index.html` : pathname);
  readFile(file).then(
    (bytes) => response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream").end(bytes),
    () => response.writeHead(404).end(),
  );
});
let browser: Browser;
let origin: string;

beforeAll(async () => {
  [browser] = await Promise.all([openChromium(), buildSite()]);
  origin = `http://127.0.0.1:${await listen(server)}`;
  // The first build on a machine also installs the generator. On a busy machine it can take many times the usual half minute.
}, 900_000);
afterAll(async () => {
  await browser?.close();
  server.close();
});

/** A tab, and the faults that it saw: errors, and requests to another host. */
async function openTab(): Promise<{ page: Page; faults: string[] }> {
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") faults.push(message.text());
  });
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith("data:")) faults.push(request.url());
  });
  return { page, faults };
}

/** Opens a page, and waits until its scripts have run. */
async function open(page: Page, path: string): Promise<void> {
  await page.goto(origin + path);
  await page.waitForFunction('document.querySelector("#app").__vue_app__ !== undefined');
}

/** The texts of a page whose contrast with the background is below 4.5. This expression runs in the page. */
const FAINT_TEXTS = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const parsed = (text) => {
    if (!known.has(text)) known.set(text, read(text));
    return known.get(text);
  };
  const read = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a), 1];
  const grounds = new Map([[null, [255, 255, 255, 1]]]);
  const behind = (element) => {
    if (!grounds.has(element)) {
      const colour = parsed(getComputedStyle(element).backgroundColor);
      grounds.set(element, colour[3] === 1 ? colour : over(colour, behind(element.parentElement)));
    }
    return grounds.get(element);
  };
  const luminance = ([r, g, b]) => {
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  };
  const faint = new Set();
  let seen = 0;
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
    const element = text.parentElement;
    if (text.nodeValue.trim() === "" || !element.checkVisibility({ opacityProperty: true })) continue;
    seen += 1;
    const ground = behind(element);
    const colour = over(parsed(getComputedStyle(element).color), ground);
    const [one, other] = [luminance(colour), luminance(ground)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < ${MIN_CONTRAST}) faint.add(element.tagName + " " + contrast.toFixed(2) + ": " + text.nodeValue);
  }
  return seen < 50 ? ["The page has hardly any text"] : [...faint].slice(0, 10);
})()`;

/** Presses Tab until an element that matches has the focus. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < 150; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`)) return;
  }
  throw new Error(`The Tab key does not reach ${selector}`);
}

test.each(PAGES)("%s is whole and legible on any screen, and asks no other host for anything", async (path) => {
  const { page, faults } = await openTab();
  await open(page, path);
  for (const width of WIDTHS) {
    const at = `${width} pixels`;
    await page.setViewportSize({ width, height: 900 });
    expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth"), at).toBeLessThanOrEqual(0);
    const code = page.locator('main div[class*="language-"] pre').first();
    expect(await code.isVisible(), at).toBe(true);
    expect((await code.innerText()).trim(), at).not.toBe("");
  }
  // Colours do not depend on the width, and the layout does not depend on the colours.
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const isDark = (): Promise<unknown> => page.evaluate('document.documentElement.classList.contains("dark")');
    await expect.poll(isDark, { message: colorScheme }).toBe(colorScheme === "dark");
    // The change of the colour scheme may be animated.
    await expect.poll(() => page.evaluate(FAINT_TEXTS), { message: colorScheme }).toEqual([]);
  }
  expect(faults).toEqual([]);
});

test.each(WIDTHS)("at %i pixels, the keyboard alone leads to a page and searches one", async (width) => {
  const { page, faults } = await openTab();
  await page.setViewportSize({ width, height: 900 });
  await open(page, "/");
  if (width < 960) {
    await tabTo(page, ".VPLocalNav button.menu");
    await page.keyboard.press("Enter");
  }
  await tabTo(page, '.VPSidebar a[href="/login.html"]');
  await page.keyboard.press("Enter");
  await page.waitForURL(`${origin}/login.html`);
  await expect.poll(() => page.locator("main h1").innerText()).toContain("Login");

  await open(page, "/login.html");
  await tabTo(page, "#local-search button");
  await page.keyboard.press("Enter");
  await page.locator("#localsearch-input").waitFor();
  await page.keyboard.type("revokeAll");
  await page.locator('#localsearch-list a[href*="user-sessions"]').first().waitFor();
  await page.keyboard.press("Enter");
  await page.waitForURL(/user-sessions\.html/);
  expect(faults).toEqual([]);
});

test("each link within the site leads to a page, and to an anchor of it", async () => {
  const pages = new Map<string, { links: string[]; ids: Set<string> }>();
  for (const file of await filesOf([`${relative(ROOT, SITE)}/**/*.html`])) {
    const html = await readFile(join(ROOT, file), "utf8");
    const values = (name: string): string[] =>
      Array.from(html.matchAll(new RegExp(` ${name}="([^"]*)"`, "g")), ([, value = ""]) =>
        decodeURIComponent(value.replaceAll("&amp;", "&")),
      );
    const address = `/${relative(SITE, join(ROOT, file)).replaceAll("\\", "/")}`;
    pages.set(address, { links: [...values("href"), ...values("src")], ids: new Set(values("id")) });
  }
  const broken: string[] = [];
  let count = 0;
  for (const [address, { links }] of pages) {
    for (const link of links) {
      if (/^[a-z]+:/i.test(link)) continue;
      count += 1;
      const [path = "", anchor] = link.split("#", 2);
      const target = path === "" ? address : posix.join(path.startsWith("/") ? "/" : dirname(address), path);
      const found = pages.get(target.endsWith("/") ? `${target}index.html` : target);
      const isFile = found !== undefined || (await readFile(join(SITE, target)).then(Boolean, () => false));
      if (!isFile || (anchor !== undefined && found?.ids.has(anchor) !== true)) broken.push(`${address}: ${link}`);
    }
  }
  expect(pages.size).toBeGreaterThan(70);
  expect(count).toBeGreaterThan(2000);
  expect(broken).toEqual([]);
});
