import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, SessionManager, withSession } from "../../mod.ts";
import { html, serve } from "./serve.ts";
import { browsers, type OpenBrowser } from "./tabs.ts";

interface Data {
  readonly notice: string;
}

/** How a page asks its browser to fetch another one ahead. */
const ways: Readonly<Record<string, string>> = {
  'a link with rel="prefetch"': `<link rel="prefetch" href="/ahead">`,
  "speculation rules":
    `<script type="speculationrules">` +
    `{ "prefetch": [{ "source": "list", "urls": ["/ahead"], "eagerness": "immediate" }] }</script>`,
};

/** Every page shows the flash value; the first one sets it, and makes the browser fetch another one ahead. */
async function openSite(way: string) {
  let time = Date.now();
  const prefetched = Promise.withResolvers<string | null>();
  const ids: (string | null)[] = [];
  const sessions = new SessionManager<Data>({ store: memoryStore(), touchInterval: 0, now: () => time });
  const handler = withSession<Data>(async (request, session) => {
    const { pathname } = new URL(request.url);
    // Browsers ask for an icon by themselves.
    if (pathname === "/favicon.ico") return new Response(null, { status: 404 });
    if (pathname === "/begin") {
      session.flash("notice", "Welcome");
      ids.push(await session.id());
      return html(`<h1>begun</h1>${way}`, { "Cache-Control": "no-store" });
    }
    return html(`<h1>${await session.get("notice", "nothing")}</h1>`, { "Cache-Control": "no-store" });
  }, sessions);
  const origin = await serve(async (request) => {
    const isAhead = new URL(request.url).pathname === "/ahead";
    // So that a prefetch that counted as use would be seen by its time.
    if (isAhead) time += 60_000;
    const response = await handler(request);
    if (isAhead) prefetched.resolve(request.headers.get("Sec-Purpose"));
    return response;
  });
  const lastSeenAt = async (): Promise<number | null> => (await sessions.open(ids[0] ?? "").info()).lastSeenAt;
  return { origin, begun: time, prefetched: prefetched.promise, lastSeenAt };
}

describe.each(Object.entries(browsers))("%s", (name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  // Firefox has no speculation rules.
  const known = Object.entries(ways).filter(([way]) => name === "Chromium" || way !== "speculation rules");

  test.each(known)(
    "a page that is fetched ahead by %s consumes no flash value, and is no use",
    async (_way, markup) => {
      const { tab } = browser;
      const { origin, begun, prefetched, lastSeenAt } = await openSite(markup);
      await tab.goto(`${origin}/begin`);
      expect(await prefetched).toMatch(/^prefetch/);
      expect(await lastSeenAt()).toBe(begun);
      await tab.goto(`${origin}/next`);
      expect(await tab.evaluate("document.body.innerText.trim()")).toBe("Welcome");
      expect(await lastSeenAt()).toBe(begun + 60_000);
      await tab.goto(`${origin}/again`);
      expect(await tab.evaluate("document.body.innerText.trim()")).toBe("nothing");
    },
  );
});
