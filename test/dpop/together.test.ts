import { beforeEach, expect, test } from "vitest";
import {
  memoryStore,
  type Plugin,
  SessionError,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { dpop, type DpopOptions } from "../../src/dpop.ts";
import { encryption } from "../../src/encryption.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { faultyStore } from "../../src/testing/faulty_store.ts";
import { kvSimulator } from "../../src/testing/kv_simulator.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { HeaderClient } from "./client.ts";
import { createProver, hashOf } from "./prover.ts";

const SECRETS = ["a secret of thirty-two bytes or more"];
let now = 0;
const clock = (): number => now;

beforeEach(() => {
  now = 1_700_000_000_000;
  users = userSessions();
});

interface Data {
  user?: string;
  n?: number;
}

let users: UserSessions = userSessions();

function app(options: SessionOptions<Data>, dpopOptions: DpopOptions = {}): (request: Request) => Promise<Response> {
  return withSession<Data>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/nothing") return new Response("nothing");
      if (pathname === "/login") {
        session.set("user", "ada");
        if (options.plugins?.includes(users) === true) await users.bind(session, "ada");
      }
      if (pathname === "/renew") await session.regenerate({ grace: 60 });
      if (pathname === "/leave") await users.revokeAll("ada");
      if (pathname === "/count") return Response.json(await session.update("n", (n = 0) => n + 1));
      const { ended } = await session.info();
      return Response.json({ user: await session.get("user"), ended });
    },
    { header: "X-Session-Id", now: clock, ...options, plugins: [dpop(dpopOptions), ...(options.plugins ?? [])] },
  );
}

const ALIVE = { user: "ada", ended: null };
const REJECTED = { ended: "proof" };

const COMPANIONS: readonly (readonly [name: string, options: () => SessionOptions<Data>])[] = [
  ["nothing", () => ({})],
  ["signedIds()", () => ({ ids: signedIds({ secrets: SECRETS }) })],
  ["encryption()", () => ({ encryption: encryption({ secrets: SECRETS }) })],
  ["userSessions()", () => ({ plugins: [users] })],
  ["rotateEvery", () => ({ rotateEvery: 60 })],
  ['load: "eager"', () => ({ load: "eager" })],
];

test.each(COMPANIONS)("dpop() protects a session together with %s", async (_name, options) => {
  const handler = app(options());
  const client = await HeaderClient.create(handler, clock);
  expect(await (await client.send("/login", { method: "POST" })).json()).toEqual(ALIVE);
  for (let round = 0; round < 5; round++) {
    now += 100_000;
    expect(await (await client.send("/")).json()).toEqual(ALIVE);
    expect(await (await client.probe("/", { proof: null })).json()).toEqual(REJECTED);
    expect(await (await client.probe("/", { by: await createProver() })).json()).toEqual(REJECTED);
  }
});

test("dpop() serves a retired id within its grace, if the proof is for that id", async () => {
  const handler = app({});
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST" });
  const before = client.id;
  await client.send("/renew", { method: "POST" });
  expect(client.id).not.toBe(before);
  const old = { headers: { "X-Session-Id": before } };
  expect(await (await client.probe("/", { ...old, claims: { ath: await hashOf(before) } })).json()).toEqual(ALIVE);
  expect(await (await client.probe("/", old)).json()).toEqual(REJECTED);
  expect(await (await client.probe("/", { ...old, proof: null })).json()).toEqual(REJECTED);
});

test("dpop() ends with the session when userSessions() revokes it", async () => {
  const handler = app({ plugins: [users] });
  const [here, there] = [await HeaderClient.create(handler, clock), await HeaderClient.create(handler, clock)];
  for (const client of [here, there]) await client.send("/login", { method: "POST" });
  await here.send("/leave", { method: "POST" });
  expect(await (await there.send("/")).json()).toMatchObject({ ended: expect.stringMatching(/revoked|unknown/) });
});

test("dpop() is refused where it would protect from nothing", () => {
  const header = "X-Session-Id";
  const namespace = kvSimulator({ now: clock }).at("Paris");
  expect(() => new SessionManager({ plugins: [dpop()] })).toThrow(/needs a header/);
  expect(() => new SessionManager({ header, plugins: [dpop()], store: cookieSessions({ secrets: SECRETS }) })).toThrow(
    /cookieSessions/,
  );
  expect(() => new SessionManager({ header, plugins: [dpop()], store: cloudflareKvStore(namespace) })).toThrow(
    /compare and set/,
  );
  const plugins = [dpop(), readYourWrites({ secrets: SECRETS })];
  expect(() => new SessionManager({ header, plugins, store: cloudflareKvStore(namespace) })).toThrow(TypeError);
  expect(() => new SessionManager({ header, plugins: [dpop()], store: memoryStore() })).not.toThrow();
  expect(() => new SessionManager({ header, plugins: [dpop()], store: () => memoryStore() })).not.toThrow();
});

test("dpop() says that the store is too weak when that shows only while running", async () => {
  const store = (): SessionStore => ({
    ...memoryStore(),
    traits: { consistency: "eventual", compareAndSet: false, maxBytes: 9999 },
  });
  const only = store();
  const handler = app({ store: () => only });
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST" });
  await expect(client.send("/")).rejects.toThrow(/dpop\(\) needs a store/);
});

test.each([
  [{ mod: "offer" }, /mode/],
  [{ mode: "always" }, /mode/],
  [{ nonceLifetime: 0 }, /nonceLifetime/],
  [{ nonceLifetime: 3601 }, /nonceLifetime/],
  [{ nonceLifetime: Number.NaN }, /nonceLifetime/],
  [{ nonceLifetime: "60" }, /nonceLifetime/],
  [{ algorithms: [] }, /algorithms/],
  [{ algorithms: ["none"] }, /algorithms/],
  [{ algorithms: ["HS256"] }, /algorithms/],
  [{ origin: "api.example" }, /origin/],
  [{ origin: "https://api.example/v1" }, /origin/],
  [{ secrets: SECRETS }, /secrets/],
])("dpop() refuses the options %j", (options, message) => {
  expect(() => Reflect.apply(dpop, undefined, [options])).toThrow(message);
});

test("dpop({ origin }) checks the address that clients know, whatever a proxy makes of it", async () => {
  const handler = app({}, { origin: "https://api.example" });
  const client = await HeaderClient.create(handler, clock);
  const behindProxy = async (request: Request): Promise<Response> =>
    await handler(new Request(request.url.replace("https://api.example", "http://10.0.0.7:3000"), request));
  await client.send("/login", { method: "POST" }, behindProxy);
  expect(await (await client.send("/", {}, behindProxy)).json()).toEqual(ALIVE);
  const headers = { "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https" };
  const claims = { htu: "https://evil.example/" };
  expect(await (await client.probe("/", { claims, headers }, behindProxy)).json()).toEqual(REJECTED);
});

test("bind() binds a session to a key that is known from elsewhere, and refuses what is no thumbprint", async () => {
  const plugin = dpop();
  const prover = await createProver();
  const seen: (string | null)[] = [];
  const handler = withSession<Data>(
    async (request, session) => {
      if (request.url.endsWith("/bind")) await plugin.bind(session, request.headers.get("X-Key") ?? "");
      seen.push(await plugin.thumbprint(session));
      return Response.json(await session.info());
    },
    { header: "X-Session-Id", plugins: [plugin], now: clock },
  );
  const key = await hashOf(
    JSON.stringify({ crv: prover.jwk.crv, kty: prover.jwk.kty, x: prover.jwk.x, y: prover.jwk.y }),
  );
  const client = new HeaderClient(prover, handler, clock);
  for (const wrong of ["", "short", `${key}A`]) {
    const binding = client.send("/bind", { proof: null, headers: { "X-Key": wrong } });
    await expect(binding).rejects.toThrow(/thumbprint/);
  }
  await client.send("/bind", { proof: null, headers: { "X-Key": key } });
  expect(seen).toEqual([key]);
  await client.send("/", { proof: null });
  expect(await (await client.probe("/", { by: await createProver() })).json()).toMatchObject({ ended: "proof" });
  expect(await (await client.send("/")).json()).toMatchObject({ ended: null });
  expect(seen.at(-1)).toBe(key);
});

test("dpop() binds each session to its key when two sessions of one program share a request", async () => {
  const handler = app({});
  const [ada, bob] = [await HeaderClient.create(handler, clock), await HeaderClient.create(handler, clock)];
  for (const client of [ada, bob]) await client.send("/login", { method: "POST" });
  bob.id = ada.id;
  expect(await (await bob.probe("/", { claims: { nonce: ada.nonce } })).json()).toEqual(REJECTED);
});

test("a session that is opened by its id, without a request, needs no proof", async () => {
  const store = memoryStore();
  const options = { store, header: "X-Session-Id", plugins: [dpop()], now: clock };
  const client = await HeaderClient.create(app({ store }), clock);
  await client.send("/login", { method: "POST" });
  expect(await new SessionManager<Data>(options).open(client.id).get("user")).toBe("ada");
});

test("dpop() loses no update when 20 requests with proofs of their own arrive at once", async () => {
  const handler = app({});
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST" });
  const requests = await Promise.all(Array.from({ length: 20 }, async () => await client.request("/count")));
  const answers = await Promise.all(requests.map(async (request) => Number(await (await handler(request)).text())));
  expect(answers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
});

test("dpop() costs one write for each proof, and nothing where nobody asks for the session", async () => {
  const store = faultyStore(memoryStore());
  const handler = app({ store });
  const client = await HeaderClient.create(handler, clock);
  const costOf = async (path: string, changes: object = {}): Promise<object> => {
    store.plan({});
    await (await client.probe(path, changes)).text();
    return { ...store.calls };
  };
  await client.send("/nothing");
  store.plan({});
  await client.send("/login", { method: "POST" });
  expect(store.calls).toEqual({ load: 0, save: 1, delete: 0 });
  expect(await costOf("/nothing")).toEqual({ load: 0, save: 0, delete: 0 });
  expect(await costOf("/")).toEqual({ load: 1, save: 1, delete: 0 });
  expect(await costOf("/count")).toEqual({ load: 1, save: 2, delete: 0 });
  expect(await costOf("/", { proof: null })).toEqual({ load: 1, save: 0, delete: 0 });
  expect(await costOf("/", { by: await createProver() })).toEqual({ load: 1, save: 0, delete: 0 });
  now += 700_000;
  expect(await costOf("/nothing")).toEqual({ load: 1, save: 0, delete: 0 });
});

test("dpop() lets a proof in whose note was written twice, and rejects none that was written once and not answered", async () => {
  const store = faultyStore(memoryStore());
  const handler = app({ store });
  const client = await HeaderClient.create(handler, clock);
  await client.send("/login", { method: "POST" });
  const request = await client.request("/");
  store.plan({ save: ["does it twice"] });
  expect(await (await handler(request.clone())).json()).toEqual(ALIVE);
  expect(await (await handler(request.clone())).json()).toEqual(REJECTED);
  store.plan({ save: ["rejects"] });
  await expect(client.send("/")).rejects.toMatchObject({ code: "ERR_STORE" });
  expect(await (await client.send("/")).json()).toEqual(ALIVE);
});

test("dpop() does not bind a session to a proof of unknown age, such as one that somebody has seen and sends again", async () => {
  const handler = app({});
  const client = await HeaderClient.create(handler, clock);
  const seen = await client.request("/login", { method: "POST" });
  now += 301_000;
  const thief = await HeaderClient.create(handler, clock);
  const response = await handler(seen);
  thief.id = response.headers.get("X-Session-Id") ?? "";
  thief.nonce = response.headers.get("DPoP-Nonce") ?? "";
  // The new session belongs to the sender of the request, and is bound to the first key that is presented.
  expect(await (await thief.send("/")).json()).toEqual(ALIVE);
});

test("dpop() does not bind a cookie session to the key of whoever makes its id be renewed in a header", async () => {
  const handler = app({}, { mode: "offer" });
  const login = await handler(new Request("https://api.example/login", { method: "POST" }));
  const id = /=([^;]*)/.exec(login.headers.getSetCookie()[0] ?? "")?.[1] ?? "";
  const thief = await HeaderClient.create(handler, clock);
  thief.id = id;
  expect(await (await thief.send("/renew", { method: "POST" })).json()).toEqual(ALIVE);
  expect(thief.id).not.toBe(id);
  const headers = { Cookie: `__Host-session=${thief.id}` };
  expect(await (await handler(new Request("https://api.example/", { headers }))).json()).toEqual(ALIVE);
});

test("one proof serves all managers of a program that look at one request", async () => {
  const plugin = dpop();
  const options = { store: memoryStore(), header: "X-Session-Id", plugins: [plugin], now: clock };
  const read = withSession<Data>(
    async (_request, session) => new Response((await session.get("user")) ?? "nobody"),
    options,
  );
  const login = withSession<Data>((_request, session) => (session.set("user", "ada"), new Response("hello")), options);
  const client = await HeaderClient.create(
    async (request) => await (request.method === "POST" ? login : read)(request),
    clock,
  );
  await client.send("/", { method: "POST" });
  const request = await client.request("/");
  expect(await Promise.all([(await read(request)).text(), (await read(request)).text()])).toEqual(["ada", "ada"]);
  expect(await (await read(request.clone())).text()).toBe("nobody");
});

test("a session whose creation got no answer is found again in the same request, whose proof is for no token", async () => {
  const store = faultyStore(memoryStore());
  const handler = withSession<Data>(
    async (_request, session) => {
      session.set("user", "ada");
      await session.save().catch(() => {});
      return new Response("hello");
    },
    { store, header: "X-Session-Id", plugins: [dpop()], now: clock },
  );
  const client = await HeaderClient.create(handler, clock);
  store.plan({ save: ["does it but rejects"] });
  expect((await client.send("/")).status).toBe(200);
  expect(client.id).toMatch(/^[\w-]{32}$/);
  expect(store.calls).toMatchObject({ save: 1 });
});

test("dpop() loads a session again after a failure without taking the proof for a replay", async () => {
  let failures = 1;
  const failing: Plugin = {
    name: "failing",
    admit() {
      if (failures-- > 0) throw new SessionError("ERR_STORE", "Cannot load the session: the store failed");
      return undefined;
    },
  };
  const handler = withSession<Data>(
    async (request, session) => {
      if (request.method === "POST") session.set("user", "ada");
      await session.size().catch(() => {});
      return new Response((await session.get("user")) ?? "nobody");
    },
    { header: "X-Session-Id", plugins: [dpop(), failing], now: clock },
  );
  const client = await HeaderClient.create(handler, clock);
  await client.send("/", { method: "POST" });
  expect(await (await client.send("/")).text()).toBe("ada");
  expect(failures).toBeLessThan(0);
});
