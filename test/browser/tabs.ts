import { openChromium } from "./chromium.ts";
import { openFirefox } from "./firefox.ts";

/** A tab of any browser. */
export interface Tab {
  /** Goes to an address, and returns when the page has loaded. */
  readonly goto: (url: string) => Promise<void>;
  /** The value of an expression in the page, as JSON can tell it. */
  readonly evaluate: (expression: string) => Promise<unknown>;
}

/** A browser with one tab. */
export interface OpenBrowser {
  readonly tab: Tab;
  readonly close: () => Promise<void>;
}

/** The browsers in which a test runs that needs no more than a tab. */
export const browsers: Readonly<Record<string, () => Promise<OpenBrowser>>> = {
  async Chromium() {
    const browser = await openChromium();
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    return {
      tab: {
        goto: async (url) => void (await page.goto(url)),
        evaluate: (expression) => page.evaluate(`Promise.resolve(${expression}).then((value) => value ?? null)`),
      },
      close: () => browser.close(),
    };
  },
  Firefox: openFirefox,
};
