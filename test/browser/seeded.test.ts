import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type SessionOptions, withSession } from "../../mod.ts";
import { fileStore } from "../../src/stores/file.ts";
import { seedSession } from "../../src/testing.ts";
import { openChromium } from "./chromium.ts";
import { html, serve } from "./serve.ts";

test("a page is signed in with the cookie of seedSession(), as docs/testing.md has it for Playwright", async () => {
  const directory = await mkdtemp(join(tmpdir(), "with-session-seeded-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const options = (): SessionOptions<{ user: string }> => ({ store: fileStore({ directory }) });
  const handler = withSession<{ user: string }>(
    async (_request, session) => html(`<p>Hello ${await session.get("user", "stranger")}`),
    options(),
  );
  const url = `${await serve(handler)}/`;
  const browser = await openChromium();
  onTestFinished(() => browser.close());
  const context = await browser.newContext();
  const page = await context.newPage();
  const greeting = async (): Promise<string> => (await page.goto(url), await page.locator("p").innerText());
  expect(await greeting()).toBe("Hello stranger");

  // The test opens a second store on the same files, as another process would.
  const [name = "", value = ""] = (await seedSession(options(), { user: "ada" }, { url })).split("=", 2);
  await context.addCookies([{ name, value, url }]);
  expect(await greeting()).toBe("Hello ada");
});
