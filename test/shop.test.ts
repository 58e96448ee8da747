import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { deviceName, withDistinctNames } from "../examples/shop/device_name.ts";
import { shop } from "../examples/shop/shop.ts";
import { memoryStore } from "../mod.ts";
import { openShop } from "./shop_process.ts";

type Fetch = (request: Request) => Promise<Response>;
type Visit = (path: string, init?: RequestInit) => Promise<Response>;

/** A client that keeps its session cookie, as a browser does. */
function visitor(fetch: Fetch, base: string = "http://localhost"): Visit {
  let cookie: string | null = null;
  return async (path, init = {}) => {
    const headers = new Headers(init.headers);
    if (cookie !== null) headers.set("Cookie", cookie);
    const response = await fetch(new Request(base + path, { redirect: "manual", ...init, headers }));
    for (const line of response.headers.getSetCookie())
      cookie = /Max-Age=0/.test(line) ? null : (line.split(";")[0] ?? null);
    return response;
  };
}

function newcomer(): Visit {
  return visitor(shop({ store: memoryStore() }));
}

function asJson(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

function asForm(fields: Record<string, string>): RequestInit {
  return { method: "POST", body: new URLSearchParams(fields) };
}

async function bodyOf(response: Response | Promise<Response>): Promise<unknown> {
  return (await response).json();
}

describe("shop() as JSON", () => {
  test("shop() tells of no session, and starts none, when nothing was put in", async () => {
    const visit = newcomer();
    const session = await visit("/api/session");
    expect(await session.json()).toEqual({
      user: null,
      isNew: true,
      createdAt: null,
      expiresAt: null,
      authenticatedAt: null,
      ended: null,
      via: null,
    });
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: {}, count: 0 });
    expect((await visit("/")).headers.getSetCookie()).toEqual([]);
  });

  test("shop() keeps a basket when nobody has signed in", async () => {
    const visit = newcomer();
    const first = await visit("/api/basket", asJson({ product: "Pear" }));
    expect(first.status).toBe(200);
    expect(first.headers.getSetCookie()[0]).toMatch(
      /^session=[\w-]{22,}; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    await visit("/api/basket", asJson({ product: "Plum", quantity: 3 }));
    expect(await bodyOf(visit("/api/basket", asJson({ product: "Pear", quantity: 2 })))).toEqual({
      items: { Pear: 3, Plum: 3 },
      count: 6,
    });
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Pear: 3, Plum: 3 }, count: 6 });
  });

  test("shop() empties the basket when it is deleted", async () => {
    const visit = newcomer();
    await visit("/api/basket", asJson({ product: "Pear" }));
    expect(await bodyOf(visit("/api/basket", { method: "DELETE" }))).toEqual({ items: {}, count: 0 });
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: {}, count: 0 });
  });

  test("shop() keeps the basket and changes the id when the visitor signs in", async () => {
    const visit = newcomer();
    const before = (await visit("/api/basket", asJson({ product: "Pear" }))).headers.getSetCookie()[0];
    const login = await visit("/api/login", asJson({ user: "Ada" }));
    expect(await login.json()).toEqual({ user: "Ada" });
    expect(login.headers.getSetCookie()).toHaveLength(1);
    expect(login.headers.getSetCookie()[0]).not.toBe(before);
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Pear: 1 }, count: 1 });
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: "Ada", isNew: false, via: "cookie" });
  });

  test("shop() forgets the user and the basket, for the old cookie too, when the visitor signs out", async () => {
    const handle = shop({ store: memoryStore() });
    const visit = visitor(handle);
    await visit("/api/basket", asJson({ product: "Pear" }));
    const cookie = (await visit("/api/login", asJson({ user: "Ada" }))).headers.getSetCookie()[0]?.split(";")[0] ?? "";
    const old = (): Promise<Response> =>
      handle(new Request("http://localhost/api/session", { headers: { Cookie: cookie } }));
    expect(await bodyOf(old())).toMatchObject({ user: "Ada" });
    const logout = await visit("/api/logout", { method: "POST" });
    expect(await logout.json()).toEqual({ user: null });
    expect(logout.headers.getSetCookie()[0]).toMatch(/^session=; Max-Age=0/);
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: {}, count: 0 });
    expect(await bodyOf(old())).toMatchObject({ user: null, isNew: true });
  });

  test("shop() shows a user's devices, and signs out one or all others, when the user asks for it", async () => {
    const handle = shop({ store: memoryStore() });
    const signedIn = async (user: string, agent: string): Promise<Visit> => {
      const visit = visitor(handle);
      await visit("/api/login", asJson({ user }, { "User-Agent": agent }));
      return visit;
    };
    const phone = await signedIn("Ada", "Mozilla/5.0 (Android 15; Mobile; rv:153.0) Gecko/153.0 Firefox/153.0");
    const laptop = await signedIn(
      "Ada",
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) AppleWebKit/605 Version/26 Safari/605",
    );
    const tablet = await signedIn("Ada", "curl/8");
    const eve = await signedIn("Eve", "curl/8");
    const devices = async (visit: Visit): Promise<{ handle: string; name: string; isThis: boolean }[]> =>
      JSON.parse(await (await visit("/api/devices")).text());
    const own = (await devices(phone)).find(({ isThis }) => isThis);
    expect(own?.name).toBe("Firefox on Android");
    expect((await devices(phone)).map(({ name }) => name).toSorted()).toEqual([
      "Another browser",
      "Firefox on Android",
      "Safari on macOS",
    ]);
    // Another user cannot use the handle.
    expect((await eve("/api/devices/end", asJson({ handle: own?.handle }))).status).toBe(404);
    expect((await phone("/api/devices/end", asJson({ handle: 1 }))).status).toBe(400);
    const other = (await devices(phone)).find(({ name }) => name === "Safari on macOS");
    expect(await bodyOf(phone("/api/devices/end", asJson({ handle: other?.handle })))).toMatchObject({
      handle: other?.handle,
    });
    expect(await bodyOf(laptop("/api/session"))).toMatchObject({ user: null });
    expect(await bodyOf(phone("/api/devices/end-others", { method: "POST" }))).toEqual({ ended: 1 });
    expect(await bodyOf(tablet("/api/session"))).toMatchObject({ user: null });
    expect(await devices(phone)).toHaveLength(1);
    expect(await devices(eve)).toHaveLength(1);
    const last = await phone("/api/devices/end", asJson({ handle: own?.handle }));
    expect(last.headers.getSetCookie()[0]).toMatch(/Max-Age=0/);
    expect(await devices(phone)).toEqual([]);
    expect((await phone("/api/devices/end-others", { method: "POST" })).status).toBe(403);
  });

  test("shop() tells when the session began and when it ends when there is one", async () => {
    let time = Date.UTC(2030, 0, 1);
    const visit = visitor(shop({ store: memoryStore(), now: () => time }));
    await visit("/api/basket", asJson({ product: "Pear" }));
    expect(await bodyOf(visit("/api/session"))).toEqual({
      user: null,
      isNew: false,
      createdAt: time,
      expiresAt: time + 86_400_000,
      authenticatedAt: null,
      ended: null,
      via: "cookie",
    });
    time += 86_400_000;
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: {}, count: 0 });
  });

  test("shop() gives the id in the header, and no cookie, when an empty header asks for it", async () => {
    const handle = shop({ store: memoryStore() });
    const send = (path: string, id: string, init: RequestInit = {}): Promise<Response> => {
      const headers = new Headers(init.headers);
      headers.set("X-Session-Id", id);
      return handle(new Request(`http://localhost${path}`, { ...init, headers }));
    };
    const first = await send("/api/basket", "", asJson({ product: "Pear" }));
    const id = first.headers.get("X-Session-Id") ?? "";
    expect(id).toMatch(/^[\w-]{22,}$/);
    expect(first.headers.getSetCookie()).toEqual([]);
    expect(await bodyOf(send("/api/basket", id))).toEqual({ items: { Pear: 1 }, count: 1 });
    expect(await bodyOf(send("/api/session", id))).toMatchObject({ isNew: false, via: "header" });
    const login = await send("/api/login", id, asJson({ user: "Ada" }));
    const renewed = login.headers.get("X-Session-Id") ?? "";
    expect(renewed).not.toBe(id);
    expect(await bodyOf(send("/api/session", renewed))).toMatchObject({ user: "Ada", via: "header" });
    expect(await bodyOf(send("/api/session", id))).toMatchObject({ user: null, via: null });
  });

  test("shop() begins a session when it is asked for one", async () => {
    const visit = newcomer();
    expect((await visit("/api/session", { method: "POST" })).headers.getSetCookie()).toHaveLength(1);
    expect((await visit("/api/session", { method: "POST" })).headers.getSetCookie()).toEqual([]);
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ isNew: false, via: "cookie" });
  });

  test("shop() counts every one when twenty requests put into one basket at once", async () => {
    const visit = newcomer();
    await visit("/api/basket", asJson({ product: "Pear" }));
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => visit("/api/basket", asJson({ product: "Cherries" }))),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Pear: 1, Cherries: 20 }, count: 21 });
  });
});

describe("shop() and what it does not take", () => {
  const raw = (body: string | Uint8Array<ArrayBuffer>): RequestInit => ({
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });

  test.for<[string, RequestInit, number]>([
    ["JSON that is none", raw("{"), 400],
    ["an empty body", raw(""), 400],
    ["a list", raw("[]"), 400],
    ["null", raw("null"), 400],
    ["bytes that are no UTF-8", raw(new Uint8Array([0x22, 0xff, 0x22])), 400],
    ["no product", asJson({}), 400],
    ["an empty product", asJson({ product: "  " }), 400],
    ["a product that is no text", asJson({ product: { toString: "Pear" } }), 400],
    ["a product with a line break", asJson({ product: "Pear\nPlum" }), 400],
    ["a product that is too long", asJson({ product: "p".repeat(61) }), 400],
    ["no quantity at all", asJson({ product: "Pear", quantity: 0 }), 400],
    ["a negative quantity", asJson({ product: "Pear", quantity: -1 }), 400],
    ["half a pear", asJson({ product: "Pear", quantity: 0.5 }), 400],
    ["too many at once", asJson({ product: "Pear", quantity: 100 }), 400],
    ["a quantity in words", asJson({ product: "Pear", quantity: "2" }), 400],
    ["a body that is too long", asJson({ product: "Pear", more: "x".repeat(20_000) }), 413],
    ["a text", { method: "POST", headers: { "Content-Type": "text/plain" }, body: '{"product":"Pear"}' }, 415],
    ["a form", asForm({ product: "Pear" }), 415],
  ])("shop() leaves the basket as it was when it is sent %s", async ([, init, status]) => {
    const visit = newcomer();
    await visit("/api/basket", asJson({ product: "Plum", quantity: 2 }));
    const refused = await visit("/api/basket", init);
    expect(refused.status).toBe(status);
    expect(await refused.json()).toEqual({ error: expect.any(String) });
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Plum: 2 }, count: 2 });
  });

  test("shop() takes any product name when it is a name that objects know", async () => {
    const visit = newcomer();
    for (const product of ["__proto__", "constructor", "toString"]) await visit("/api/basket", asJson({ product }));
    expect(await (await visit("/api/basket")).text()).toBe(
      '{"items":{"__proto__":1,"constructor":1,"toString":1},"count":3}',
    );
  });

  test("shop() takes no more kinds of products when there are a hundred", async () => {
    const visit = newcomer();
    for (let n = 0; n < 100; n++) await visit("/api/basket", asJson({ product: `Pear ${n}` }));
    expect((await visit("/api/basket", asJson({ product: "One more" }))).status).toBe(400);
    expect((await visit("/api/basket", asJson({ product: "Pear 7" }))).status).toBe(200);
    expect(await bodyOf(visit("/api/basket"))).toMatchObject({ count: 101 });
  });

  test.for<[string, unknown]>([
    ["nobody", {}],
    ["an empty name", { user: "" }],
    ["a number", { user: 7 }],
  ])("shop() signs nobody in when it is sent %s", async ([, body]) => {
    const visit = newcomer();
    const refused = await visit("/api/login", asJson(body));
    expect(refused.status).toBe(400);
    expect(refused.headers.getSetCookie()).toEqual([]);
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: null });
  });

  test.for<[string, Record<string, string>]>([
    ["another site", { "Sec-Fetch-Site": "cross-site" }],
    ["another host of this site", { "Sec-Fetch-Site": "same-site" }],
    ["another origin", { Origin: "https://evil.example" }],
    ["another port", { Origin: "http://localhost:3000" }],
    ["an origin that does not tell", { Origin: "null" }],
  ])("shop() refuses every post when it comes from %s", async ([, headers]) => {
    const visit = newcomer();
    await visit("/api/basket", asJson({ product: "Plum" }));
    for (const path of ["/api/basket", "/api/login"]) {
      expect((await visit(path, asJson({ product: "Pear", user: "Eve" }, headers))).status).toBe(403);
    }
    for (const path of ["/basket", "/basket/empty", "/login", "/logout"]) {
      expect((await visit(path, { ...asForm({ product: "Pear", user: "Eve" }), headers })).status).toBe(403);
    }
    expect((await visit("/api/basket", { method: "DELETE", headers })).status).toBe(403);
    expect((await visit("/api/logout", { method: "POST", headers })).status).toBe(403);
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Plum: 1 }, count: 1 });
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: null });
  });

  test.for<[string, Record<string, string>]>([
    ["its own page", { "Sec-Fetch-Site": "same-origin", "Origin": "http://localhost" }],
    ["its own page in an older browser", { Origin: "http://localhost" }],
    ["the address bar", { "Sec-Fetch-Site": "none" }],
  ])("shop() takes a post when it comes from %s", async ([, headers]) => {
    expect((await newcomer()("/api/basket", asJson({ product: "Pear" }, headers))).status).toBe(200);
  });

  test("shop() answers 404 when there is nothing at an address, and 405 when a method is not for it", async () => {
    const visit = newcomer();
    expect((await visit("/nowhere")).status).toBe(404);
    expect(await bodyOf(visit("/api/nowhere"))).toEqual({ error: expect.any(String) });
    const wrong = await visit("/api/basket", { method: "PUT" });
    expect(wrong.status).toBe(405);
    expect(wrong.headers.get("Allow")).toBe("GET, HEAD, POST, DELETE");
    expect((await visit("/login")).headers.get("Allow")).toBe("POST");
    expect((await visit("/", { method: "HEAD" })).status).toBe(200);
  });
});

describe("shop() as a page", () => {
  test("shop() shows a message once when a form was sent", async () => {
    const visit = newcomer();
    const answer = await visit("/basket", asForm({ product: "Pear" }));
    expect([answer.status, answer.headers.get("Location")]).toEqual([303, "/#add-pear"]);
    expect(await (await visit("/")).text()).toContain("Added to your basket: Pear.");
    expect(await (await visit("/")).text()).not.toContain("Added to your basket");
    await visit("/login", asForm({ user: "Ada" }));
    expect(await (await visit("/")).text()).toContain("Welcome, Ada.");
    await visit("/basket/empty", { method: "POST" });
    expect(await (await visit("/")).text()).toContain("Your basket is empty again.");
    await visit("/logout", { method: "POST" });
    const farewell = await (await visit("/")).text();
    expect(farewell).toContain("Goodbye, Ada.");
    expect(farewell).toContain('name="user"');
    expect(await (await visit("/")).text()).not.toContain("Ada");
  });

  test("shop() shows names as they are when they look like markup", async () => {
    const visit = newcomer();
    const name = `<script>"&'`;
    await visit("/login", asForm({ user: name }));
    await visit("/basket", asForm({ product: name }));
    const page = await (await visit("/")).text();
    expect(page).not.toContain(name);
    expect(page).toContain("&#60;script&#62;&#34;&#38;&#39;");
  });

  test("shop() refuses a form with a page when a field is bad", async () => {
    const refused = await newcomer()("/basket", asForm({ product: " " }));
    expect(refused.status).toBe(400);
    expect(await refused.text()).toContain("product must have 1 to 60 characters");
  });

  test("shop() says by the field what is wrong with a name, in the words of its label", async () => {
    const visit = newcomer();
    await visit("/basket", asForm({ product: "Pear" }));
    const refused = await visit("/login", asForm({ user: " " }));
    expect(refused.status).toBe(400);
    const page = await refused.text();
    expect(page).toContain("Your name must have 1 to 60 characters, and not spaces alone.");
    expect(page).toMatch(/aria-invalid="true" aria-describedby="user-error"/);
    // The page is still the shop.
    expect(page).toMatch(/<li><span>Pear<\/span> <b>1<\/b><\/li>/);
  });

  test("shop() lets nothing be stored, and no inline code run, when it answers with a page", async () => {
    const { headers } = await newcomer()("/");
    expect(headers.get("Cache-Control")).toBe("no-store");
    expect(headers.get("Content-Security-Policy")).toMatch(/^default-src 'none';/);
    expect(headers.get("Content-Security-Policy")).not.toContain("unsafe");
  });

  test("shop() serves its script, style and icon without a session when a page asks for them", async () => {
    const visit = newcomer();
    await visit("/api/basket", asJson({ product: "Pear" }));
    for (const [path, type] of [
      ["/shop.js", "text/javascript"],
      ["/shop.css", "text/css"],
      ["/favicon.ico", "image/svg+xml"],
    ]) {
      const { status, headers } = await visit(path ?? "");
      expect([status, headers.get("Content-Type"), headers.get("Vary")]).toEqual([200, `${type}; charset=utf-8`, null]);
    }
  });
});

/** The message at the top of the shop's page. */
async function noticeOf(visit: Visit): Promise<string> {
  return /role="status">\s*(?:<p>(.*?)<\/p>)?\s*<\/div>/s.exec(await (await visit("/")).text())?.[1] ?? "";
}

describe("shop() and a session that has ended", () => {
  const revoked = "This browser was signed out from another device, and its basket is gone.";

  /** Two browsers of one user. The second one has just signed out all others. */
  async function signedOutElsewhere(): Promise<Visit> {
    const handle = shop({ store: memoryStore() });
    const [phone, laptop] = [visitor(handle), visitor(handle)];
    for (const visit of [phone, laptop]) await visit("/login", asForm({ user: "Ada" }));
    await laptop("/devices/end-others", { method: "POST" });
    return phone;
  }

  test("shop() says once that another device has ended the session", async () => {
    const visit = await signedOutElsewhere();
    expect(await noticeOf(visit)).toBe(revoked);
    expect(await noticeOf(visit)).toBe("");
  });

  test("shop() tells it as JSON", async () => {
    const visit = await signedOutElsewhere();
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: null, ended: "revoked" });
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: null, ended: null });
  });

  test.for<[string, string, Record<string, string>, string]>([
    ["fills a basket", "/basket", { product: "Pear" }, "Added to your basket: Pear."],
    ["signs out", "/logout", {}, "You are signed out."],
    ["ends a device", "/devices/end", { handle: "x" }, "Sign in to see your devices."],
    ["ends all other devices", "/devices/end-others", {}, "Sign in to see your devices."],
    ["confirms who it is", "/account/confirm", { user: "Ada" }, "Sign in to see your account."],
  ])("shop() says it also if the next thing that its user does: %s", async ([, path, fields, message]) => {
    const visit = await signedOutElsewhere();
    expect((await visit(path, asForm(fields))).status).toBe(303);
    expect(await noticeOf(visit)).toBe(`${revoked} ${message}`);
  });

  test("shop() says that a session has expired, or is not known any more", async () => {
    let time = Date.UTC(2030, 0, 1);
    const handle = shop({ store: memoryStore(), now: () => time });
    const visit = visitor(handle);
    await visit("/basket", asForm({ product: "Pear" }));
    time += 86_400_000;
    expect(await noticeOf(visit)).toBe("Your session has expired, because nobody used it for too long.");
    const stranger: Visit = (path) =>
      handle(new Request(`http://localhost${path}`, { headers: { Cookie: `session=${"A".repeat(32)}` } }));
    expect(await noticeOf(stranger)).toBe("The shop does not know your session any more.");
  });

  test("shop() begins no second session for a request that carries the id from before the login", async () => {
    const handle = shop({ store: memoryStore() });
    const visit = visitor(handle);
    const [cookie = ""] = (await visit("/basket", asForm({ product: "Pear" }))).headers.getSetCookie()[0]!.split(";");
    await visit("/login", asForm({ user: "Ada" }));
    const late = (path: string, init: RequestInit = {}): Promise<Response> =>
      handle(new Request(`http://localhost${path}`, { ...init, headers: { Cookie: cookie, ...init.headers } }));
    const refused = await late("/basket", asForm({ product: "Plum" }));
    expect([refused.status, refused.headers.getSetCookie()]).toEqual([409, []]);
    expect((await late("/api/basket", asJson({ product: "Plum" }))).status).toBe(409);
    expect(await noticeOf(late)).toBe("Your session has a new id since you signed in. Please load this page again.");
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Pear: 1 }, count: 1 });
  });
});

describe("shop() and another account", () => {
  test.each([
    ["a form", "/login", asForm],
    ["JSON", "/api/login", asJson],
  ] as const)(
    "shop() ends the session of the user before, and starts another one, by %s",
    async (_way, path, fields) => {
      const handle = shop({ store: memoryStore() });
      const visit = visitor(handle);
      await visit("/basket", asForm({ product: "Pear" }));
      const [old = ""] = (await visit("/login", asForm({ user: "Ada" }))).headers.getSetCookie()[0]!.split(";");
      await visit(path, fields({ user: "Eve" }));
      expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: "Eve", isNew: false });
      expect(await bodyOf(visit("/api/basket"))).toEqual({ items: {}, count: 0 });
      const before = new Request("http://localhost/api/session", { headers: { Cookie: old } });
      expect(await bodyOf(handle(before))).toMatchObject({ user: null });
      // Neither user sees a device of the other.
      expect(JSON.parse(await (await visit("/api/devices")).text())).toHaveLength(1);
      const ada = visitor(handle);
      await ada("/login", asForm({ user: "Ada" }));
      expect(JSON.parse(await (await ada("/api/devices")).text())).toHaveLength(1);
    },
  );

  test("shop() says who is signed in, and who no longer is, when the account is switched", async () => {
    const visit = newcomer();
    await visit("/login", asForm({ user: "Ada" }));
    await visit("/login", asForm({ user: "Eve" }));
    expect(await noticeOf(visit)).toBe("Welcome, Eve. Ada is signed out here, and that basket is gone.");
    expect(await noticeOf(visit)).toBe("");
  });

  test("shop() keeps the basket when the same user signs in again", async () => {
    const visit = newcomer();
    await visit("/login", asForm({ user: "Ada" }));
    await visit("/basket", asForm({ product: "Pear" }));
    await visit("/login", asForm({ user: "Ada" }));
    expect(await noticeOf(visit)).toBe("Welcome, Ada. Your basket came with you.");
    expect(await bodyOf(visit("/api/basket"))).toMatchObject({ count: 1 });
  });

  test("shop() stays with the user, and says by the field what is wrong, when the other name is bad", async () => {
    const visit = newcomer();
    await visit("/login", asForm({ user: "Ada" }));
    const refused = await visit("/login", asForm({ user: " " }));
    expect(refused.status).toBe(400);
    const page = await refused.text();
    expect(page).toMatch(
      /<title>Error: The Orchard<\/title>[^]*Hello, Ada[^]*<details open>[^]*aria-describedby="user-error"/,
    );
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: "Ada" });
  });
});

describe("shop() and the id", () => {
  const idIn = ({ headers }: Response): string | undefined => headers.getSetCookie()[0]?.split(";")[0];

  test("shop() renews the id when it is asked to, and the old one leads nowhere", async () => {
    const handle = shop({ store: memoryStore() });
    const visit = visitor(handle);
    const old = idIn(await visit("/basket", asForm({ product: "Pear" }))) ?? "";
    const answer = await visit("/renew", { method: "POST" });
    expect([answer.status, answer.headers.get("Location")]).toEqual([303, "/#facts"]);
    expect(idIn(answer)).toMatch(/^session=[\w-]{32}$/);
    expect(idIn(answer)).not.toBe(old);
    expect(await noticeOf(visit)).toBe("Your session has a new id. Everything in it is as before.");
    expect(await bodyOf(visit("/api/basket"))).toMatchObject({ count: 1 });
    const copy = new Request("http://localhost/api/basket", { headers: { Cookie: old } });
    expect(await bodyOf(handle(copy))).toMatchObject({ count: 0 });
  });

  test("shop() begins a session when there is none whose id could be renewed", async () => {
    const visit = newcomer();
    await visit("/renew", { method: "POST" });
    expect(await noticeOf(visit)).toBe("There was no session yet. Now there is one.");
  });

  test("shop() renews the id by itself once an hour, and the basket stays", async () => {
    let time = Date.UTC(2030, 0, 1);
    const visit = visitor(shop({ store: memoryStore(), now: () => time }));
    const first = idIn(await visit("/basket", asForm({ product: "Pear" })));
    time += 3_599_000;
    expect([undefined, first]).toContain(idIn(await visit("/api/basket")));
    time += 1000;
    const renewed = await visit("/api/basket");
    expect(idIn(renewed)).toMatch(/^session=[\w-]{32}$/);
    expect(idIn(renewed)).not.toBe(first);
    expect(await renewed.json()).toMatchObject({ count: 1 });
    expect(await bodyOf(visit("/api/basket"))).toMatchObject({ count: 1 });
  });
});

describe("deviceName()", () => {
  test.each([
    [
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15",
      "WebKit on Linux",
    ],
    [
      "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
      "Safari on macOS",
    ],
    [
      "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
      "Chrome on Linux",
    ],
    [null, "Another browser"],
  ])("deviceName() of %s", (agent, name) => expect(deviceName(agent)).toBe(name));
});

describe("shop() and the account", () => {
  test("shop() shows the account for five minutes after a login, and asks again afterwards", async () => {
    let time = Date.UTC(2030, 0, 1);
    const visit = visitor(shop({ store: memoryStore(), now: () => time }));
    const account = async (): Promise<string | null> => {
      const response = await visit("/account");
      return response.headers.get("Location") ?? /<h1 id="\S+">(.*?)<\/h1>/.exec(await response.text())?.[1] ?? null;
    };
    expect(await account()).toBe("/#you");
    expect(await noticeOf(visit)).toBe("Sign in to see your account.");
    expect((await visit("/api/account")).status).toBe(403);

    await visit("/login", asForm({ user: "Ada" }));
    expect(await account()).toBe("Your account");
    time += 299_000;
    expect(await account()).toBe("Your account");
    expect(await bodyOf(visit("/api/account"))).toEqual({ user: "Ada", authenticatedAt: time - 299_000 });
    time += 1000;
    expect(await account()).toBe("Is it you?");
    expect((await visit("/api/account")).status).toBe(403);

    const wrong = await visit("/account/confirm", asForm({ user: "Eve" }));
    expect([wrong.status, wrong.headers.getSetCookie()]).toEqual([400, []]);
    expect(await wrong.text()).toContain("That is not the name that you signed in with.");
    expect(await account()).toBe("Is it you?");

    const right = await visit("/account/confirm", asForm({ user: "Ada" }));
    expect([right.status, right.headers.get("Location")]).toEqual([303, "/account"]);
    expect(right.headers.getSetCookie()).toHaveLength(1);
    expect(await account()).toBe("Your account");
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: "Ada", authenticatedAt: time });
  });
});

describe("withDistinctNames()", () => {
  test("withDistinctNames() numbers the devices that share a name by their age, and leaves the others alone", () => {
    const devices = [
      { name: "Chrome", createdAt: 3 },
      { name: "Firefox", createdAt: 2 },
      { name: "Chrome", createdAt: 1 },
    ];
    expect(withDistinctNames(devices).map(({ name }) => name)).toEqual(["Chrome (2)", "Firefox", "Chrome (1)"]);
  });
});

describe("server.ts", () => {
  async function folder(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), "shop-test-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    return directory;
  }

  test("server.ts keeps basket and user when it is stopped and started again", async () => {
    const directory = await folder();
    const first = await openShop(directory);
    const visit = visitor(fetch, first.url);
    await visit("/api/basket", asJson({ product: "Pear", quantity: 2 }));
    await visit("/api/login", asJson({ user: "Ada" }));
    expect(await first.close()).toBe(0);
    const second = await openShop(directory, first.port);
    onTestFinished(async () => void (await second.close()));
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Pear: 2 }, count: 2 });
    expect(await bodyOf(visit("/api/session"))).toMatchObject({ user: "Ada", isNew: false, via: "cookie" });
  });

  test("server.ts counts every one when requests put into one basket at once", async () => {
    const { url, close } = await openShop(await folder());
    onTestFinished(async () => void (await close()));
    const visit = visitor(fetch, url);
    await visit("/api/session", { method: "POST" });
    await Promise.all(Array.from({ length: 20 }, () => visit("/api/basket", asJson({ product: "Cherries" }))));
    expect(await bodyOf(visit("/api/basket"))).toEqual({ items: { Cherries: 20 }, count: 20 });
  });

  test("server.ts answers, and goes on, when a request is too long or makes no sense", async () => {
    const { url, close } = await openShop(await folder());
    onTestFinished(async () => void (await close()));
    const visit = visitor(fetch, url);
    const long = await visit("/api/basket", asJson({ product: "x".repeat(5_000_000) }));
    expect(long.status).toBe(413);
    expect((await visit("/api/basket", asJson({ product: "Pear", quantity: 100 }))).status).toBe(400);
    expect((await visit("/", { method: "HEAD" })).status).toBe(200);
    expect((await visit("/api/basket", asJson({ product: "Pear" }))).status).toBe(200);
  });
});
