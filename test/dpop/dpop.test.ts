import { beforeEach, expect, test } from "vitest";
import {
  memoryStore,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import type { Found, Operation } from "../../src/core/repository.ts";
import { type Dpop, dpop, type DpopOptions } from "../../src/dpop.ts";
import { HeaderClient } from "./client.ts";
import { createProver, hashOf, type Prover } from "./prover.ts";

const START = 1_700_000_000_000;
let now = START;
const clock = (): number => now;

beforeEach(() => {
  now = START;
});

interface App {
  readonly handler: (request: Request) => Promise<Response>;
  readonly plugin: Dpop;
  readonly events: SessionEvent[];
}

/** A program that answers with the data of the session, why it has ended, and the fault of the proof. */
function app(options: DpopOptions = {}, more: SessionOptions<{ user?: string }> = {}): App {
  const plugin = dpop(options);
  const events: SessionEvent[] = [];
  const handler = withSession<{ user?: string }>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/nothing") return new Response("nothing");
      if (pathname === "/login") session.set("user", "ada");
      if (pathname === "/renew") await session.regenerate();
      if (pathname === "/logout") await session.destroy();
      const user = await session.get("user");
      const { ended } = await session.info();
      return Response.json({ user, ended, fault: await plugin.fault(session), key: await plugin.thumbprint(session) });
    },
    { header: "X-Session-Id", plugins: [plugin], now: clock, onEvent: (event) => void events.push(event), ...more },
  );
  return { handler, plugin, events };
}

/** A program, and a client that has signed in. */
async function signedIn(
  options?: DpopOptions,
  more?: SessionOptions<{ user?: string }>,
): Promise<App & { readonly client: HeaderClient }> {
  const made = app(options, more);
  const client = await HeaderClient.create(made.handler, clock);
  await client.send("/login", { method: "POST" });
  return { ...made, client };
}

test("dpop() binds a session to the key of the request that begins it, and lets each proof in once", async () => {
  const { client } = await signedIn();
  expect(client.id).toMatch(/^[\w-]{32}$/);
  const response = await client.send("/");
  expect(await response.json()).toMatchObject({
    user: "ada",
    ended: null,
    fault: null,
    key: expect.stringMatching(/^[\w-]{43}$/),
  });
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada" });
});

test("dpop() rejects a stolen id without a proof, and says so in an event", async () => {
  const { client, handler, events } = await signedIn();
  const stolen = new Request("https://api.example/", { headers: { "X-Session-Id": client.id } });
  expect(await (await handler(stolen)).json()).toEqual({ ended: "proof", fault: "missing", key: null });
  expect(events.at(-1)).toMatchObject({ type: "rejected", reason: "proof" });
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada" });
});

interface Wrong {
  readonly name: string;
  readonly fault: string;
  change(client: HeaderClient, thief: Prover): Promise<object> | object;
}

const WRONG: readonly Wrong[] = [
  { name: "another key", fault: "binding", change: (_client, thief) => ({ by: thief }) },
  {
    name: "another key's signature",
    fault: "signature",
    change: (client, thief) => ({ by: thief, header: { jwk: client.prover.jwk } }),
  },
  { name: "another method", fault: "method", change: () => ({ claims: { htm: "POST" } }) },
  { name: "another address", fault: "address", change: () => ({ claims: { htu: "https://api.example/other" } }) },
  { name: "another origin", fault: "address", change: () => ({ claims: { htu: "https://evil.example/" } }) },
  { name: "another token", fault: "token", change: async () => ({ claims: { ath: await hashOf("another") } }) },
  { name: "no token", fault: "token", change: () => ({ claims: { ath: undefined } }) },
  {
    name: "a nonce that somebody made up",
    fault: "nonce",
    change: () => ({ claims: { nonce: `${START.toString(36)}.${"A".repeat(43)}` } }),
  },
  {
    name: "alg none",
    fault: "algorithm",
    change: (client) => ({ proof: unsigned({ alg: "none", typ: "dpop+jwt", jwk: client.prover.jwk }) }),
  },
  { name: "a private key", fault: "key", change: (client) => ({ header: { jwk: client.prover.privateJwk } }) },
  { name: "another type", fault: "type", change: () => ({ header: { typ: "JWT" } }) },
  { name: "a megabyte", fault: "malformed", change: () => ({ claims: { padding: "v".repeat(2 ** 20) } }) },
  {
    name: "two proofs",
    fault: "malformed",
    change: async (client) => ({ proof: `${await oneProof(client)}, ${await oneProof(client)}` }),
  },
];

function unsigned(header: object): string {
  return `${Buffer.from(JSON.stringify(header)).toString("base64url")}.e30.AA`;
}

async function oneProof(client: HeaderClient): Promise<string> {
  return (await client.request("/")).headers.get("DPoP") ?? "";
}

test.each(WRONG)("dpop() rejects a proof with $name", async ({ fault, change }) => {
  const { client } = await signedIn();
  expect(await (await client.probe("/")).json()).toMatchObject({ user: "ada" });
  const response = await client.probe("/", await change(client, await createProver()));
  expect(await response.json()).toEqual({ ended: "proof", fault, key: null });
  expect(await (await client.probe("/")).json()).toMatchObject({ user: "ada" });
});

test("dpop() rejects a proof that was used, also on another server, of 20 at once all but one, and after the nonce has ended", async () => {
  const store = memoryStore();
  const { client, handler } = await signedIn({}, { store });
  const other = app({}, { store });
  const request = await client.request("/");
  const all = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => await (at % 2 ? handler : other.handler)(request.clone())),
  );
  const answers = (await Promise.all(all.map((each) => each.text()))).map((each) => /replay|ada/.exec(each)?.[0]);
  expect(answers.filter((each) => each === "ada")).toHaveLength(1);
  expect(answers.filter((each) => each === "replay")).toHaveLength(19);
  expect(await (await other.handler(request.clone())).json()).toMatchObject({ ended: "proof", fault: "replay" });
  for (const seconds of [100, 400, 599]) {
    now = START + seconds * 1000;
    await store.prune?.(now + 300_000);
    expect(await (await handler(request.clone())).json()).toMatchObject({ fault: "replay" });
  }
  now = START + 600_000;
  expect((await handler(request.clone())).status).toBe(401);
});

test("dpop() rejects a proof whose request waits until the note of an earlier use is gone", async () => {
  const store = memoryStore();
  const { client, plugin } = await signedIn({}, { store });
  const { promise: uploaded, resolve: upload } = Promise.withResolvers<void>();
  const handler = withSession<{ user?: string }>(
    async (request, session) => {
      if (request.headers.has("X-Upload")) await uploaded;
      return Response.json({ user: await session.get("user"), fault: await plugin.fault(session) });
    },
    { header: "X-Session-Id", plugins: [plugin], now: clock, store },
  );
  const request = await client.request("/");
  const stolen = request.clone();
  stolen.headers.set("X-Upload", "1");
  const waiting = handler(stolen);
  expect(await (await handler(request)).json()).toMatchObject({ user: "ada" });
  now = START + 3_600_000;
  await store.prune?.(now);
  upload();
  expect(await (await waiting).json()).toEqual({ fault: "nonce" });
});

test("dpop() notes a proof for as long as a server whose clock is behind might take it, and by the margin of engines longer", async () => {
  const inner = memoryStore();
  const ends: number[] = [];
  const save: typeof inner.save = (key, write) => {
    if (write.record.fields.has("proof")) ends.push(write.expiresAt);
    return inner.save(key, write);
  };
  const { client } = await signedIn({ nonceLifetime: 100 }, { store: { ...inner, save } });
  await client.send("/");
  // The lifetime of the nonce, the skew of two clocks, and the margin.
  expect(ends).toEqual([START + (100 + 2 * 300 + 600) * 1000]);
});

test("dpop() rejects a captured request whose id is sent once more in a cookie", async () => {
  const { client, handler } = await signedIn();
  const request = await client.request("/");
  expect(await (await handler(request.clone())).json()).toMatchObject({ user: "ada" });
  const headers = { Cookie: `__Host-session=${client.id}`, DPoP: request.headers.get("DPoP") ?? "" };
  expect(await (await handler(new Request(request.url, { headers }))).json()).toMatchObject({
    ended: "proof",
    fault: "replay",
  });
  const bare = new Request(request.url, { headers: { Cookie: headers.Cookie } });
  expect(await (await handler(bare)).json()).toMatchObject({ ended: "proof", fault: "missing" });
});

test("dpop() asks for a new nonce in place of an old one, before the handler runs", async () => {
  const { client } = await signedIn();
  now += 599_000;
  expect(await (await client.probe("/")).json()).toMatchObject({ user: "ada" });
  now += 1000;
  const refusal = await client.send("/login", { method: "POST" });
  expect(refusal.status).toBe(401);
  expect(refusal.headers.get("WWW-Authenticate")).toContain('DPoP error="use_dpop_nonce"');
  expect(refusal.headers.get("DPoP-Nonce")).toMatch(/^[a-z0-9]+\.[\w-]{43}$/);
  expect(refusal.headers.get("Cache-Control")).toBe("no-store");
  expect(refusal.headers.get("Access-Control-Expose-Headers")).toBe("DPoP-Nonce, WWW-Authenticate");
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada" });
});

test("dpop() asks for a new nonce also if the old one ends while the session is loaded", async () => {
  const { client } = await signedIn({}, { now: () => now++ });
  const madeAt = now;
  for (let late = 0; late < 40; late++) {
    now = madeAt + 599_980 + late - 20;
    const response = await client.probe("/");
    if (response.status !== 401) expect(await response.json()).toMatchObject({ user: "ada" });
  }
});

test("dpop() asks for a nonce where a proof has none", async () => {
  const { client } = await signedIn();
  const response = await client.probe("/", { claims: { nonce: undefined } });
  expect(response.status).toBe(401);
});

test("dpop() gives a new nonce when half of the life of the old one is over, so that a client in use is never refused", async () => {
  const { client } = await signedIn();
  const first = client.nonce;
  expect((await client.send("/")).headers.has("DPoP-Nonce")).toBe(false);
  for (let round = 0; round < 20; round++) {
    now += 160_000;
    const response = await client.send("/");
    expect(response.status).toBe(200);
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  }
  expect(client.nonce).not.toBe(first);
});

test("dpop() gives a new nonce when exactly half of the life of the old one is over, and not before", async () => {
  const { client } = await signedIn({ nonceLifetime: 100 });
  now += 49_999;
  expect((await client.probe("/")).headers.has("DPoP-Nonce")).toBe(false);
  now += 1;
  expect((await client.probe("/")).headers.has("DPoP-Nonce")).toBe(true);
});

test("dpop() does not take a nonce of another session", async () => {
  const { client, handler } = await signedIn();
  const other = await HeaderClient.create(handler, clock);
  await other.send("/login", { method: "POST" });
  expect(other.nonce).not.toBe(client.nonce);
  const response = await client.probe("/", { claims: { nonce: other.nonce } });
  expect(await response.json()).toMatchObject({ ended: "proof", fault: "nonce" });
});

test("dpop() gives a client that begins another session a nonce of that one, however young its last nonce is", async () => {
  const { client, handler } = await signedIn();
  const other = await HeaderClient.create(handler, clock);
  await other.send("/login", { method: "POST" });
  await client.send("/logout", { method: "POST" });
  const before = client.nonce;
  await client.send("/login", { method: "POST" });
  expect(client.nonce).not.toBe(before);
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", fault: null });
  // Also where the session was rejected for it: the next request has the right one.
  client.nonce = other.nonce;
  expect(await (await client.send("/")).json()).toMatchObject({ fault: "nonce" });
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", fault: null });
});

test.each([-86_400 * 365, -301, 301, 86_400 * 365])(
  "dpop() lets in a client whose clock is %i seconds off, as the nonce decides",
  async (skew) => {
    const { handler } = app();
    const client = await HeaderClient.create(handler, clock);
    client.skew = skew;
    await client.send("/login", { method: "POST" });
    // Without a nonce, the server cannot judge the age of the first proof. The next proof binds the session.
    expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", fault: null });
    expect(await (await client.probe("/", { proof: null })).json()).toMatchObject({ ended: "proof" });
    expect(await (await client.probe("/", { by: await createProver() })).json()).toMatchObject({ fault: "binding" });
  },
);

test.each([-300, 300])(
  "dpop() binds a session to the key of a client whose clock is %i seconds off at once",
  async (skew) => {
    const { handler } = app();
    const client = await HeaderClient.create(handler, clock);
    client.skew = skew;
    await client.send("/login", { method: "POST" });
    expect(await (await client.probe("/", { by: await createProver() })).json()).toMatchObject({ fault: "binding" });
  },
);

test("bind() keeps the secret of a session, so that its nonces serve on", async () => {
  const plugin = dpop();
  const handler = withSession<{ user?: string }>(
    async (request, session) => {
      if (request.method === "POST") session.set("user", "ada");
      else await plugin.bind(session, (await plugin.thumbprint(session)) ?? "");
      return Response.json({ user: await session.get("user") });
    },
    { header: "X-Session-Id", plugins: [plugin], now: clock },
  );
  const client = await HeaderClient.create(handler, clock);
  await client.send("/", { method: "POST" });
  for (let times = 0; times < 2; times++) expect(await (await client.probe("/")).json()).toEqual({ user: "ada" });
});

test("bind() does not shut out the request that binds, also when another one writes the session meanwhile", async () => {
  const plugin = dpop({ mode: "offer" });
  const sessions = new SessionManager<{ n?: number }>({ header: "X-Session-Id", plugins: [plugin], now: clock });
  const { jwk } = await createProver();
  const key = await hashOf(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }));
  const begun = sessions.open("");
  begun.set("n", 1);
  await begun.save();
  const id = String(await begun.id());
  const session = sessions.start(new Request("https://api.example/", { headers: { "X-Session-Id": id } }));
  await plugin.bind(session, key);
  await session.save();
  await sessions.open(id).update("n", (n = 0) => n + 1);
  expect(await session.update("n", (n = 0) => n + 1)).toBe(3);
});

test("bind(), thumbprint() and fault() reject for a session of a manager without the plugin, and bind() for what is no thumbprint", async () => {
  const plugin = dpop();
  const session = new SessionManager().open("");
  const message = "dpop is not among the plugins";
  await expect(plugin.bind(session, "v".repeat(43))).rejects.toThrow(message);
  await expect(plugin.thumbprint(session)).rejects.toThrow(message);
  await expect(plugin.fault(session)).rejects.toThrow(message);
  for (const wrong of ["", "v".repeat(42), "v".repeat(44), `${"v".repeat(42)}!`, ["v".repeat(43)], 7] as never[])
    await expect(plugin.bind(session, wrong)).rejects.toThrow("dpop.bind takes the thumbprint of a key");
});

test("dpop() lets in by nothing what has facts that make no sense", async () => {
  const metadata = { "createdAt": now, "absoluteSince": now, "+dpop": { jkt: 7 } };
  const found = { fields: new Map(), metadata, lastSeenAt: now, id: "id", token: "token", version: 1 };
  const op = { now, request: new Request("https://api.example/"), session: undefined } as Partial<Operation>;
  expect(await dpop().admit?.(found, op as Operation)).toBe("proof");
});

test("dpop() holds on servers whose clocks are five minutes apart", async () => {
  const store = memoryStore();
  let ahead = 0;
  const slow = app({}, { store });
  const fast = app({}, { store, now: () => now + ahead });
  for (const skew of [300_000, -300_000]) {
    ahead = skew;
    const client = await HeaderClient.create(fast.handler, clock);
    await client.send("/login", { method: "POST" });
    for (const { handler } of [slow, fast, slow, fast])
      expect(await (await client.send("/", {}, handler)).json()).toMatchObject({ user: "ada" });
    const request = await client.request("/");
    expect(await (await fast.handler(request.clone())).json()).toMatchObject({ user: "ada" });
    expect(await (await slow.handler(request.clone())).json()).toMatchObject({ fault: "replay" });
  }
});

test("dpop() keeps the key when the id is renewed, and takes the new id's hash", async () => {
  const { client } = await signedIn();
  const before = client.id;
  expect(await (await client.send("/renew", { method: "POST" })).json()).toMatchObject({ user: "ada" });
  expect(client.id).not.toBe(before);
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada" });
  expect(await (await client.probe("/", { by: await createProver() })).json()).toMatchObject({
    ended: "proof",
    fault: "binding",
  });
  const old = { headers: { "X-Session-Id": before }, claims: { ath: await hashOf(before) } };
  expect(await (await client.probe("/", old)).json()).toMatchObject({ ended: "retired" });
});

test("dpop() is of no more use to a thief after logout", async () => {
  const { client, handler } = await signedIn();
  const stolen = await client.request("/");
  await client.send("/logout", { method: "POST" });
  expect(await (await handler(stolen)).json()).toMatchObject({ ended: "unknown" });
});

test("dpop() rejects a session that is presented in a header and bound to no key", async () => {
  const { handler } = app();
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST", proof: null });
  expect(await (await client.send("/", { proof: null })).json()).toMatchObject({ ended: "proof", fault: "missing" });
  // The client that began the session binds it with its first proof.
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada" });
  expect(await (await client.send("/", { by: await createProver() })).json()).toMatchObject({
    ended: "proof",
    fault: "binding",
  });
});

/** A store, and a function that the next write to an existing session calls first. */
function interruptible(): { readonly store: SessionStore; before(next: () => Promise<unknown>): void } {
  const inner = memoryStore();
  let next: (() => Promise<unknown>) | undefined;
  const store: SessionStore = {
    ...inner,
    async save(key, write) {
      // Used proofs are stored as well, as new records. A session exists already.
      const now = write.expected === null ? undefined : next;
      if (now !== undefined) next = undefined;
      await now?.();
      return await inner.save(key, write);
    },
  };
  return { store, before: (doing) => void (next = doing) };
}

/** A program with such a store, and a client whose session is not yet bound to a key. */
async function withOpenSession() {
  const { store, before } = interruptible();
  const { handler, plugin } = app({}, { store, storeTimeout: 3600 });
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST", proof: null });
  const options = { store, header: "X-Session-Id", plugins: [plugin], now: clock };
  const sessions = new SessionManager<{ user?: string; theme?: string }>(options);
  return { handler, client, before, sessions };
}

test.each(["/", "/renew"])(
  "dpop() lets nobody replace the key that was bound while his request of %s was under way",
  async (path) => {
    const { handler, client, before } = await withOpenSession();
    const thief = await HeaderClient.create(handler, clock);
    thief.id = client.id;
    for (const each of [client, thief]) expect((await each.send("/")).status).toBe(401);
    // The thief's request is accepted, because the session is not yet bound.
    before(() => client.send("/"));
    // The thief may get an error, because the session has changed during the request.
    await thief.send(path).catch(() => undefined);
    expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", fault: null });
    expect(await (await thief.send("/")).json()).toMatchObject({ ended: "proof", fault: "binding" });
  },
);

test("dpop() binds a session although somebody else wrote to it while the first proof was under way", async () => {
  const { client, before, sessions } = await withOpenSession();
  await client.send("/");
  before(() => sessions.open(client.id).update("theme", () => "dark"));
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", fault: null });
  expect(await (await client.probe("/", { by: await createProver() })).json()).toMatchObject({ fault: "binding" });
  expect(await sessions.open(client.id).get("theme")).toBe("dark");
});

test("dpop() keeps the changes of a request whose nonce has ended when they are stored again after a conflict", async () => {
  const { client, before, sessions } = await withOpenSession();
  for (let n = 0; n < 2; n++) await client.send("/");
  before(async () => {
    now += 3_600_000;
    await sessions.open(client.id).update("user", () => "bob");
  });
  expect(await (await client.send("/login", { method: "POST" })).json()).toMatchObject({ user: "ada", fault: null });
  expect(await sessions.open(client.id).get("user")).toBe("ada");
});

test("dpop() lets a session of a cookie that began in this request change although somebody else wrote to it at once", async () => {
  const inner = memoryStore();
  let others = 0;
  const store: SessionStore = {
    ...inner,
    async save(key, write) {
      const found = write.expected === null || others > 0 ? null : await inner.load(key);
      if (found !== null && found.version !== null) {
        const { version, ...record } = found;
        others += 1;
        const nothing = { id: "other", record, changed: new Map(), expected: version, expiresAt: write.expiresAt };
        await inner.save(key, nothing);
      }
      return await inner.save(key, write);
    },
  };
  const handler = withSession<{ n?: number }>(
    async (_request, session) => {
      session.set("n", 1);
      await session.save();
      await session.update("n", (before = 0) => before + 1);
      return Response.json(await session.get("n"));
    },
    { header: "X-Session-Id", plugins: [dpop()], now: clock, store },
  );
  expect(await (await handler(new Request("https://api.example/"))).json()).toBe(2);
  expect(others).toBe(1);
});

test.each([[7], [null], [[]], [{}], [{ secret: 7 }], [{ secret: "s", jkt: 7 }]])(
  "dpop() lets nobody in whose session has facts that make no sense: %j",
  async (facts) => {
    const metadata = { "createdAt": now, "absoluteSince": now, "+dpop": facts };
    const session: Found = { fields: new Map(), metadata, lastSeenAt: now, id: "id", token: "token", version: 1 };
    const op: Partial<Operation> = { now, request: new Request("https://api.example/"), transport: cookieTransport() };
    expect(await dpop({ mode: "offer" }).admit?.(session, op as Operation)).toBe("proof");
  },
);

test("dpop() leaves cookie sessions alone, and lets nobody present or bind their ids in a header", async () => {
  for (const mode of ["require", "offer"] as const) {
    const { handler } = app({ mode });
    const login = await handler(new Request("https://api.example/login", { method: "POST" }));
    const [cookie = ""] = login.headers.getSetCookie().map((line) => line.split(";")[0] ?? "");
    const read = async (headers: Record<string, string>): Promise<unknown> =>
      await (await handler(new Request("https://api.example/", { headers }))).json();
    expect(await read({ Cookie: cookie })).toEqual({ user: "ada", ended: null, fault: null, key: null });
    const thief = await HeaderClient.create(handler, clock);
    thief.id = cookie.slice(cookie.indexOf("=") + 1);
    const answer = await (await thief.probe("/")).json();
    expect(answer).toEqual(
      mode === "require"
        ? { ended: "proof", fault: "unbound", key: null }
        : { user: "ada", ended: null, fault: null, key: null },
    );
    expect(await read({ Cookie: cookie })).toMatchObject({ user: "ada" });
  }
});

test('dpop({ mode: "offer" }) serves clients without a key as before, until they bring one', async () => {
  const { handler } = app({ mode: "offer" });
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST", proof: null });
  expect(await (await client.send("/", { proof: null })).json()).toEqual({
    user: "ada",
    ended: null,
    fault: null,
    key: null,
  });
  expect((await client.send("/")).status).toBe(401);
  expect(await (await client.send("/")).json()).toMatchObject({ user: "ada", key: expect.any(String) });
  expect(await (await client.send("/", { proof: null })).json()).toMatchObject({ ended: "proof", fault: "missing" });
});
