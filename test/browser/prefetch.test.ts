import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, SessionManager, withSession } from "../../mod.ts";
import { html, newHost, serve } from "./serve.ts";
import { type BrowserName, eachBrowser, type OpenBrowser } from "./tabs.ts";

interface Data {
  readonly notice: string;
  readonly user: string;
}

const rules = (kind: "prefetch" | "prerender"): string =>
  `<script type="speculationrules">` +
  `{ "${kind}": [{ "source": "list", "urls": ["/ahead"], "eagerness": "immediate" }] }</script>`;

/** The ways in which a page asks its browser to prefetch another page, and the browsers that do so. */
const ways: readonly (readonly [way: string, markup: string, browsers: readonly BrowserName[]])[] = [
  // WebKitGTK ignores such links.
  [`a link with rel="prefetch"`, `<link rel="prefetch" href="/ahead">`, ["Chromium", "Firefox"]],
  // Only Chromium knows these rules.
  ["speculation rules that prefetch", rules("prefetch"), ["Chromium"]],
  ["speculation rules that prerender", rules("prerender"), ["Chromium"]],
];

/** The first page sets a flash value, and asks the browser to prefetch another page. All other pages show the value and the user. */
async function openSite(markup: string) {
  let time = Date.now();
  const ahead = Promise.withResolvers<string | null>();
  const paths: string[] = [];
  const ids: (string | null)[] = [];
  const sessions = new SessionManager<Data>({ store: memoryStore(), touchInterval: 0, now: () => time });
  const handler = withSession<Data>(async (request, session) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/begin") {
      session.set("user", "Ada");
      session.flash("notice", "Welcome");
      ids.push(await session.id());
      return html(`<h1>begun</h1>${markup}`, { "Cache-Control": "no-store" });
    }
    if (pathname === "/logout") await session.destroy();
    const [notice, user] = [await session.get("notice", "nothing"), await session.get("user", "nobody")];
    return html(`<h1>${notice} for ${user}</h1>`, { "Cache-Control": "no-store" });
  }, sessions);
  const origin = await serve(async (request) => {
    const { pathname } = new URL(request.url);
    paths.push(pathname);
    const purpose = request.headers.get("Sec-Purpose");
    // If a prefetch counted as use, this later time would show it.
    if (purpose !== null) time += 60_000;
    const response = await handler(request);
    if (pathname === "/ahead") ahead.resolve(purpose);
    return response;
  }, newHost());
  const lastSeenAt = async (): Promise<number | null> => (await sessions.open(ids[0] ?? "").info()).lastSeenAt;
  return { origin, begun: time, ahead: ahead.promise, paths, lastSeenAt };
}

describe.each(eachBrowser)("%s", (browserName, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const text = async (): Promise<unknown> =>
    await browser.tab.evaluate("document.body.innerText.trim()").catch(() => "");

  test.each(ways)(
    "a page that is asked for ahead by %s consumes no flash value, and is no use",
    async (_way, markup, browsers) => {
      const { tab } = browser;
      const { origin, begun, ahead, paths, lastSeenAt } = await openSite(markup);
      await tab.goto(`${origin}/begin`);
      const isFetched = browsers.includes(browserName);
      if (isFetched) {
        expect(await ahead).toMatch(/^prefetch/);
        expect(await lastSeenAt()).toBe(begun);
      }
      await tab.goto(`${origin}/next`);
      expect(await text()).toBe("Welcome for Ada");
      expect(await lastSeenAt()).toBe(isFetched ? begun + 60_000 : begun);
      await tab.goto(`${origin}/again`);
      expect(await text()).toBe("nothing for Ada");
      // A browser that does not know the markup fetches nothing.
      expect(paths.includes("/ahead")).toBe(isFetched);
    },
  );

  test.each(ways)(
    "a page that was asked for ahead by %s, and is visited after a logout: what docs/login.md says",
    async (way, markup, browsers) => {
      const { tab } = browser;
      const { origin, ahead } = await openSite(markup);
      await tab.goto(`${origin}/begin`);
      if (browsers.includes(browserName)) await ahead;
      await tab.evaluate(`fetch("/logout", { method: "POST" }).then(({ status }) => status)`);
      await tab.evaluate(`void (location.href = "/ahead")`);
      // Chromium shows a page that speculation rules have prefetched, even if it is no-store. Rules must exclude such pages.
      const isOld = browserName === "Chromium" && way.startsWith("speculation rules");
      await expect.poll(text).toBe(isOld ? "Welcome for Ada" : "nothing for nobody");
      await tab.goto(`${origin}/next`);
      expect(await text()).toBe("nothing for nobody");
    },
  );
});
