import { decodeJwt } from "jose";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { type SessionOptions, withSession } from "../../mod.ts";
import { dpop } from "../../src/dpop.ts";
import { dpopClient, type DpopClientOptions, type DpopState, type DpopStorage } from "../../src/dpop_client.ts";

const ORIGIN = "https://api.example";
let now = 0;
const clock = (): number => now;

beforeEach(() => {
  now = 1_700_000_000_000;
});

interface Data {
  n?: number;
}

interface Server {
  readonly seen: Request[];
  readonly statuses: number[];
  readonly send: (request: Request) => Promise<Response>;
}

function server(options: SessionOptions<Data> = {}): Server {
  const seen: Request[] = [];
  const statuses: number[] = [];
  const plugin = dpop();
  const handler = withSession<Data>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/echo") return new Response(`${(await session.get("n")) ?? "none"} ${await request.text()}`);
      if (pathname === "/renew") await session.regenerate();
      if (pathname === "/logout") return await session.destroy().then(() => new Response("bye"));
      const n = await session.update("n", (n = 0) => n + 1);
      return Response.json({ n, key: await plugin.thumbprint(session) });
    },
    { header: "X-Session-Id", now: clock, ...options, plugins: [plugin] },
  );
  const send = async (request: Request): Promise<Response> => {
    seen.push(request.clone());
    const response = await handler(request);
    statuses.push(response.status);
    return response;
  };
  return { seen, statuses, send };
}

function client({ send }: Server, options: DpopClientOptions = {}): ReturnType<typeof dpopClient> {
  return dpopClient(ORIGIN, { fetch: send, now: clock, ...options });
}

test("dpopClient() keeps one session over requests, and proves each of them with the key that it names", async () => {
  const api = server();
  const { fetch, thumbprint } = client(api);
  for (let n = 1; n <= 5; n++) {
    const answer = await (await fetch(`/count?n=${n}#part`)).json();
    expect(answer).toEqual({ n, key: n === 1 ? null : await thumbprint() });
  }
  expect(api.statuses).toEqual([200, 200, 200, 200, 200]);
  expect(new Set(api.seen.map(({ headers }) => headers.get("DPoP"))).size).toBe(5);
  expect(api.seen.map(({ headers }) => headers.get("X-Session-Id") === "")).toEqual([true, false, false, false, false]);
});

test("dpopClient() sends a request again, with its body, when the server asks for a new nonce", async () => {
  const api = server();
  const { fetch } = client(api);
  await fetch("/count");
  now += 700_000;
  expect(await (await fetch("/echo", { method: "POST", body: "a body" })).text()).toBe("1 a body");
  expect(api.statuses).toEqual([200, 401, 200]);
  expect(
    await (
      await fetch("/echo", { method: "POST", body: new Blob(["another"]).stream(), duplex: "half" } as RequestInit)
    ).text(),
  ).toBe("1 another");
});

test("dpopClient() sends a request once more and not for ever", async () => {
  let calls = 0;
  const refusing = async (): Promise<Response> => {
    const headers = { "DPoP-Nonce": `nonce-${++calls}`, "WWW-Authenticate": 'DPoP error="use_dpop_nonce"' };
    return await Promise.resolve(new Response("no", { status: 401, headers }));
  };
  const { fetch } = dpopClient(ORIGIN, { fetch: refusing });
  expect((await fetch("/")).status).toBe(401);
  expect(calls).toBe(2);
});

test("dpopClient() lets a 401 of the program pass", async () => {
  let calls = 0;
  const { fetch } = dpopClient(ORIGIN, {
    fetch: async () =>
      await Promise.resolve(new Response(`${++calls}`, { status: 401, headers: { "DPoP-Nonce": "n" } })),
  });
  expect(await (await fetch("/")).text()).toBe("1");
});

test.each([
  [401, 'Basic realm="shop"'],
  [200, 'DPoP error="use_dpop_nonce"'],
  [403, 'DPoP error="use_dpop_nonce"'],
])("dpopClient() sends nothing again after a %i with %s", async (status, challenge) => {
  let calls = 0;
  const headers = { "DPoP-Nonce": "n", "WWW-Authenticate": challenge };
  const { fetch } = dpopClient(ORIGIN, {
    fetch: async () => await Promise.resolve(new Response(`${++calls}`, { status, headers })),
  });
  expect(await (await fetch("/")).text()).toBe("1");
});

test("dpopClient() says in a proof what it is for, and when it was made", async () => {
  const api = server();
  const { fetch } = client(api);
  for (let times = 0; times < 2; times++) await fetch("/count?n=1#part", { method: "POST" });
  const [first, second] = api.seen.map(({ headers }) => decodeJwt(headers.get("DPoP") ?? ""));
  const both = { htm: "POST", htu: `${ORIGIN}/count`, iat: now / 1000, jti: expect.stringMatching(/^[\w-]{36}$/) };
  expect(first).toEqual(both);
  expect(second).toEqual({ ...both, ath: expect.stringMatching(/^[\w-]{43}$/), nonce: expect.any(String) });
});

test("dpopClient() sends requests at once when the session is known", async () => {
  const api = server();
  const { promise, resolve } = Promise.withResolvers<void>();
  const { fetch } = client(api, {
    fetch: async (request) => {
      if (request.url.endsWith("/slow")) await promise;
      return await api.send(request);
    },
  });
  await fetch("/count");
  const slow = fetch("/slow");
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 2 });
  resolve();
  expect(await (await slow).json()).toMatchObject({ n: 3 });
});

test("dpopClient() uses the runtime's fetch, unless it is given another one", async () => {
  const api = server();
  vi.stubGlobal("fetch", api.send);
  onTestFinished(() => void vi.unstubAllGlobals());
  const { fetch } = dpopClient(ORIGIN, { now: clock });
  await fetch("/count");
  expect(await (await fetch(new Request(`${ORIGIN}/count`, { method: "POST" }))).json()).toMatchObject({ n: 2 });
  expect(api.seen.map(({ method, url }) => [method, url])).toEqual([
    ["GET", `${ORIGIN}/count`],
    ["POST", `${ORIGIN}/count`],
  ]);
});

test("dpopClient() begins one session when several first requests are sent at once", async () => {
  const api = server();
  const { fetch } = client(api);
  const answers = await Promise.all(Array.from({ length: 10 }, async () => await (await fetch("/count")).text()));
  expect(answers.map((each) => Number(/\d+/.exec(each)?.[0])).toSorted((a, b) => a - b)).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  ]);
  expect(api.seen.filter(({ headers }) => headers.get("X-Session-Id") === "")).toHaveLength(1);
});

test("dpopClient() begins one session when several requests are sent at once after a logout", async () => {
  const api = server();
  const { fetch } = client(api);
  await fetch("/count");
  await fetch("/logout");
  api.seen.length = 0;
  const answers = await Promise.all([1, 2, 3].map(async () => await (await fetch("/count")).text()));
  expect(answers.map((each) => Number(/\d+/.exec(each)?.[0])).toSorted()).toEqual([1, 2, 3]);
  expect(api.seen.filter(({ headers }) => headers.get("X-Session-Id") === "")).toHaveLength(1);
});

test("dpopClient() goes on when the first request fails", async () => {
  const api = server();
  let isDown = true;
  const { fetch } = client(api, {
    fetch: async (request) => (isDown ? await Promise.reject(new TypeError("fetch failed")) : await api.send(request)),
  });
  await expect(fetch("/count")).rejects.toThrow("fetch failed");
  isDown = false;
  expect((await fetch("/count")).status).toBe(200);
});

test("dpopClient() ends the wait for the first request when the signal of a call aborts, and does not send the call later", async () => {
  const api = server();
  const { promise, resolve } = Promise.withResolvers<void>();
  const { fetch } = client(api, {
    fetch: async (request) => {
      await promise;
      return await api.send(request);
    },
  });
  const first = fetch("/count?first");
  const controller = new AbortController();
  const waiting = fetch("/count?waiting", { signal: controller.signal });
  const early = fetch("/count?early", { signal: AbortSignal.abort(new Error("before the call")) });
  await expect(early).rejects.toThrow("before the call");
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  const later = fetch("/count?later");
  resolve();
  expect(await (await first).json()).toMatchObject({ n: 1 });
  expect(await (await later).json()).toMatchObject({ n: 2 });
  expect(api.seen.map(({ url }) => new URL(url).search)).toEqual(["?first", "?later"]);
});

test("dpopClient() follows a renewed id, and forgets it at logout", async () => {
  const api = server({ rotateEvery: 60 });
  const { fetch } = client(api);
  await fetch("/count");
  await fetch("/renew");
  now += 100_000;
  for (const n of [3, 4, 5]) expect(await (await fetch("/count")).json()).toMatchObject({ n });
  await fetch("/logout");
  // A nonce is valid for its session under each of its ids, and for no other one.
  expect(api.statuses).not.toContain(401);
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 1 });
  expect(api.seen.at(-1)?.headers.get("X-Session-Id")).toBe("");
  expect(decodeJwt(api.seen.at(-1)?.headers.get("DPoP") ?? "")).not.toHaveProperty("nonce");
});

test("dpopClient() needs no session, and no nonce", async () => {
  const api = server();
  const { fetch } = client(api);
  expect(await (await fetch("/echo")).text()).toBe("none ");
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 1 });
});

test("dpopClient() takes the new id of a login that overlaps with a renewal by age", async () => {
  const api = server({ rotateEvery: 60 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const { fetch } = client(api, {
    fetch: async (request) => {
      if (request.url.endsWith("/renew")) await promise;
      return await api.send(request);
    },
  });
  await fetch("/count");
  await fetch("/count");
  now += 61_000;
  const login = fetch("/renew");
  await fetch("/count");
  resolve();
  await login;
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 5 });
  expect(new Set(api.seen.map(({ headers }) => headers.get("X-Session-Id"))).size).toBe(3);
});

test("dpopClient() speaks Authorization with a scheme, if the server does", async () => {
  const header = { name: "Authorization", scheme: "Bearer" } as const;
  const api = server({ header });
  const { fetch } = client(api, { header });
  await fetch("/count");
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 2 });
  expect(api.seen[1]?.headers.get("Authorization")).toMatch(/^Bearer [\w-]{32}$/);
});

test("dpopClient() gives id and proof to its own origin alone, and follows no redirect with them", async () => {
  const api = server();
  const { fetch } = client(api);
  await fetch("/count");
  await fetch(new Request(`${ORIGIN}/count`));
  for (const other of ["https://evil.example/", "http://api.example/", "https://api.example:8443/"]) await fetch(other);
  expect(api.seen.map(({ headers }) => headers.has("DPoP"))).toEqual([true, true, false, false, false]);
  expect(api.seen.map(({ headers }) => headers.has("X-Session-Id"))).toEqual([true, true, false, false, false]);
  expect(api.seen.slice(0, 2).map(({ redirect, credentials }) => [redirect, credentials])).toEqual([
    ["manual", "omit"],
    ["manual", "omit"],
  ]);
  await fetch("/count", { redirect: "follow", credentials: "include" });
  expect([api.seen.at(-1)?.redirect, api.seen.at(-1)?.credentials]).toEqual(["manual", "include"]);
});

test("dpopClient() shares a session through a storage, whose private key cannot be read", async () => {
  let kept: DpopState | undefined;
  const storage: DpopStorage = {
    load: async () => await Promise.resolve(kept),
    save: async (state) => {
      kept = await Promise.resolve(state);
    },
  };
  const api = server();
  const [here, there] = [client(api, { storage }), client(api, { storage })];
  await here.fetch("/count");
  expect((await (await there.fetch("/count")).json()) as unknown).toMatchObject({ n: 2 });
  expect(await here.thumbprint()).toBe(await there.thumbprint());
  await there.fetch("/renew");
  expect(await (await here.fetch("/count")).json()).toMatchObject({ n: 4 });
  expect(kept?.keys.privateKey.extractable).toBe(false);
  await expect(crypto.subtle.exportKey("jwk", kept!.keys.privateKey)).rejects.toThrow();
  await there.fetch("/logout");
  expect(kept?.id).toBeNull();
  const before = await here.thumbprint();
  await there.forget();
  expect(kept).toBeUndefined();
  expect(await here.thumbprint()).not.toBe(before);
  expect(await (await here.fetch("/count")).json()).toMatchObject({ n: 1 });
});

/** A storage, and what it keeps. */
function openStorage(): { kept: DpopState | undefined; readonly storage: DpopStorage } {
  const opened = {
    kept: undefined as DpopState | undefined,
    storage: {
      load: async () => await Promise.resolve(opened.kept),
      save: async (state: DpopState | undefined) => {
        opened.kept = await Promise.resolve(state);
      },
    },
  };
  return opened;
}

test("dpopClient() goes on in a session that another page of the storage has begun after a logout", async () => {
  const { storage } = openStorage();
  const api = server();
  const [here, there] = [client(api, { storage }), client(api, { storage })];
  await here.fetch("/count");
  await there.fetch("/count");
  await here.fetch("/logout");
  await here.fetch("/count");
  expect(await (await here.fetch("/count")).json()).toMatchObject({ n: 2 });
  expect(await (await there.fetch("/count")).json()).toMatchObject({ n: 3 });
  expect(await (await here.fetch("/count")).json()).toMatchObject({ n: 4 });
});

/** A client whose requests to an address that ends with `slow` get their answer when the test says so. */
function slowClient(api: Server, storage: DpopStorage) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const made = client(api, {
    storage,
    fetch: async (request) => {
      const response = await api.send(request);
      if (request.url.endsWith("slow")) await promise;
      return response;
    },
  });
  return { ...made, answer: resolve };
}

test("forget() keeps out what a request brings that was under way", async () => {
  for (const isOther of [false, true]) {
    const opened = openStorage();
    const api = server({ rotateEvery: 60 });
    const { fetch, forget, answer } = slowClient(api, opened.storage);
    await fetch("/count");
    await fetch("/count");
    now += 61_000;
    const slow = fetch("/slow");
    await vi.waitFor(() => expect(api.statuses).toHaveLength(3));
    // By another page as well.
    await (isOther ? client(api, { storage: opened.storage }).forget() : forget());
    answer();
    expect((await slow).headers.get("X-Session-Id")).toMatch(/^[\w-]{32}$/);
    expect(opened.kept).toBeUndefined();
    expect(await (await fetch("/count")).json()).toMatchObject({ n: 1 });
  }
});

test("forget() keeps out what a request brings whose state was being loaded", async () => {
  const opened = openStorage();
  const api = server();
  await client(api, { storage: opened.storage }).fetch("/count");
  const { promise, resolve } = Promise.withResolvers<void>();
  const { load, save } = opened.storage;
  let isSlow = true;
  const slow = async (): Promise<DpopState | undefined> => {
    const state = await load();
    if (isSlow) await promise;
    return state;
  };
  const { fetch, forget, thumbprint } = client(api, { storage: { load: slow, save } });
  const renewal = fetch("/renew");
  await forget();
  isSlow = false;
  await thumbprint();
  resolve();
  await renewal;
  expect(opened.kept?.id).toBeNull();
});

test("forget() keeps out the nonce that a request brings that was under way", async () => {
  const api = server();
  const { fetch, forget, answer } = slowClient(api, openStorage().storage);
  await fetch("/count");
  now += 200_000;
  const slow = fetch("/slow");
  await vi.waitFor(() => expect(api.statuses).toHaveLength(2));
  await forget();
  await fetch("/count");
  answer();
  expect((await slow).headers.has("DPoP-Nonce")).toBe(true);
  await fetch("/count");
  expect(api.statuses).toEqual([200, 200, 200, 200]);
});

test("forget() keeps out an id that is about to be stored", async () => {
  const opened = openStorage();
  const { load, save } = opened.storage;
  const { promise, resolve } = Promise.withResolvers<void>();
  let loads = 0;
  const slow = async (): Promise<DpopState | undefined> => {
    const state = await load();
    if (++loads === 3) await promise;
    return state;
  };
  const { fetch, forget } = client(server(), { storage: { load: slow, save } });
  const first = fetch("/count");
  await vi.waitFor(() => expect(loads).toBe(3));
  await forget();
  resolve();
  expect((await first).headers.get("X-Session-Id")).toMatch(/^[\w-]{32}$/);
  expect(opened.kept).toBeUndefined();
});

test("forget() keeps out what a first request brings, also if the next client has a key already", async () => {
  const opened = openStorage();
  const api = server();
  const { fetch, forget, thumbprint, answer } = slowClient(api, opened.storage);
  const slow = fetch("/slow");
  await vi.waitFor(() => expect(api.statuses).toHaveLength(1));
  await forget();
  const next = await thumbprint();
  answer();
  await slow;
  expect([opened.kept?.id, await thumbprint()]).toEqual([null, next]);
});

test("dpopClient() keeps the id of a new session when the answer that the old one has ended arrives late", async () => {
  const opened = openStorage();
  const api = server();
  const { fetch, answer } = slowClient(api, opened.storage);
  const other = client(api, { storage: opened.storage });
  await fetch("/count");
  const first = opened.kept!;
  await other.fetch("/logout");
  opened.kept = first;
  const slow = fetch("/echo?slow");
  await vi.waitFor(() => expect(api.statuses).toHaveLength(3));
  opened.kept = { ...first, id: null };
  await other.fetch("/count");
  answer();
  expect((await slow).headers.get("X-Session-Id")).toBe("");
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 2 });
});

test("dpopClient() stays in the session of another page, with its nonce, when an answer of the former session arrives late", async () => {
  const [opened, second] = [openStorage(), openStorage()];
  const api = server();
  const { fetch, answer } = slowClient(api, opened.storage);
  await fetch("/count");
  const slow = fetch("/slow");
  await vi.waitFor(() => expect(api.statuses).toHaveLength(2));
  await client(api, { storage: second.storage }).fetch("/count");
  opened.kept = second.kept;
  await fetch("/count");
  expect(api.statuses).toEqual([200, 200, 200, 401, 200]);
  answer();
  await slow;
  expect(await (await fetch("/count")).json()).toMatchObject({ n: 3 });
  expect(api.statuses.slice(5)).toEqual([200]);
});

test("dpopClient() makes one key, however many first calls there are", async () => {
  const opened = openStorage();
  const api = server();
  const { fetch, thumbprint } = client(api, { storage: opened.storage });
  const calls = [thumbprint(), fetch("/count"), thumbprint(), fetch("/count"), thumbprint()] as const;
  const [one, , two, , three] = await Promise.all(calls);
  expect(new Set([one, two, three, await thumbprint()]).size).toBe(1);
});

test.each([
  ["", {}],
  ["api.example", {}],
  ["https://api.example/v1", {}],
  ["https://api.example?x", {}],
  ["data:,", {}],
  ["null", {}],
  [ORIGIN, { headers: {} }],
  [ORIGIN, { header: "" }],
  [ORIGIN, { header: "X Session" }],
  [ORIGIN, { header: "X-Session:" }],
  [ORIGIN, { header: ":X-Session" }],
  [ORIGIN, { header: 7 }],
  [ORIGIN, { header: { name: 7 } }],
  [ORIGIN, { header: { name: ["X-Session"] } }],
  [ORIGIN, { header: { name: "X-Session", scheme: "Basic" } }],
  [ORIGIN, { fetch: {} }],
  [ORIGIN, { now: 7 }],
  [ORIGIN, { storage: {} }],
  [ORIGIN, { storage: null }],
  [ORIGIN, { storage: { load: () => Promise.resolve() } }],
  [ORIGIN, { storage: { save: () => Promise.resolve() } }],
])("dpopClient(%j, %j) is refused", (origin, options) => {
  const make = () => Reflect.apply(dpopClient, undefined, [origin, options]);
  expect(make).toThrow(TypeError);
  expect(make).toThrow("dpopClient");
});

test("dpopClient() sends with the runtime's fetch, as it is when the request is sent", async () => {
  const made = server();
  const own = dpopClient(ORIGIN, { now: clock });
  vi.stubGlobal("fetch", made.send);
  onTestFinished(() => void vi.unstubAllGlobals());
  expect((await own.fetch("/count")).status).toBe(200);
  expect(made.seen.map(({ url }) => url)).toEqual([`${ORIGIN}/count`]);
});

test("dpopClient() takes an origin as a URL, or with a slash at its end", () => {
  expect(() => dpopClient(new URL("https://api.example"))).not.toThrow();
  expect(() => dpopClient("http://localhost:3000/")).not.toThrow();
});
