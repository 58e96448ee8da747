/**
 * The walk through an example: what each of them must do, over HTTP. An example has these routes:
 *
 * - `GET /`: counts a visit, and answers `Visit 3 of Ada`, or `of nobody`.
 * - `GET /me`: only reads, and answers `You are Ada`.
 * - `GET /message`: answers `Message: Welcome, Ada`, once after a login; otherwise `Message: none`.
 * - `POST /login` with the field `user`: renews the id, leaves the message, and redirects to `/`.
 * - `POST /logout`: ends the session, and redirects to `/`.
 * - `POST /like`: `update` of a counter, and answers `Likes 3`.
 * - `GET /style.css`: leaves the session alone.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type Answer, type Client, client, sessionCookie } from "./client.ts";

/** One check of the walk. */
export interface Check {
  readonly name: string;
  /** @param isSecure Whether the program believes that each client uses https: an API gateway is in front of it */
  run(origin: string, isSecure: boolean): Promise<void>;
}

export const CHECKS: readonly Check[] = [
  {
    name: "A visitor who leaves the session alone gets no cookie",
    async run(origin) {
      const answer = await client(origin).send("/me");
      assertText(answer, /You are nobody/);
      assert.deepEqual(answer.cookies, []);
    },
  },
  {
    name: "The cookie has its attributes, and no Secure for plain http on loopback",
    async run(origin, isSecure) {
      const line = cookieLine(await client(origin).send("/"));
      assert.match(line, isSecure ? /^__Host-session=[\w-]{32};/ : /^session=[\w-]{32};/);
      assert.deepEqual(attributes(line), [
        "httponly",
        "max-age=86400",
        "path=/",
        "samesite=lax",
        ...(isSecure ? ["secure"] : []),
      ]);
    },
  },
  {
    name: "Visits are counted, and one cookie lasts for all of them",
    async run(origin) {
      const visitor = client(origin);
      assertText(await visitor.send("/"), /Visit 1 of nobody/);
      assertText(await visitor.send("/"), /Visit 2 of nobody/);
      const third = await visitor.send("/");
      assertText(third, /Visit 3 of nobody/);
      assert.equal(sessionCookie(third), undefined);
    },
  },
  {
    name: "A flash message is shown once",
    async run(origin) {
      const visitor = await signedIn(origin);
      assertText(await visitor.send("/message"), /Message: Welcome, Ada/);
      assertText(await visitor.send("/message"), /Message: none/);
    },
  },
  {
    name: "A login that redirects sets a new id, and keeps what was counted",
    async run(origin) {
      const visitor = client(origin);
      await visitor.send("/");
      const before = visitor.cookie();
      const login = await visitor.send("/login", { method: "POST", form: { user: "Ada" } });
      assertRedirect(login);
      assert.notEqual(visitor.cookie(), before);
      assertText(await visitor.send("/"), /Visit 2 of Ada/);
    },
  },
  {
    name: "The id from before the login leads nowhere",
    async run(origin) {
      const visitor = client(origin);
      await visitor.send("/");
      const before = visitor.cookie() ?? "";
      await visitor.send("/login", { method: "POST", form: { user: "Ada" } });
      const thief = client(origin);
      thief.use(before);
      assertText(await thief.send("/me"), /You are nobody/);
      assertText(await visitor.send("/me"), /You are Ada/);
    },
  },
  {
    name: "20 updates at once are all counted",
    async run(origin) {
      const visitor = await signedIn(origin);
      const answers = await Promise.all(Array.from({ length: 20 }, () => visitor.send("/like", { method: "POST" })));
      const counts = answers.map(({ text }) => Number(/Likes (\d+)/.exec(text)?.[1]));
      assert.deepEqual(
        counts.toSorted((one, two) => one - two),
        Array.from({ length: 20 }, (_, at) => at + 1),
      );
      assertText(await visitor.send("/like", { method: "POST" }), /Likes 21\b/);
    },
  },
  {
    name: "A logout expires the cookie, and redirects",
    async run(origin) {
      const visitor = await signedIn(origin);
      const logout = await visitor.send("/logout", { method: "POST" });
      assertRedirect(logout);
      assert.match(cookieLine(logout), /^(?:__Host-)?session=;.*Max-Age=0/i);
      assert.equal(visitor.cookie(), null);
      assertText(await visitor.send("/me"), /You are nobody/);
    },
  },
  {
    name: "The cookie of a session that has ended is refused",
    async run(origin) {
      const visitor = await signedIn(origin);
      const stolen = visitor.cookie() ?? "";
      await visitor.send("/logout", { method: "POST" });
      const thief = client(origin);
      thief.use(stolen);
      assertText(await thief.send("/me"), /You are nobody/);
    },
  },
  {
    name: "A made-up id is refused, and not taken over",
    async run(origin, isSecure) {
      const madeUp = `${isSecure ? "__Host-" : ""}session=${"Ab1_".repeat(8)}`;
      const visitor = client(origin);
      visitor.use(madeUp);
      assertText(await visitor.send("/me"), /You are nobody/);
      visitor.use(madeUp);
      assertText(await visitor.send("/"), /Visit 1 of nobody/);
      assert.notEqual(visitor.cookie(), madeUp);
    },
  },
  {
    name: "Two visitors have a session each",
    async run(origin) {
      const ada = await signedIn(origin);
      const bob = client(origin);
      await bob.send("/login", { method: "POST", form: { user: "Bob" } });
      assertText(await ada.send("/me"), /You are Ada/);
      assertText(await bob.send("/me"), /You are Bob/);
      assert.notEqual(ada.cookie(), bob.cookie());
    },
  },
  {
    name: "Behind a proxy with TLS the cookie is __Host- and Secure",
    async run(origin) {
      const headers = { "Host": "shop.example", "X-Forwarded-Proto": "https" };
      const visitor = client(origin);
      const line = cookieLine(await visitor.send("/", { headers }));
      assert.match(line, /^__Host-session=[\w-]{32};/);
      assert.deepEqual(attributes(line), ["httponly", "max-age=86400", "path=/", "samesite=lax", "secure"]);
      assertText(await visitor.send("/", { headers }), /Visit 2/);
    },
  },
  {
    name: "HEAD is answered without a body, and the session goes on",
    async run(origin) {
      const visitor = await signedIn(origin);
      const head = await visitor.send("/me", { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal(head.text, "");
      assertText(await visitor.send("/me"), /You are Ada/);
    },
  },
  {
    name: "A page that is missing is a 404, and the session goes on",
    async run(origin) {
      const visitor = await signedIn(origin);
      const missing = await visitor.send("/nowhere");
      assert.equal(missing.status, 404);
      assert.equal(sessionCookie(missing), undefined);
      assertText(await visitor.send("/me"), /You are Ada/);
    },
  },
  {
    name: "An asset carries no cookie, and caches may keep it for everybody",
    async run(origin) {
      const visitor = await signedIn(origin);
      const asset = await visitor.send("/style.css");
      assert.equal(asset.status, 200);
      assert.deepEqual(asset.cookies, []);
      assert.doesNotMatch(asset.header("Vary") ?? "", /cookie/i);
      assert.doesNotMatch(asset.header("Cache-Control") ?? "", /private|no-store/);
    },
  },
  {
    name: "No cache keeps a cookie, or a page that depends on one",
    async run(origin) {
      const visitor = client(origin);
      assert.match((await visitor.send("/")).header("Cache-Control") ?? "", /no-store/);
      const read = await visitor.send("/me");
      assert.match(read.header("Cache-Control") ?? "", /private|no-store/);
      assert.match(read.header("Vary") ?? "", /cookie/i);
    },
  },
];

/** A visitor who has just signed in as Ada. */
async function signedIn(origin: string): Promise<Client> {
  const visitor = client(origin);
  assertRedirect(await visitor.send("/login", { method: "POST", form: { user: "Ada" } }));
  return visitor;
}

function assertRedirect(answer: Answer): void {
  assert.ok(
    [302, 303, 307].includes(answer.status),
    `The answer is a redirect, not ${answer.status}: ${answer.text.slice(0, 200)}`,
  );
  assert.match(answer.header("Location") ?? "", /\/$/);
}

function assertText({ status, text }: Answer, expected: RegExp): void {
  assert.ok(
    status === 200 && expected.test(text),
    `Expected ${expected}, got ${status}: ${text.replaceAll(/\s+/g, " ").slice(0, 300)}`,
  );
}

function cookieLine(answer: Answer): string {
  const line = sessionCookie(answer);
  assert.ok(line !== undefined, `The answer sets the cookie: ${answer.status} ${answer.text.slice(0, 200)}`);
  return line;
}

/** The attributes in alphabetical order, without Expires. Some frameworks add it beside Max-Age, with the same meaning. */
function attributes(line: string): string[] {
  return line
    .split(";")
    .slice(1)
    .map((each) => each.trim().toLowerCase())
    .filter((each) => !each.startsWith("expires="))
    .sort();
}
