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

/** The system's Chromium, which keeps pages for "back" as users' browsers do: Playwright alone would not. */
export async function openChromium(): Promise<Browser> {
  return await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [...OFFLINE],
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
  });
}
