import type { SessionOptions, SessionStore } from "../../mod.ts";

/** The parts of the library that the suite needs: the main export, from source or built, and stores. */
export type PortableLib = typeof import("../../mod.ts") & {
  readonly cookieSessions: typeof import("../../src/cookie_sessions.ts").cookieSessions;
  readonly signedIds: typeof import("../../src/signed_ids.ts").signedIds;
  readonly encryption: typeof import("../../src/encryption.ts").encryption;
  readonly csrfToken: typeof import("../../src/csrf.ts").csrfToken;
  readonly verifyCsrfToken: typeof import("../../src/csrf.ts").verifyCsrfToken;
  readonly crossOriginProtection: typeof import("../../src/cross_origin.ts").crossOriginProtection;
  readonly exclusive: typeof import("../../src/exclusive.ts").exclusive;
  readonly readYourWrites: typeof import("../../src/read_your_writes.ts").readYourWrites;
  readonly userSessions: typeof import("../../src/user_sessions.ts").userSessions;
  /** Further stores by name. Each is opened anew for each case. Memory is always tested. */
  readonly stores?: Readonly<Record<string, () => SessionStore | Promise<SessionStore>>>;
};

/** One case, for any runner. It rejects if it fails. */
export interface PortableCase {
  readonly name: string;
  run(): Promise<void>;
}

/** The suite that runs unchanged in every runtime. It uses only web standards and its arguments. */
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
    // Where the last write wins, updates can be lost. Then the test only requires that requests succeed.
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
    await expectRetired(lib, { store }, before);
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
    equal([error.code, error.message.includes("callback")], ["ERR_NOT_SERIALIZABLE", true]);
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

/** Cases that depend on the cryptography and the headers of a runtime. Each runs once. */
const securityCases: Readonly<Record<string, (lib: PortableLib) => Promise<void>>> = {
  async "cookieSessions() goes on counting, and refuses an altered cookie and one that was ended"(lib) {
    const options = { store: lib.cookieSessions({ secrets, revocation: lib.memoryStore() }) };
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
    await expectRetired(lib, options, second);
    const [cookie = ""] = setCookie(third).split(";");
    const altered = `${cookie.slice(0, 80)}${cookie[80] === "A" ? "B" : "A"}${cookie.slice(81)}`;
    equal(await (await handle(new Request(URL_OF_SHOP, { headers: { Cookie: altered } }))).text(), "Visit 1");
    await handle(new Request(withCookie(third), { method: "DELETE" }));
    equal(await (await handle(withCookie(third))).text(), "Visit 1");
  },

  async "encryption() and signedIds() keep a session, and turn an altered id away"(lib) {
    const handle = lib.withSession(
      async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
      { store: lib.memoryStore(), ids: lib.signedIds({ secrets }), encryption: lib.encryption({ secrets }) },
    );
    const first = await handle(new Request(URL_OF_SHOP));
    equal(await (await handle(withCookie(first))).text(), "Visit 2");
    const altered = setCookie(first).split(";")[0]?.slice(0, -1) ?? "";
    equal(await (await handle(new Request(URL_OF_SHOP, { headers: { Cookie: altered } }))).text(), "Visit 1");
  },

  async "encryption() leaves under the id's SHA-256 nothing that can be read"(lib) {
    const store = lib.memoryStore();
    const sessions = new lib.SessionManager({ store, encryption: lib.encryption() });
    const session = sessions.start(new Request(URL_OF_SHOP));
    session.set("user", "Ada");
    await session.save();
    const id = (await session.id()) ?? "";
    const key = hex(await crypto.subtle.digest("SHA-256", utf8.encode(id)));
    const { fields } = (await store.load(key)) ?? { fields: new Map<string, string>() };
    equal([...fields.keys()].sort(), ["*", "@"]);
    equal(/user|Ada/.test([...fields.values()].join(" ")), false);
    equal(await sessions.open(id).get("user"), "Ada");
  },

  async "readYourWrites() shows a client its write where the store does not show it yet"(lib) {
    const { load, ...memory } = lib.memoryStore();
    let isLate = false;
    const shown = new Map<string, Awaited<ReturnType<typeof load>>>();
    const store: SessionStore = {
      ...memory,
      traits: { ...memory.traits, consistency: "eventual", compareAndSet: false },
      async load(key) {
        if (isLate) return shown.get(key) ?? null;
        const found = await load(key);
        shown.set(key, found);
        return found;
      },
    };
    const handle = lib.withSession(
      async (request, session) => {
        if (request.method === "PUT") await session.update("visits", (n = 0) => n + 1);
        return new Response(`Visit ${await session.get("visits")}`);
      },
      { store, plugins: [lib.readYourWrites({ secrets })] },
    );
    const first = await handle(new Request(URL_OF_SHOP, { method: "PUT" }));
    // From now on a load repeats the result of the last load, which found no record.
    isLate = true;
    const cookies = first.headers.getSetCookie().map((line) => line.split(";")[0]);
    equal(cookies.length, 2);
    equal(
      await (await handle(new Request(URL_OF_SHOP, { headers: { Cookie: cookies.join("; ") } }))).text(),
      "Visit 1",
    );
    const without = new Request(URL_OF_SHOP, { headers: { Cookie: cookies[0] ?? "" } });
    equal(await (await handle(without)).text(), "Visit undefined");
  },

  async "exclusive() calls a function once for requests that come at once"(lib) {
    const sessions = new lib.SessionManager<{ token: string }>({ store: lib.memoryStore() });
    const session = sessions.start(new Request(URL_OF_SHOP));
    session.set("token", "old");
    await session.save();
    const id = (await session.id()) ?? "";
    let calls = 0;
    const renew = async (): Promise<string> => {
      calls++;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return `new ${calls}`;
    };
    const renewed = Array.from({ length: 5 }, async () => lib.exclusive(sessions.open(id), "token", renew));
    equal(await Promise.all(renewed), Array(5).fill("new 1"));
    equal([calls, await sessions.open(id).get("token")], [1, "new 1"]);
  },

  async "userSessions() lists a session and ends it"(lib) {
    const users = lib.userSessions<{ browser: string }>();
    const sessions = new lib.SessionManager({ store: lib.memoryStore(), plugins: [users] });
    const session = sessions.start(new Request(URL_OF_SHOP));
    await users.bind(session, "ada", { browser: "Firefox" });
    await session.save();
    equal(
      (await users.list("ada")).map(({ metadata }) => metadata),
      [{ browser: "Firefox" }],
    );
    await users.revokeAll("ada");
    equal(await sessions.open((await session.id()) ?? "").size(), 0);
    equal(await users.list("ada"), []);
  },

  async "crossOriginProtection() turns away what another site caused, and csrfToken() is good in its session alone"(
    lib,
  ) {
    const unprotected = lib.withSession(
      async (request, session) => {
        if (request.method === "GET") return new Response(await lib.csrfToken(session));
        const isOurs = await lib.verifyCsrfToken(session, request);
        return new Response(`${isOurs} ${new URLSearchParams(await request.text()).get("amount")}`);
      },
      { store: lib.memoryStore() },
    );
    const handle = lib.crossOriginProtection(unprotected);
    const first = await handle(new Request(URL_OF_SHOP));
    const body = () => new URLSearchParams({ "csrf-token": token, "amount": "2" });
    const token = await first.text();
    const post = async (request: Request, headers: Record<string, string> = {}): Promise<Response> => {
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

/**
 * Checks a response's id that was regenerated since. A request with it finds no session. If it writes, no session begins,
 * because its cookie would replace the new one in the client.
 */
async function expectRetired(
  { withSession, SessionError }: PortableLib,
  options: Pick<SessionOptions, "store">,
  response: Response,
): Promise<void> {
  let code: unknown;
  const late = withSession(async (_request, session) => {
    const { ended } = await session.info();
    await session
      .update("visits", (n = 0) => n + 1)
      .catch((error: unknown) => {
        if (error instanceof SessionError) code = error.code;
      });
    return new Response(`${ended} ${await session.size()}`);
  }, options);
  const answer = await late(withCookie(response));
  equal([await answer.text(), code, setCookie(answer)], ["retired 0", "ERR_SESSION_GONE", ""]);
}

function setCookie(response: Response): string {
  return response.headers.get("Set-Cookie") ?? "";
}

/** The next request of a client that has received this response. */
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

/** A text that is the same for two values only if their kind and content are equal. */
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
