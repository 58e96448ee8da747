import { describe, expect, test } from "vitest";
import { accounts } from "../../examples/several_accounts.ts";
import { cookieJar } from "../../src/testing.ts";

const MAIL = "https://mail.example";
const SECRETS = ["several accounts, one browser, 32 bytes and more"];

function open() {
  const fetch = accounts(SECRETS);
  const jar = cookieJar();
  const send = (path: string, form?: Record<string, string>) =>
    jar.fetch(
      fetch,
      MAIL + path,
      form && { method: "POST", headers: { "Sec-Fetch-Site": "same-origin" }, body: new URLSearchParams(form) },
    );
  return { fetch, jar, send, text: async (path: string) => await (await send(path)).text() };
}

describe("examples/several_accounts.ts", () => {
  test("two accounts are signed in side by side, each with a cookie of its own", async () => {
    const { jar, send, text } = open();
    await send("/u/0/login", { user: "ada" });
    await send("/u/1/login", { user: "bob" });
    expect(jar.cookies().map(({ name }) => name)).toEqual(["__Host-account-0", "__Host-account-1"]);
    expect([await text("/u/0/"), await text("/u/1/"), await text("/u/2/")]).toEqual([
      "Account 0: ada\n",
      "Account 1: bob\n",
      "Account 2: nobody\n",
    ]);
    const list = await send("/");
    expect(await list.json()).toEqual([
      { account: 0, user: "ada" },
      { account: 1, user: "bob" },
    ]);
    expect([list.headers.get("Vary"), list.headers.get("Cache-Control")]).toEqual(["Cookie", "private"]);
  });

  test("a form of another site signs nobody in, and one of an old browser's own page does", async () => {
    const { fetch } = open();
    const post = async (headers: Record<string, string>): Promise<number> =>
      (
        await fetch(
          new Request(`${MAIL}/u/0/login`, { method: "POST", headers, body: new URLSearchParams({ user: "eve" }) }),
        )
      ).status;
    expect(await post({ "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example" })).toBe(403);
    expect(await post({ Origin: "https://evil.example" })).toBe(403);
    expect(await post({ Origin: MAIL })).toBe(303);
  });

  test("a logout of one account leaves the others", async () => {
    const { jar, send, text } = open();
    await send("/u/0/login", { user: "ada" });
    await send("/u/1/login", { user: "bob" });
    await send("/u/0/logout", {});
    expect(jar.cookies().map(({ name }) => name)).toEqual(["__Host-account-1"]);
    expect([await text("/u/0/"), await text("/u/1/")]).toEqual(["Account 0: nobody\n", "Account 1: bob\n"]);
  });

  test("an id that is copied into another account's cookie opens nothing", async () => {
    const { fetch, jar, send } = open();
    await send("/u/0/login", { user: "ada" });
    const id = jar.cookies()[0]?.value;
    const ask = async (account: number): Promise<string> =>
      await (
        await fetch(new Request(`${MAIL}/u/${account}/`, { headers: { Cookie: `__Host-account-${account}=${id}` } }))
      ).text();
    expect(await ask(0)).toBe("Account 0: ada\n");
    expect(await ask(1)).toBe("Account 1: nobody\n");
  });

  test("an account beyond the last one is not found", async () => {
    const { send } = open();
    expect((await send("/u/4/")).status).toBe(404);
    expect((await send("/u/x/")).status).toBe(404);
  });
});
