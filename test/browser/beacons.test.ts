import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, SessionError, withSession } from "../../mod.ts";
import { html, serve } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";

interface Data {
  readonly views: number;
  readonly beacons: number;
  readonly user: string;
}

/** Fewer than the six connections that a browser opens to one host, because the login needs one too. */
const BEACONS = 4;

/** A form whose page sends beacons when it is submitted. The beacons carry the id from before the login. */
const FORM = `
  <form method="post" action="/login"><button>Sign in</button></form>
  <script>
    document.querySelector("form").addEventListener("submit", () => {
      for (let n = 0; n < ${BEACONS}; n++) navigator.sendBeacon("/beacon", String(n));
    });
  </script>`;

/** A site with that form. `beacon` says what its beacons do: at once, or after the login is answered. */
async function openSite(beacon: "write" | "read", isLate: boolean) {
  const loggedIn = Promise.withResolvers<void>();
  const allArrived = Promise.withResolvers<void>();
  let arrived = 0;
  const codes: string[] = [];
  const handler = withSession<Data>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true });
        session.set("user", "Ada");
        return new Response(null, { status: 303, headers: { Location: "/" } });
      }
      if (pathname === "/who") return Response.json(await session.get("user", null));
      if (pathname === "/beacon") {
        if (++arrived === BEACONS) allArrived.resolve();
        if (isLate) await loggedIn.promise;
        const call = beacon === "read" ? session.get("views") : session.update("beacons", (n = 0) => n + 1);
        codes.push(await call.then(() => "done", codeOf));
        return new Response(null, { status: 204 });
      }
      await session.update("views", (n = 0) => n + 1);
      return html(`${await session.get("user", "nobody")} ${FORM}`);
    },
    { store: memoryStore() },
  );
  const origin = await serve(async (request) => {
    const response = await handler(request);
    if (new URL(request.url).pathname === "/login") {
      // The login waits for all beacons. Otherwise a busy browser could send some after it has received the new id.
      if (isLate) await allArrived.promise;
      loggedIn.resolve();
    }
    return response;
  });
  return { origin, codes };
}

function codeOf(error: unknown): string {
  return error instanceof SessionError ? error.code : String(error);
}

describe.each(eachBrowser)("%s", (_name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  async function logIn(origin: string): Promise<void> {
    const { tab } = browser;
    await tab.goto(origin);
    await tab.evaluate(`void document.querySelector("button").click()`);
    await expect.poll(() => tab.evaluate("document.body.innerText").catch(() => "")).toContain("Ada");
  }

  test.each([
    ["write", "ERR_SESSION_GONE"],
    ["read", "done"],
  ] as const)("a login stays when beacons from before it arrive after it and %s", async (beacon, code) => {
    const { origin, codes } = await openSite(beacon, true);
    await logIn(origin);
    await expect.poll(() => codes).toEqual(Array(BEACONS).fill(code));
    expect(await browser.tab.evaluate(`fetch("/who").then((response) => response.json())`)).toBe("Ada");
  });

  test("a login stays when beacons from before it race with it", async () => {
    for (let turn = 0; turn < 3; turn++) {
      const { origin, codes } = await openSite("write", false);
      await logIn(origin);
      await expect.poll(() => codes.length).toBe(BEACONS);
      expect(codes.filter((code) => code !== "done" && code !== "ERR_SESSION_GONE")).toEqual([]);
      expect(await browser.tab.evaluate(`fetch("/who").then((response) => response.json())`)).toBe("Ada");
    }
  });
});
