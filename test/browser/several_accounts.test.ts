import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { accounts } from "../../examples/several_accounts.ts";
import { openChromium } from "./chromium.ts";
import { html, serve } from "./serve.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

/** A form page of the program's own site. The example does not contain one. */
const FORMS =
  html(`<form method="post"><input name="user" id="user"><button id="login" formaction="login">Sign in</button>
<button id="logout" formaction="logout">Sign out</button></form>`);

test("examples/several_accounts.ts: two tabs of one browser show two accounts, and a logout in one leaves the other", async () => {
  const handle = accounts(["several accounts, one browser, 32 bytes and more"]);
  const origin = await serve(async (request) =>
    new URL(request.url).pathname.endsWith("/form") ? FORMS.clone() : await handle(request),
  );
  const context = await browser.newContext({ baseURL: origin });
  onTestFinished(() => context.close());
  const tabs = [await context.newPage(), await context.newPage()] as const;
  const shown = async (at: 0 | 1): Promise<string> => {
    await tabs[at].goto(`/u/${at}/`);
    return (await tabs[at].locator("body").innerText()).trim();
  };
  const press = async (at: 0 | 1, button: "login" | "logout", user = ""): Promise<void> => {
    await tabs[at].goto(`/u/${at}/form`);
    await tabs[at].locator("#user").fill(user);
    await tabs[at].locator(`#${button}`).click();
    await tabs[at].waitForURL(`**/u/${at}/`);
  };
  const names = async (): Promise<string[]> => (await context.cookies()).map(({ name }) => name).toSorted();

  await press(0, "login", "ada");
  await press(1, "login", "bob");
  expect([await shown(0), await shown(1)]).toEqual(["Account 0: ada", "Account 1: bob"]);
  // Over http on loopback, cookie names have no prefix.
  expect(await names()).toEqual(["account-0", "account-1"]);
  expect(await (await tabs[0].goto("/"))?.json()).toEqual([
    { account: 0, user: "ada" },
    { account: 1, user: "bob" },
  ]);
  await press(0, "logout");
  expect([await shown(0), await shown(1)]).toEqual(["Account 0: nobody", "Account 1: bob"]);
  expect(await names()).toEqual(["account-1"]);
});
