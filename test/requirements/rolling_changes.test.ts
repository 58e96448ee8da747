/**
 * Changes of options while servers are replaced one after the other: each sequence in docs/deploying.md, on a real Redis. A client's requests
 * alternate between a server of the old version and one of the new version.
 */
import assert from "node:assert/strict";
import { Pool } from "pg";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  memoryStore,
  type Plugin,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { encryption } from "../../src/encryption.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { postgresStore } from "../../src/stores/postgres.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { type CookieJar, cookieJar, fakeClock, kvSimulator } from "../../src/testing.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { type PostgresServer, startPostgres } from "../setup/postgres.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { PATIENCE, SHOP, visitor } from "../setup/sessions.ts";

interface Data {
  user?: string;
  count: number;
}

let engine: RedisServer;
let database: PostgresServer;
let first: Awaited<ReturnType<typeof connect>>;
let second: Awaited<ReturnType<typeof connect>>;
let pool: Pool;
let prefixes = 0;

beforeAll(async () => {
  [engine, database] = await Promise.all([startRedis(), startPostgres()]);
  [first, second] = await Promise.all([connect(), connect()]);
  pool = new Pool({ connectionString: database.url });
});
afterAll(async () => {
  first.destroy();
  second.destroy();
  await pool.end();
  await Promise.all([engine.stop(), database.stop()]);
});

async function connect() {
  return await createClient({ url: engine.url })
    .on("error", () => {})
    .connect();
}

/** The options of a version for one of two servers. Each server has its own connection. */
type Version = (store: SessionStore, client: typeof first) => SessionOptions<Data>;

/** A client, and the count that its session must have. */
interface Client {
  readonly jar: CookieJar;
  count: number;
}

type Server = SessionManager<Data>;

/** A rollout of several versions over two servers. */
class Rollout {
  readonly clients: Client[] = [];
  readonly clock = fakeClock(Date.now());
  readonly #isInCookie: boolean;
  readonly #prefix = `rolling${++prefixes}:`;

  constructor({ isInCookie = false } = {}) {
    this.#isInCookie = isInCookie;
  }

  /** Two servers of a version. */
  servers(version: Version): [Server, Server] {
    const [one, other] = [first, second].map((client) => {
      const options = version(redisStore(client, { prefix: this.#prefix }), client);
      return new SessionManager<Data>({ now: this.clock.now, storeTimeout: PATIENCE, ...options });
    });
    if (one === undefined || other === undefined) throw new Error("There must be two servers");
    return [one, other];
  }

  /** Runs each version on both servers, and each pair of consecutive versions side by side. */
  async roll(...versions: readonly Version[]): Promise<void> {
    let before: [Server, Server] | undefined;
    for (const version of versions) {
      const after = this.servers(version);
      if (before !== undefined) {
        await this.use([before[0], after[1]]);
        await this.use([after[0], before[1]]);
      }
      await this.use(after);
      before = after;
    }
  }

  /** Replaces both servers at once. */
  async replace(...versions: readonly Version[]): Promise<void> {
    for (const version of versions) await this.use(this.servers(version));
  }

  /** The requests of all clients while these two servers run. */
  async use(servers: readonly [Server, Server]): Promise<void> {
    for (const server of servers) this.clients.push(await this.begin(server));
    for (const client of this.clients) await this.visit(client, servers);
    await this.logOut(servers);
  }

  async begin(server: Server): Promise<Client> {
    const jar = cookieJar({ now: this.clock.now });
    const send = visitor<Data>(server, { jar });
    await send((session) => session.update("count", (n = 0) => n + 1));
    await send(async (session) => {
      await session.regenerate({ reauthenticated: true });
      session.set("user", "ada");
    });
    return { jar, count: 1 };
  }

  async visit(client: Client, servers: readonly [Server, Server]): Promise<void> {
    for (const server of [...servers, ...servers]) {
      const { result } = await visitor<Data>(server, { jar: client.jar })(async (session) => [
        await session.get("user"),
        await session.update("count", (n = 0) => n + 1),
      ]);
      assert.deepEqual(result, ["ada", ++client.count]);
    }
    await visitor<Data>(servers[0], { jar: client.jar })((session) => session.regenerate());
    if (this.#isInCookie) return;
    const sends = [...servers, ...servers].map((server) => visitor<Data>(server, { jar: client.jar }));
    const together = await Promise.all(
      sends.map((send) => send((session) => session.update("count", (n = 0) => n + 1))),
    );
    const counts = together.map(({ result }) => result).sort((a, b) => a - b);
    assert.deepEqual(
      counts,
      counts.map((_, at) => client.count + at + 1),
    );
    client.count += counts.length;
  }

  /** A logout on one server must count on the other. */
  async logOut(servers: readonly [Server, Server]): Promise<void> {
    if (this.#isInCookie) return;
    for (const [here, there] of [servers, [servers[1], servers[0]]] as const) {
      const client = await this.begin(here);
      await this.visit(client, servers);
      const kept = client.jar.cookies().map(({ name, value }) => `${name}=${value}`);
      await visitor<Data>(there, { jar: client.jar })((session) => session.destroy());
      for (const server of servers) {
        const { result } = await visitor<Data>(server)((session) => session.all(), {
          headers: { Cookie: kept.join("; ") },
        });
        assert.deepEqual(Object.keys(result), []);
      }
    }
  }
}

/** The error of a rollout in which a client was signed out or an update was lost. */
const REFUSED = { code: "ERR_ASSERTION" };

const OLD = "the secret of last year, which has more than 32 bytes";
const NEW = "the secret of this year, which has more than 32 bytes";
const MONTH = 2_592_000;

describe("a new secret, deployed as [old], [old, new], [new, old], and [new] after the longest session", () => {
  const secrets: Record<string, { isInCookie?: boolean; of(list: string[]): Version }> = {
    signedIds: { of: (list) => (store) => ({ store, ids: signedIds({ secrets: list }) }) },
    encryption: { of: (list) => (store) => ({ store, encryption: encryption({ secrets: list }) }) },
    cookieSessions: { isInCookie: true, of: (list) => () => ({ store: cookieSessions({ secrets: list }) }) },
  };

  test.each(Object.entries(secrets))("%s() signs nobody out and loses nothing", async (_name, { isInCookie, of }) => {
    const rollout = new Rollout({ isInCookie });
    await rollout.roll(of([OLD]), of([OLD, NEW]), of([NEW, OLD]));
    // The clients that take part in the second half began after the last session with the old secret has ended.
    rollout.clock.advance(MONTH + 1);
    rollout.clients.length = 0;
    await rollout.roll(of([NEW, OLD]), of([NEW]));
  });

  /** One client writes in Paris and reads in Tokyo, where the write becomes visible after a minute. Then the places change roles. */
  async function write(rounds: readonly (readonly [string[], string[]])[], wait: number): Promise<unknown[]> {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now, delay: 60, writeInterval: 1 });
    const jar = cookieJar({ now: clock.now });
    const at = (place: string, list: string[]) =>
      visitor<Data>(
        { store: cloudflareKvStore(kv.at(place)), plugins: [readYourWrites({ secrets: list })], now: clock.now },
        { jar },
      );
    const seen: unknown[] = [];
    let count = 0;
    for (const [paris, tokyo] of rounds) {
      for (const [here, there] of [
        [at("Paris", paris), at("Tokyo", tokyo)],
        [at("Tokyo", tokyo), at("Paris", paris)],
      ] as const) {
        count++;
        await here((session) => session.set("count", count));
        seen.push((await there((session) => session.get("count"))).result);
        clock.advance(2);
      }
      clock.advance(wait);
    }
    return seen;
  }

  test("readYourWrites() shows each write at the next place, two minutes being the longest session of its cookie", async () => {
    const steps = [
      [[OLD], [OLD]],
      [[OLD], [OLD, NEW]],
      [
        [OLD, NEW],
        [OLD, NEW],
      ],
      [
        [OLD, NEW],
        [NEW, OLD],
      ],
      [
        [NEW, OLD],
        [NEW, OLD],
      ],
    ] as const satisfies readonly (readonly [string[], string[]])[];
    expect(await write(steps, 0)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(
      await write(
        [
          [
            [NEW, OLD],
            [NEW, OLD],
          ],
          [[NEW], [NEW, OLD]],
          [[NEW], [NEW]],
        ],
        120,
      ),
    ).toEqual([1, 2, 3, 4, 5, 6]);
    // A place that cannot verify the other place's cookie shows the older state.
    expect(
      await write(
        [
          [[OLD], [OLD]],
          [[OLD], [NEW, OLD]],
        ],
        0,
      ),
    ).not.toEqual([1, 2, 3, 4]);
  });

  test("[new, old] beside [old] signs out: the step between is needed", async () => {
    const of =
      (list: string[]): Version =>
      (store) => ({ store, ids: signedIds({ secrets: list }) });
    await expect(new Rollout().roll(of([OLD]), of([NEW, OLD]))).rejects.toMatchObject(REFUSED);
  });
});

describe("a capability that is switched on while servers are replaced", () => {
  const signed = signedIds({ secrets: [NEW], acceptUnsigned: true });
  const encrypted = encryption({ secrets: [NEW], acceptPlain: true });
  const without: Version = (store) => ({ store });
  const readsSigned: Version = (store) => ({ store, ids: { ...signed, toToken: (id) => id } });
  const signs: Version = (store) => ({ store, ids: signed });
  const readsEncrypted: Version = (store) => ({ store, encryption: { ...encrypted, seal: (fields) => fields } });
  const encrypts: Version = (store) => ({ store, encryption: encrypted });

  test("signedIds(): first a version that reads signed ids and makes unsigned ones", async () => {
    await new Rollout().roll(without, readsSigned, signs);
  });

  test("signedIds() off: the same way back", async () => {
    // Each response replaces a signed id by an unsigned one.
    await new Rollout().roll(signs, readsSigned, without);
  });

  test("encryption(): first a version that reads encrypted records and writes plain ones", async () => {
    await new Rollout().roll(without, readsEncrypted, encrypts);
  });

  test("encryption() off: the same way back, and each record is plain after its next change", async () => {
    await new Rollout().roll(encrypts, readsEncrypted, without);
  });

  /** Two servers on one store take turns. Each one reads what the other has written, and writes a value that sorts before that. */
  async function takeTurns(...plugins: readonly [Plugin[], Plugin[]]): Promise<unknown[]> {
    const clock = fakeClock();
    const jar = cookieJar({ now: clock.now });
    const store = memoryStore();
    const [one, other] = plugins.map((each) => visitor({ store, plugins: each, now: clock.now }, { jar }));
    if (one === undefined || other === undefined) throw new Error("There are two");
    const seen: unknown[] = [];
    for (const [value, send] of [
      ["d", one],
      ["c", other],
      ["b", one],
      ["a", other],
      ["-", one],
    ] as const) {
      const { result } = await send(async (session) => {
        const before = await session.get("value");
        session.set("value", value);
        return before;
      });
      seen.push(result);
      clock.advance(1);
    }
    return seen;
  }

  test("readYourWrites(): first a version that notes its writes in the store and sends no cookie, also on the way back", async () => {
    const full = readYourWrites({ secrets: [NEW] });
    const notes: Plugin = { ...full, respond: () => {} };
    const all = [undefined, "d", "c", "b", "a"];
    for (const pair of [
      [[], [notes]],
      [[notes], []],
      [[notes], [full]],
      [[full], [notes]],
    ] as const)
      expect(await takeTurns([...pair[0]], [...pair[1]])).toEqual(all);
    // Without that version, the client's cookie undoes what a server without the plugin has written.
    expect(await takeTurns([full], [])).not.toEqual(all);
  });

  test.each([
    ["signedIds", signs],
    ["encryption", encrypts],
  ])("%s() without that version keeps everybody if all servers are replaced at once", async (_name, version) => {
    await new Rollout().replace(without, version);
    await expect(new Rollout().roll(without, version)).rejects.toMatchObject(REFUSED);
  });

  test("userSessions(): the records of bound users serve both, and a revocation counts on both", async () => {
    const rollout = new Rollout();
    await rollout.roll(without, (store) => ({ store, plugins: [userSessions()] }));
    const [before] = rollout.servers(without);
    const ofServers = [userSessions(), userSessions()];
    const users = ofServers[1] ?? userSessions();
    const [, after] = rollout.servers((store) => ({ store, plugins: ofServers.splice(0, 1) }));
    const bound = await rollout.begin(after);
    await visitor<Data>(after, { jar: bound.jar })((session) => users.bind(session, "ada"));
    await rollout.visit(bound, [before, after]);
    expect(await users.list("ada")).toHaveLength(1);
    expect(await users.revokeAll("ada")).toBe(1);
    for (const server of [before, after]) {
      expect((await visitor<Data>(server, { jar: bound.jar })((session) => session.all())).result).toEqual({});
    }
  });
});

describe("another cookie while servers are replaced", () => {
  const domain = "shop.example";
  const host: Version = (store) => ({ store });
  const readsBoth: Version = (store) => ({ store, cookie: { previous: [{ name: "__Secure-shop", domain }] } });
  const wide: Version = (store) => ({
    store,
    cookie: { name: "__Secure-shop", domain, previous: [{ name: "__Host-session" }] },
  });

  test("first a version that writes the old one and names the new one in `previous`", async () => {
    await new Rollout().roll(host, readsBoth, wide);
  });

  test.each<[string, Version, boolean]>([
    ["ids", (store) => ({ store }), false],
    ["signed ids", (store) => ({ store, ids: signedIds({ secrets: [NEW] }) }), false],
    ["sessions in the cookie", () => ({ store: cookieSessions({ secrets: [NEW] }) }), true],
  ])("requests at once on servers of both versions sign nobody out: %s", async (_name, of, isInCookie) => {
    const rollout = new Rollout({ isInCookie });
    const servers = [readsBoth, wide].map(
      (version) => rollout.servers((store, client) => ({ ...version(store, client), ...of(store, client) }))[0],
    );
    const [before, after] = servers;
    if (before === undefined || after === undefined) throw new Error("There are two");
    const { jar } = await rollout.begin(before);
    /** Two requests with the same cookies. Both sessions are loaded before one is stored, and the responses arrive in this order. */
    const atOnce = async (...order: readonly Server[]): Promise<void> => {
      const Cookie = jar.header(SHOP) ?? "";
      let loaded = 0;
      const both = Promise.withResolvers<void>();
      const answers = order.map((server) =>
        withSession<Data>(async (_request, session) => {
          const user = await session.get("user");
          if (++loaded === order.length) both.resolve();
          await both.promise;
          return new Response(user);
        }, server)(new Request(SHOP, { headers: { Cookie } })),
      );
      for (const response of await Promise.all(answers)) {
        expect(await response.text()).toBe("ada");
        jar.store(SHOP, response);
      }
    };
    // Each server renews the cookie under its own name, because the session was not used for a while.
    rollout.clock.advance(10_000);
    await atOnce(after, before);
    expect(jar.cookies()).toHaveLength(2);
    for (const order of [
      [before, after],
      [after, before],
      [before, after],
    ])
      await atOnce(...order);
    rollout.clock.advance(10_000);
    await atOnce(before, after);
    await atOnce(after, before);
    await visitor<Data>(after, { jar })((session) => session.set("count", 2));
    expect((await visitor<Data>(before, { jar })((session) => session.all())).result).toEqual({
      user: "ada",
      count: 2,
    });
  });

  test("without that version, servers of before do not know the new cookie; all at once keeps everybody", async () => {
    await new Rollout().replace(host, wide);
    await expect(new Rollout().roll(host, wide)).rejects.toMatchObject(REFUSED);
  });
});

describe("other timeouts while servers are replaced", () => {
  const HOUR = 3600;
  const DAY = 24 * HOUR;

  /** A client that comes every ten minutes and only reads. It alternates between the two servers. */
  async function read(client: Client, servers: readonly [Server, Server], rollout: Rollout, hours: number) {
    for (let visit = 0; visit < hours * 6; visit++) {
      rollout.clock.advance(600);
      const send = visitor<Data>(servers[visit % 2] ?? servers[0], { jar: client.jar });
      assert.equal((await send((session) => session.get("user"))).result, "ada");
    }
  }
  const idle =
    (idleTimeout: number, more: SessionOptions<Data> = {}): Version =>
    (store) => ({ store, idleTimeout, ...more });

  test.each([
    ["a longer idle timeout with the old touchInterval", idle(HOUR), idle(DAY, { touchInterval: HOUR / 10 })],
    ["the touchInterval of a longer idle timeout, later,", idle(DAY, { touchInterval: HOUR / 10 }), idle(DAY)],
    ["a longer absolute timeout", idle(HOUR), idle(HOUR, { absoluteTimeout: 2 * MONTH })],
    ["an idle timeout that is shorter, but longer than the old touchInterval", idle(DAY), idle(DAY / 4)],
  ])("%s keeps who comes", async (_name, before, after) => {
    const rollout = new Rollout();
    const [one, other] = [rollout.servers(before), rollout.servers(after)];
    const client = await rollout.begin(one[0]);
    await read(client, one, rollout, 2);
    await read(client, [one[0], other[1]], rollout, 2);
    await read(client, other, rollout, 2);
    await rollout.roll(before, after);
  });

  test("an idle timeout below the old touchInterval: first a version that touches often", async () => {
    const rollout = new Rollout();
    const versions = [idle(DAY), idle(DAY, { touchInterval: HOUR / 10 }), idle(HOUR)].map((each) =>
      rollout.servers(each),
    );
    const [before, between, after] = versions;
    if (before === undefined || between === undefined || after === undefined) throw new Error("There are three");
    const client = await rollout.begin(before[0]);
    await read(client, before, rollout, 2);
    await read(client, [before[0], between[1]], rollout, 1);
    await read(client, between, rollout, 1);
    await read(client, [between[0], after[1]], rollout, 2);
    await read(client, after, rollout, 2);
  });

  test.each([
    ["shorter", idle(DAY), idle(HOUR)],
    ["longer", idle(HOUR), idle(DAY)],
  ])("an idle timeout that is %s, without that version: an active user may look idle", async (_name, was, is) => {
    const rollout = new Rollout();
    const [before, after] = [rollout.servers(was), rollout.servers(is)];
    const client = await rollout.begin(before[0]);
    await read(client, before, rollout, 2);
    await expect(read(client, after, rollout, 2)).rejects.toMatchObject(REFUSED);
  });
});

describe("another store, or another layout of the same one, on all servers at once", () => {
  let places = 0;
  const moves: Record<
    string,
    () => { from: (client: typeof first) => SessionStore; to: (client: typeof first) => SessionStore }
  > = {
    "from a value to a hash of Redis": () => {
      const at = ++places;
      return {
        from: (client) => redisStore(client, { prefix: `value${at}:` }),
        to: (client) => redisStore(client, { prefix: `hash${at}:`, layout: "hash" }),
      };
    },
    "from Redis to PostgreSQL": () => {
      const at = ++places;
      return {
        from: (client) => redisStore(client, { prefix: `moving${at}:` }),
        to: () => postgresStore(pool, { table: `moved${at}` }),
      };
    },
  };

  test.each(Object.entries(moves))("%s: nobody is signed out and nothing is lost", async (_name, open) => {
    const { from, to } = open();
    const rollout = new Rollout();
    const migrating: Version = (_store, client) => ({ store: migratingStore(from(client), to(client)) });
    const sleeper = await rollout.begin(rollout.servers((_store, client) => ({ store: from(client) }))[0]);
    await rollout.replace((_store, client) => ({ store: from(client) }), migrating, migrating);
    // A session that was not used during the move is moved at its next request.
    await rollout.visit(sleeper, rollout.servers(migrating));
    rollout.clients.push(sleeper);
    await rollout.roll(migrating, (_store, client) => ({ store: to(client) }));
  });

  test.each(Object.entries(moves))("%s, and back: nobody is signed out and nothing is lost", async (_name, open) => {
    const { from, to } = open();
    const rollout = new Rollout();
    const before: Version = (_store, client) => ({ store: from(client) });
    const forth: Version = (_store, client) => ({ store: migratingStore(from(client), to(client)) });
    const back: Version = (_store, client) => ({ store: migratingStore(to(client), from(client)) });
    await rollout.replace(before, forth, back);
    await rollout.roll(back, before);
  });

  test.each(Object.entries(moves))(
    "%s: a server of before does not find a session that was moved",
    async (_name, open) => {
      const { from, to } = open();
      const rollout = new Rollout();
      await expect(
        rollout.roll(
          (_store, client) => ({ store: from(client) }),
          (_store, client) => ({ store: migratingStore(from(client), to(client)) }),
        ),
      ).rejects.toMatchObject(REFUSED);
    },
  );
});
