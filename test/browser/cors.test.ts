import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { api } from "../../examples/cors.ts";
import { html, newHost } from "./serve.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

describe.each(eachBrowser)("%s", (name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  /** A page of one site, with the API on another site. */
  async function openPage(isListed: boolean) {
    const origin = `https://${newHost()}:${await serveTls(async () => html(""))}`;
    const handle = api(isListed ? [origin] : ["https://app.example"]);
    const cookies: (string | null)[] = [];
    const port = await serveTls(async (request) => {
      cookies.push(request.headers.get("Cookie"));
      return await handle(request);
    });
    await browser.tab.goto(origin);
    const url = `https://${newHost()}:${port}/`;
    const call = (init: object): Promise<unknown> =>
      browser.tab.evaluate(
        `fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(async (response) =>
          ({ ...await response.json(), id: response.headers.get("X-Session-Id") }), (error) => error.name)`,
      );
    return { call, cookies };
  }

  test("api() keeps a session in a cookie when a page of another site sends credentials", async () => {
    const { call, cookies } = await openPage(true);
    expect(await call({ method: "POST", credentials: "include" })).toEqual({ likes: 1, id: null });
    // WebKitGTK keeps no cookies of a site other than the page's, so each call starts a new session there.
    const isKept = name !== "WebKitGTK";
    expect(await call({ method: "POST", credentials: "include" })).toEqual({ likes: isKept ? 2 : 1, id: null });
    expect(cookies).toEqual([null, isKept ? expect.stringMatching(/^__Host-session=[\w-]{32}$/) : null]);
    expect(await call({ credentials: "omit" })).toEqual({ likes: 0, id: null });
  });

  test("api() lets the page read the id when it asks for one in the header", async () => {
    const { call, cookies } = await openPage(true);
    const send = (id: string): Promise<unknown> =>
      call({ method: "POST", credentials: "omit", headers: { "X-Session-Id": id } });
    const first = await send("");
    expect(first).toEqual({ likes: 1, id: expect.stringMatching(/^[\w-]{22,}$/) });
    const id = typeof first === "object" && first !== null && "id" in first ? String(first.id) : "";
    expect(await send(id)).toMatchObject({ likes: 2 });
    expect(cookies.every((cookie) => cookie === null)).toBe(true);
  });

  test("api() answers nothing that a page can read, and sets no cookie, when its origin is not listed", async () => {
    const { call, cookies } = await openPage(false);
    expect(await call({ method: "POST", credentials: "include" })).toBe("TypeError");
    expect(await call({ method: "POST", credentials: "include" })).toBe("TypeError");
    expect(cookies).toEqual([null, null]);
  });
});
