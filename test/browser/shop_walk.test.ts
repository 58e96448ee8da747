import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shop } from "../../examples/shop/shop.ts";
import { memoryStore } from "../../mod.ts";
import { newHost, serve } from "./serve.ts";
import { BROKEN_WORDS, UNSOUND } from "./shop_page.ts";
import { eachBrowser, type OpenBrowser } from "./tabs.ts";

const JSON_BODY = { "Content-Type": "application/json" };

/** More elements than any part of the shop has. */
const MAX_TABS = 40;

describe.each(eachBrowser)("%s", (_name, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const ask = (expression: string): Promise<unknown> => browser.tab.evaluate(expression).catch(() => undefined);
  const notice = (): Promise<unknown> => ask(`document.querySelector("#notice").innerText.trim()`);
  const title = (): Promise<unknown> => ask(`document.querySelector("h1").innerText.trim()`);
  const focused = (): Promise<unknown> => ask(`document.activeElement.id || document.activeElement.textContent.trim()`);

  /** The page is there before its stylesheet. */
  async function expectSound(): Promise<void> {
    await expect.poll(() => ask(UNSOUND)).toEqual([]);
  }

  /** Moves the focus to an element, forward, with the Tab key alone. */
  async function tabTo(what: string): Promise<void> {
    for (let tabs = 0; tabs < MAX_TABS; tabs++) {
      await browser.tab.press("Tab");
      if ((await focused()) === what) return;
    }
    throw new Error(`The Tab key does not reach ${what}`);
  }

  async function type(text: string): Promise<void> {
    await expect.poll(focused).toBe("user");
    await browser.tab.evaluate(`void (document.activeElement.value = ${JSON.stringify(text)})`);
  }

  /** Another device of a user, without a browser. */
  async function openDevice(handle: (request: Request) => Promise<Response>, user: string) {
    const post = (path: string, id: string, body: object = {}): Promise<Response> =>
      handle(
        new Request(`http://localhost${path}`, {
          method: "POST",
          headers: { ...JSON_BODY, "X-Session-Id": id, "User-Agent": "curl/8" },
          body: JSON.stringify(body),
        }),
      );
    const id = (await post("/api/login", "", { user })).headers.get("X-Session-Id") ?? "";
    return { endOthers: () => post("/api/devices/end-others", id) };
  }

  test("the shop is walked through by keyboard alone: basket, login, account, another account, a new id, the end", async () => {
    const { tab } = browser;
    let time = Date.now();
    const handle = shop({ store: memoryStore(), now: () => time });
    const origin = await serve(handle, newHost());
    await tab.resize(1280, 900);
    await tab.goto(`${origin}/`);
    await expectSound();

    await tabTo("add-pear");
    await tab.press("Enter");
    await expect.poll(notice).toBe("Added to your basket: Pear.");
    await expect.poll(focused).toBe("add-pear");

    await tabTo("user");
    await type("Ada");
    await tab.press("Enter");
    await expect.poll(notice).toBe("Welcome, Ada. Your basket came with you.");
    await expectSound();

    time += 300_000;
    await tabTo("Your account");
    await tab.press("Enter");
    await expect.poll(title).toBe("Is it you?");
    await tabTo("user");
    await type("Eve");
    await tab.press("Enter");
    await expect
      .poll(() => ask(`document.querySelector("#user-error")?.innerText`))
      .toBe("That is not the name that you signed in with.");
    // The field has the focus, the title announces an error, and the field's description names it.
    await expect.poll(focused).toBe("user");
    expect(await ask(`[document.title, document.activeElement.getAttribute("aria-describedby")]`)).toEqual([
      "Error: Is it you? · The Orchard",
      "user-error",
    ]);
    await type("Ada");
    await tab.press("Enter");
    await expect.poll(title).toBe("Your account");
    await tabTo("Back to the shop");
    await tab.press("Enter");
    await expect.poll(title).toBe("The Orchard");

    const [before] = await tab.cookies();
    await tabTo("Renew the id");
    await tab.press("Enter");
    await expect.poll(notice).toBe("Your session has a new id. Everything in it is as before.");
    const [after] = await tab.cookies();
    expect([after?.name, after?.value === before?.value]).toEqual(["session", false]);
    expect(await ask(`document.querySelector("[data-count]").innerText`)).toBe("1");

    await tab.goto(`${origin}/`);
    await tabTo("Use another account");
    await tab.press("Enter");
    await expect.poll(() => ask(`document.querySelector("details").open`)).toBe(true);
    await expectSound();
    await tabTo("user");
    await type("Eve");
    await tab.press("Enter");
    await expect.poll(notice).toBe("Welcome, Eve. Ada is signed out here, and that basket is gone.");
    expect(await ask(`document.querySelector("[data-count]").innerText`)).toBe("0");

    const device = await openDevice(handle, "Eve");
    await tab.goto(`${origin}/`);
    expect(await ask(`document.querySelectorAll("#devices li").length`)).toBe(2);
    await expectSound();
    await device.endOthers();
    await tab.goto(`${origin}/`);
    expect(await notice()).toBe("This browser was signed out from another device, and its basket is gone.");
  });

  test("twenty requests at once are all counted", async () => {
    const { tab } = browser;
    await tab.goto(`${await serve(shop({ store: memoryStore() }), newHost())}/`);
    await tab.evaluate(`void document.querySelector("#fire").focus()`);
    await tab.press("Enter");
    await expect
      .poll(() => ask(`document.querySelector("#outcome").innerText`))
      .toMatch(/^20 of 20 are in the basket: none was lost/);
    await expect.poll(() => ask(`document.querySelector("[data-count]").innerText`)).toBe("20");
    await expect.poll(focused).toBe("fire");
  });

  // WebKitGTK's window cannot be narrower than its tool bar, which is less than 500 pixels wide.
  test.each([320, 1280])(
    "the shop fits, and breaks no word of a button, on a screen of %i pixels or as near as can be",
    async (width) => {
      const { tab } = browser;
      const handle = shop({ store: memoryStore() });
      const origin = await serve(handle, newHost());
      await tab.resize(width, 900);
      await tab.goto(`${origin}/`);
      await tab.evaluate(
        `fetch("/api/login", { method: "POST", headers: ${JSON.stringify(JSON_BODY)}, body: '{ "user": "Ada" }' }).then(({ status }) => status)`,
      );
      for (let device = 0; device < 4; device++) await openDevice(handle, "Ada");
      await tab.goto(`${origin}/`);
      expect(await ask(`document.querySelectorAll("#devices li").length`)).toBe(5);
      const inner = Number(await ask("innerWidth"));
      expect(width === 320 ? inner < 500 : inner > 900).toBe(true);
      expect(await ask("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
      expect(await ask(BROKEN_WORDS)).toEqual([]);
      await expectSound();
      // The check finds a fault if there is one.
      await tab.evaluate(`void document.querySelectorAll("#devices .unseen").forEach((each) => each.remove())`);
      expect(await ask(UNSOUND)).toContain("two buttons are called End");
    },
  );
});
