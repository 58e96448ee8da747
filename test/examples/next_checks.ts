import assert from "node:assert/strict";
import { type Answer, type Client, client, sessionCookie } from "./client.ts";
import type { Check } from "./walk.ts";

/** Checks of features that only Next.js has: Server Components, Server Actions and `proxy.ts`. */
export const NEXT_CHECKS: readonly Check[] = [
  {
    name: "A Server Component reads, and sets no cookie",
    async run(origin) {
      const page = await client(origin).send("/page");
      assert.match(page.text, /You are nobody/);
      assert.deepEqual(page.cookies, []);
    },
  },
  {
    name: "A Server Action that redirects signs in, and sets the cookie",
    async run(origin) {
      const visitor = client(origin);
      const login = await act(visitor, "login", { user: "Ada" });
      assert.equal(login.status, 303);
      assert.match(sessionCookie(login) ?? "", /^session=[\w-]{32};.*HttpOnly/i);
      assert.match((await visitor.send("/page")).text, /You are Ada/);
      assert.match((await visitor.send("/message")).text, /Message: Welcome, Ada/);
    },
  },
  {
    name: "A Server Action that redirects renews the id of a session that exists",
    async run(origin) {
      const visitor = client(origin);
      await visitor.send("/");
      const before = visitor.cookie() ?? "";
      await act(visitor, "login", { user: "Ada" });
      assert.notEqual(visitor.cookie(), before);
      assert.match((await visitor.send("/")).text, /Visit 2 of Ada/);
      const thief = client(origin);
      thief.use(before);
      assert.match((await thief.send("/me")).text, /You are nobody/);
    },
  },
  {
    name: "A Server Action that redirects signs out: the cookie is expired",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      const stolen = visitor.cookie() ?? "";
      const logout = await act(visitor, "logout");
      assert.equal(logout.status, 303);
      assert.equal(visitor.cookie(), null);
      const thief = client(origin);
      thief.use(stolen);
      assert.match((await thief.send("/me")).text, /You are nobody/);
    },
  },
  {
    name: "A Server Action's update is on the page that it answers",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      await act(visitor, "like");
      assert.match((await act(visitor, "like")).text, /Likes 2/);
      assert.match((await visitor.send("/page")).text, /Likes 2/);
    },
  },
  {
    name: "A Server Action without a session begins one, which is on the page that it answers",
    async run(origin) {
      const visitor = client(origin);
      const answer = await act(visitor, "like");
      assert.match(sessionCookie(answer) ?? "", /^session=[\w-]{32};/);
      assert.match(answer.text, /Likes 1/);
      assert.match((await visitor.send("/page")).text, /Likes 1/);
    },
  },
  {
    name: "notFound() in a Server Action stores the session",
    async run(origin) {
      const visitor = client(origin);
      const answer = await act(visitor, "leave");
      assert.equal(answer.status, 404);
      assert.match((await visitor.send("/me")).text, /You are somebody who left/);
    },
  },
  {
    name: "notFound() in a route gives the browser the new id",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      const before = visitor.cookie();
      assert.equal((await visitor.send("/gone")).status, 404);
      assert.notEqual(visitor.cookie(), before);
      assert.match((await visitor.send("/me")).text, /You are Ada/);
    },
  },
  {
    name: "A Server Action that fails stores nothing",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      assert.equal((await act(visitor, "fail")).status, 500);
      assert.match((await visitor.send("/me")).text, /You are Ada/);
    },
  },
  {
    name: "20 Server Actions at once are all counted",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      await Promise.all(Array.from({ length: 20 }, () => act(visitor, "like")));
      assert.match((await visitor.send("/page")).text, /Likes 20/);
    },
  },
  {
    name: "proxy.ts sends a stranger away, and lets a user in",
    async run(origin) {
      const visitor = client(origin);
      assert.equal((await visitor.send("/members")).status, 307);
      await act(visitor, "login", { user: "Ada" });
      const members = await visitor.send("/members");
      assert.equal(members.status, 200);
      assert.match(members.text, /Members only, Ada/);
    },
  },
  {
    name: "A session that begins in proxy.ts is on the page that it lets through, and its cookie is set",
    async run(origin) {
      const visitor = client(origin);
      const first = await visitor.send("/seen");
      assert.match(first.text, /Seen 1,/);
      assert.match(sessionCookie(first) ?? "", /^session=[\w-]{32};/);
      assert.match((await visitor.send("/seen")).text, /Seen 2,/);
    },
  },
  {
    name: "A session whose id proxy.ts renews is on the page that it lets through, and the old id is over",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      const before = visitor.cookie() ?? "";
      const members = await visitor.send("/members?renew");
      assert.match(members.text, /Members only, Ada/);
      assert.notEqual(visitor.cookie(), before);
      assert.match((await visitor.send("/me")).text, /You are Ada/);
      const thief = client(origin);
      thief.use(before);
      assert.match((await thief.send("/me")).text, /You are nobody/);
    },
  },
  {
    name: "A flash value waits for the page that shows it, whatever proxy.ts reads, and is shown once",
    async run(origin) {
      const visitor = client(origin);
      await act(visitor, "login", { user: "Ada" });
      await visitor.send("/members");
      assert.match((await visitor.send("/seen")).text, /message Welcome, Ada/);
      assert.match((await visitor.send("/seen")).text, /message none/);
    },
  },
];

/** Sends a form of the page as a browser without JavaScript does: as multipart, with the hidden field of the action. */
async function act(visitor: Client, id: string, fields: Readonly<Record<string, string>> = {}): Promise<Answer> {
  const { body: page } = await visitor.send("/page");
  const form = new RegExp(`<form[^>]*id="${id}".*?</form>`, "s").exec(page)?.[0] ?? "";
  const hidden = [...form.matchAll(/<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?/g)];
  assert.ok(hidden.length > 0, `The page has the form ${id}`);
  const boundary = "----with-session";
  const parts = [
    ...hidden.map(([, name = "", value = ""]) => [name, value.replaceAll("&quot;", '"')]),
    ...Object.entries(fields),
  ];
  const body = parts
    .map(([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
    .join("");
  return await visitor.send("/page", {
    method: "POST",
    body: `${body}--${boundary}--\r\n`,
    headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` },
  });
}
