import { type Browser, chromium } from "playwright-core";

const OFFLINE: readonly string[] = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** In milliseconds. On a busy machine a page takes longer than Playwright's default of 30 s. */
const PATIENCE = 120_000;

/** The system's Chromium, with the back/forward cache that users' browsers have. Playwright switches that off. */
export async function openChromium(): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [...OFFLINE],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    timeout: PATIENCE,
  });
  const newContext = browser.newContext.bind(browser);
  browser.newContext = async (options) => {
    const context = await newContext(options);
    context.setDefaultTimeout(PATIENCE);
    return context;
  };
  return browser;
}
