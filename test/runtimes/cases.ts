import type { SessionStore } from "../../mod.ts";

/** What the suite needs of the library: its main export, from source or built, and the stores to run on. */
export type PortableLib = typeof import("../../mod.ts") & {
  readonly cookieStore: typeof import("../../src/stores/cookie.ts").cookieStore;
  /** More stores by name, opened anew for each case; memory is always among them. */
  readonly stores?: Readonly<Record<string, () => SessionStore | Promise<SessionStore>>>;
};

/** One case, for any runner: it rejects if what it shows does not hold. */
export interface PortableCase {
  readonly name: string;
  run(): Promise<void>;
}

/** The suite that runs unchanged in every runtime: it knows web standards and what is handed to it, nothing else. */
export function portableCases(lib: PortableLib): PortableCase[] {
  const stores = { memory: () => lib.memoryStore(), ...lib.stores };
  const onStores = Object.entries(stores).flatMap(([store, open]) =>
    Object.entries(cases).map(([name, run]) => ({
      name: `${name} (${store} store)`,
      run: async () => run(lib, await open()),
    })),
  );
  return [...onStores, ...Object.entries(securityCases).map(([name, run]) => ({ name, run: () => run(lib) }))];
}

const utf8 = new TextEncoder();

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const URL_OF_SHOP = "https://shop.example/";

const cases: Readonly<Record<string, (lib: PortableLib, store: SessionStore) => Promise<void>>> = {
  async "withSession() goes on counting when the client brings the cookie back"(lib, store) {
    const handle = visitCounter(lib, store);
    const first = await handle(new Request(URL_OF_SHOP));
    equal(await first.text(), "Visit 1");
    equal(/^__Host-session=[\w-]{22,}; .*HttpOnly/.test(setCookie(first)), true);
    equal(await (await handle(withCookie(first))).text(), "Visit 2");
    equal(await (await handle(withCookie(first))).text(), "Visit 3");
  },

  async "withSession() answers in the header when the request asks for it with an empty one"(lib, store) {
    const handle = visitCounter(lib, store, { header: "X-Session-Id" });
    const first = await handle(new Request(URL_OF_SHOP, { headers: { "X-Session-Id": "" } }));
    const id = first.headers.get("X-Session-Id") ?? "";
    equal(await first.text(), "Visit 1");
    equal(setCookie(first), "");
    const second = await handle(new Request(URL_OF_SHOP, { headers: { "X-Session-Id": id } }));
    equal(await second.text(), "Visit 2");
  },

  async "withSession() begins a session of its own when the id is made up"(lib, store) {
    const cookie = `__Host-session=${"A".repeat(32)}`;
    const response = await visitCounter(lib, store)(new Request(URL_OF_SHOP, { headers: { Cookie: cookie } }));
    equal(await response.text(), "Visit 1");
    equal(setCookie(response).startsWith(`${cookie};`), false);
  },

  async "withSession() returns the handler's very Response when the session was left alone"({ withSession }, store) {
    const response = new Response("untouched");
    const handle = withSession(() => response, { store });
    equal((await handle(new Request(URL_OF_SHOP))) === response, true);
  },

  async "withSession() puts the cookie on a redirect when the session is new"({ withSession }, store) {
    const handle = withSession(
      (_request, session) => {
        session.set("user", "Ada");
        return Response.redirect(`${URL_OF_SHOP}account`, 303);
      },
      { store },
    );
    const response = await handle(new Request(URL_OF_SHOP));
    equal([response.status, response.headers.get("Location")], [303, `${URL_OF_SHOP}account`]);
    equal(setCookie(response).startsWith("__Host-session="), true);
  },

  async "withSession() lets a stream through when its end is not written yet"({ withSession }, store) {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const handle = withSession(
      (_request, session) => {
        session.set("seen", true);
        return new Response(readable);
      },
      { store },
    );
    const response = await handle(new Request(URL_OF_SHOP));
    equal(setCookie(response).startsWith("__Host-session="), true);
    void writer.write(new TextEncoder().encode("first"));
    const reader = (response.body ?? readable).getReader();
    equal(new TextDecoder().decode((await reader.read()).value), "first");
    void writer.close();
    equal((await reader.read()).done, true);
  },

  async "update() counts every request when twenty overlap"(lib, store) {
    const handle = visitCounter(lib, store);
    const first = await handle(new Request(URL_OF_SHOP));
    await Promise.all(Array.from({ length: 19 }, () => handle(withCookie(first))));
    const visits = Number((await (await handle(withCookie(first))).text()).slice("Visit ".length));
    // Where the last write wins, all that can be asked for is that nothing breaks.
    if (store.traits.compareAndSet) equal(visits, 21);
    else equal(visits > 1, true);
  },

  async "destroy() expires the cookie and kills the id when a client logs out"(lib, store) {
    const handle = visitCounter(lib, store);
    const first = await handle(new Request(URL_OF_SHOP));
    await handle(withCookie(first));
    const bye = lib.withSession(
      async (_request, session) => {
        await session.destroy();
        return new Response("Bye");
      },
      { store },
    );
    equal(/^__Host-session=; .*Max-Age=0/.test(setCookie(await bye(withCookie(first)))), true);
    equal(await (await handle(withCookie(first))).text(), "Visit 1");
  },

  async "regenerate() moves the data and kills the old id when a client logs in"(lib, store) {
    const handle = visitCounter(lib, store);
    const login = lib.withSession(
      async (_request, session) => {
        await session.regenerate();
        return new Response("Welcome");
      },
      { store },
    );
    const before = await handle(new Request(URL_OF_SHOP));
    const after = await login(withCookie(before));
    equal(setCookie(after) === setCookie(before), false);
    equal(await (await handle(withCookie(after))).text(), "Visit 2");
    equal(await (await handle(withCookie(before))).text(), "Visit 1");
  },

  async "set() keeps a value what it was when it is structured"({ withSession }, store) {
    const value = structured();
    const write = withSession(
      (_request, session) => {
        session.set("value", value);
        return new Response("written");
      },
      { store },
    );
    let found: unknown;
    const read = withSession(
      async (_request, session) => {
        found = await session.get("value");
        return new Response("read");
      },
      { store },
    );
    await read(withCookie(await write(new Request(URL_OF_SHOP))));
    equal(found, value);
  },

  async "set() refuses a value, naming its key, when nothing can bring it back"({ withSession, SessionError }, store) {
    let error: unknown;
    const handle = withSession(
      (_request, session) => {
        try {
          session.set("callback", () => {});
        } catch (thrown) {
          error = thrown;
        }
        return new Response("refused");
      },
      { store },
    );
    await handle(new Request(URL_OF_SHOP));
    if (!(error instanceof SessionError)) throw new Error(`Expected a SessionError, found ${error}`);
    equal([error.code, error.message.includes("callback")], ["ERR_VALUE", true]);
  },

  async "SessionManager opens the session of a request when there is no request at hand"(lib, store) {
    const sessions = new lib.SessionManager<{ visits: number }>({ store });
    const session = sessions.start(new Request(URL_OF_SHOP));
    session.set("visits", 1);
    await sessions.commit(session);
    const elsewhere = sessions.open((await session.id()) ?? "");
    await elsewhere.update("visits", (n = 0) => n + 1);
    await elsewhere.save();
    equal(await sessions.open((await session.id()) ?? "").get("visits"), 2);
  },
};

const secrets = ["a secret of at least thirty-two bytes"];

/** What rests on the cryptography and the headers of a runtime, once for each. */
const securityCases: Readonly<Record<string, (lib: PortableLib) => Promise<void>>> = {
  async "cookieStore() goes on counting, and refuses an altered cookie and one that was ended"(lib) {
    const options = { store: lib.cookieStore({ revocation: lib.memoryStore() }), secrets };
    const handle = lib.withSession(async (request, session) => {
      if (request.method === "DELETE") await session.destroy();
      else if (request.method === "PUT") await session.regenerate();
      else return new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`);
      return new Response("done");
    }, options);
    const first = await handle(new Request(URL_OF_SHOP));
    const second = await handle(withCookie(first));
    equal(await second.text(), "Visit 2");
    const third = await handle(new Request(withCookie(second), { method: "PUT" }));
    equal(await (await handle(withCookie(third))).text(), "Visit 3");
    equal(await (await handle(withCookie(second))).text(), "Visit 1");
    const [cookie = ""] = setCookie(third).split(";");
    const altered = `${cookie.slice(0, 80)}${cookie[80] === "A" ? "B" : "A"}${cookie.slice(81)}`;
    equal(await (await handle(new Request(URL_OF_SHOP, { headers: { Cookie: altered } }))).text(), "Visit 1");
    await handle(new Request(withCookie(third), { method: "DELETE" }));
    equal(await (await handle(withCookie(third))).text(), "Visit 1");
  },

  async "encrypt and secrets keep a session, and turn an altered id away"(lib) {
    const handle = lib.withSession(
      async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
      { store: lib.memoryStore(), secrets, encrypt: true },
    );
    const first = await handle(new Request(URL_OF_SHOP));
    equal(await (await handle(withCookie(first))).text(), "Visit 2");
    const altered = setCookie(first).split(";")[0]?.slice(0, -1) ?? "";
    equal(await (await handle(new Request(URL_OF_SHOP, { headers: { Cookie: altered } }))).text(), "Visit 1");
  },

  async "encrypt leaves under the id's SHA-256 what WebCrypto opens, whatever crypto the runtime has"(lib) {
    const store = lib.memoryStore();
    const sessions = new lib.SessionManager({ store, encrypt: true });
    const session = sessions.start(new Request(URL_OF_SHOP));
    session.set("user", "Ada");
    await session.save();
    const id = (await session.id()) ?? "";
    const key = hex(await crypto.subtle.digest("SHA-256", utf8.encode(id)));
    const { fields } = (await store.load(key)) ?? { fields: new Map<string, string>() };
    const info = utf8.encode("with-session record");
    const secret = utf8.encode(JSON.stringify([id, ""]));
    const material = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
    const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
    const aes = await crypto.subtle.deriveKey(hkdf, material, { name: "AES-GCM", length: 256 }, false, ["decrypt"]);
    const sealed = Uint8Array.from(atob(fields.get("*") ?? ""), (character) => character.charCodeAt(0));
    const additionalData = utf8.encode(`${key} ${fields.get("@")}`);
    const algorithm = { name: "AES-GCM", iv: sealed.slice(0, 12), additionalData };
    const opened = new TextDecoder().decode(await crypto.subtle.decrypt(algorithm, aes, sealed.slice(12)));
    equal(opened, '[["=user","\\"Ada\\""]]');
  },

  async "guard: same-origin turns away what another site caused, and csrfToken() is good in its session alone"(lib) {
    const handle = lib.withSession(
      async (request, session) => {
        if (request.method === "GET") return new Response(await session.csrfToken());
        const isOurs = await session.verifyCsrf(request);
        return new Response(`${isOurs} ${new URLSearchParams(await request.text()).get("amount")}`);
      },
      { store: lib.memoryStore(), guard: "same-origin" },
    );
    const first = await handle(new Request(URL_OF_SHOP));
    const body = () => new URLSearchParams({ "csrf-token": token, "amount": "2" });
    const token = await first.text();
    const post = (request: Request, headers: Record<string, string> = {}): Promise<Response> => {
      const all = new Headers(request.headers);
      for (const [name, value] of Object.entries(headers)) all.set(name, value);
      all.set("Content-Type", "application/x-www-form-urlencoded");
      return handle(new Request(request.url, { method: "POST", headers: all, body: body().toString() }));
    };
    equal(await (await post(withCookie(first))).text(), "true 2");
    equal(await (await post(new Request(URL_OF_SHOP))).text(), "false 2");
    equal((await post(withCookie(first), { Origin: "https://evil.example" })).status, 403);
    equal((await post(withCookie(first), { "Sec-Fetch-Site": "same-site" })).status, 403);
    equal((await post(withCookie(first), { Origin: "https://shop.example" })).status, 200);
  },
};

function visitCounter(
  { withSession }: PortableLib,
  store: SessionStore,
  options: { header?: string } = {},
): (request: Request) => Promise<Response> {
  return withSession(
    async (_request, session) => {
      const visits = await session.update("visits", (n = 0) => n + 1);
      return new Response(`Visit ${visits}`);
    },
    { store, ...options },
  );
}

function setCookie(response: Response): string {
  return response.headers.get("Set-Cookie") ?? "";
}

/** The next request of a client that got this response. */
function withCookie(response: Response): Request {
  const [cookie = ""] = setCookie(response).split(";");
  return new Request(URL_OF_SHOP, { headers: { Cookie: cookie } });
}

function structured(): Record<string, unknown> {
  const shared = { name: "shared" };
  return {
    numbers: [0, -0, 1.5, Number.NaN, Infinity, -Infinity, 12345678901234567890n],
    words: ["", "Zoë \u{1F36A} \u0000", "undefined", '{"json":true}'],
    nothing: [null, undefined],
    truth: [true, false],
    date: new Date(1_234_567_890_123),
    map: new Map<unknown, unknown>([[{ key: 1 }, new Set([1, "1"])]]),
    pattern: /a\/b/gi,
    url: new URL("https://shop.example/?q=1#top"),
    bytes: new Uint8Array([0, 127, 255]),
    floats: new Float64Array([0.1, -0]),
    buffer: new Uint8Array([1, 2, 3]).buffer,
    nested: { deep: { er: [{}] } },
    twice: [shared, shared],
  };
}

function equal(actual: unknown, expected: unknown): void {
  const [found, wanted] = [print(actual), print(expected)];
  if (found !== wanted) throw new Error(`Expected ${wanted}, found ${found}`);
}

/** A text that two values share only if they are equal in kind and content. */
function print(value: unknown): string {
  if (typeof value !== "object" || value === null) {
    return Object.is(value, -0) ? "-0" : typeof value === "string" ? JSON.stringify(value) : `${typeof value} ${value}`;
  }
  const kind = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (value instanceof Date) return `${kind} ${value.getTime()}`;
  if (value instanceof RegExp || value instanceof URL) return `${kind} ${value}`;
  if (value instanceof ArrayBuffer) return `${kind} ${new Uint8Array(value)}`;
  if (ArrayBuffer.isView(value)) return `${kind} ${new Uint8Array(value.buffer, value.byteOffset, value.byteLength)}`;
  const parts = Symbol.iterator in value ? Array.from(value as Iterable<unknown>) : Object.entries(value).flat();
  return `${kind} (${parts.map(print).join(", ")})`;
}
