import { openChromium } from "./chromium.ts";
import { openFirefox } from "./firefox.ts";
import { openWebKit } from "./webkit.ts";

/** A cookie in a browser's cookie store. */
export interface BrowserCookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly secure: boolean;
  readonly httpOnly: boolean;
}

/** A tab of any browser. */
export interface Tab {
  /** Goes to an address, and resolves when the page has loaded. */
  readonly goto: (url: string) => Promise<void>;
  /** The value of an expression that the page evaluates, passed as JSON. */
  readonly evaluate: (expression: string) => Promise<unknown>;
  /** The cookies that the browser keeps for the page's address, including those that scripts cannot see. */
  readonly cookies: () => Promise<BrowserCookie[]>;
  /** Presses and releases a key. The focused element gets it. */
  readonly press: (key: "Enter" | "Tab") => Promise<void>;
  /** Sets the size of the window, in pixels. */
  readonly resize: (width: number, height: number) => Promise<void>;
  /** The visible part of the page, as a PNG. */
  readonly screenshot: () => Promise<Buffer>;
}

/** A browser with one tab. */
export interface OpenBrowser {
  readonly tab: Tab;
  readonly close: () => Promise<void>;
}

export type BrowserName = "Chromium" | "Firefox" | "WebKitGTK";

/** The browsers for tests that need only a tab, as `describe.each` takes them. */
export const eachBrowser: readonly (readonly [name: BrowserName, open: () => Promise<OpenBrowser>])[] = [
  ["Chromium", openChromiumTab],
  ["Firefox", openFirefox],
  ["WebKitGTK", openWebKit],
];

async function openChromiumTab(): Promise<OpenBrowser> {
  const browser = await openChromium();
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  return {
    tab: {
      goto: async (url) => void (await page.goto(url)),
      evaluate: (expression) => page.evaluate(`Promise.resolve(${expression}).then((value) => value ?? null)`),
      cookies: () => page.context().cookies(page.url()),
      press: (key) => page.keyboard.press(key),
      resize: (width, height) => page.setViewportSize({ width, height }),
      screenshot: () => page.screenshot(),
    },
    close: () => browser.close(),
  };
}
