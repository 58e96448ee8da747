import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { createClient } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { memoryStore, type Session, SessionError, type SessionEvent } from "../../mod.ts";
import type { SessionManager, SessionOptions, SessionStore } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { csrfToken } from "../../src/csrf.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fileStore } from "../../src/stores/file.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { cookieJar } from "../../src/testing.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { startRedis } from "../setup/redis.ts";
import {
  altered,
  cookieOf,
  errorOf,
  idIn,
  keyOf,
  openStore,
  temporaryDirectory,
  VERBS,
  visitor,
} from "../setup/sessions.ts";

const secret = "a secret of at least thirty-two bytes";
const ids = signedIds({ secrets: [secret] });
/** Sends one request of a client that has only this cookie. */
const present = async <Result>(
  options: SessionOptions | SessionManager,
  Cookie: string,
  use: (session: Session) => Result | Promise<Result>,
): Promise<Result> => (await visitor(options, { jar: cookieJar() })(use, { headers: { Cookie } })).result;
/** A text in which one character was changed into another one of the same alphabet. */
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);

describe("a dump of the store", () => {
  const NAMES = ["shoe size", "a key of the data"];
  const VALUES = ["ada@shop.example", "forty-two and a half"];
  const [USER, DEVICE] = ["user 1815 of the shop", "Firefox in Paris"];

  /** All writes in the life of a session. Returns every id that a client has received. */
  async function live(options: SessionOptions, dump: () => Promise<string>): Promise<{ ids: string[]; dumps: string }> {
    const users = userSessions<{ device: string }>();
    const visit = visitor({ ...options, plugins: [users] });
    const ids: string[] = [];
    let dumps = "";
    const steps: ((session: Session) => unknown)[] = [
      (session) => session.set({ [NAMES[0]!]: VALUES[0], [NAMES[1]!]: [VALUES[1]] }),
      (session) => session.flash("notice", VALUES[0]),
      (session) => session.update(NAMES[1]!, (list: string[] = []) => [...list, "more"]),
      (session) => session.regenerate({ grace: 60 }),
      (session) => session.setTimeouts({ idle: 50 }),
      (session) => csrfToken(session),
      (session) => session.touch(),
      (session) => users.bind(session, USER, { device: DEVICE }),
      (session) => session.regenerate(),
    ];
    for (const step of steps) {
      await visit(step);
      const id = (await visit((session) => session.id())).result ?? "";
      ids.push(id, id.split(".")[0] ?? "");
      dumps += await dump();
    }
    await visit((session) => session.destroy());
    return { ids, dumps: dumps + (await dump()) };
  }

  async function places(): Promise<Record<string, { store: SessionStore; dump: () => Promise<string> }>> {
    const { store, records } = openStore();
    const directory = await temporaryDirectory();
    const server = await startRedis();
    const client = createClient({ url: server.url });
    await client.connect();
    onTestFinished(async () => {
      client.destroy();
      await server.stop();
    });
    const files = async (): Promise<string> => {
      const names = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) =>
        entry.isFile(),
      );
      const texts = await Promise.all(names.map(({ parentPath, name }) => readFile(join(parentPath, name), "utf8")));
      return names.map(({ name }) => name).join("\n") + texts.join("\n");
    };
    const redis = async (): Promise<string> => {
      const keys = await client.keys("*");
      const all = keys.map(async (key) => [
        key,
        (await client.type(key)) === "hash" ? await client.hGetAll(key) : await client.get(key),
      ]);
      return JSON.stringify(await Promise.all(all));
    };
    return {
      "memory": { store, dump: async () => JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields])) },
      "file": { store: fileStore({ directory }), dump: files },
      "redis": { store: redisStore(client, { prefix: "value:" }), dump: redis },
      "redis hash": { store: redisStore(client, { prefix: "hash:", layout: "hash" }), dump: redis },
    };
  }

  test.each<[string, SessionOptions]>([
    ["plain", {}],
    ["signed ids", { ids }],
    ["encryption", { encryption: encryption() }],
    ["signed ids and encryption by secrets", { ids, encryption: encryption({ secrets: [secret] }) }],
  ])(
    "[ASVS 11.4.1] [NIST 5.1] holds no id, and with encryption neither data nor keys, in memory, files and Redis: %s",
    async (_, options) => {
      for (const [name, { store, dump }] of Object.entries(await places())) {
        const { ids, dumps } = await live({ ...options, store }, dump);
        const data = [...NAMES, ...VALUES, "notice"];
        const secret = options.encryption === undefined ? [] : [...data, USER, DEVICE];
        const isThere = (word: string): boolean => word === "" || dumps.includes(word);
        expect({ name, found: [...ids, ...secret].filter(isThere) }).toEqual({ name, found: [] });
        if (options.encryption === undefined) expect(data.filter(isThere)).toEqual(data);
        // The test searches the right dump: it contains what must be there. The metadata of a record contain half of its key.
        expect(dumps).toContain(keyOf(ids.at(-1) ?? "").slice(0, 16));
      }
    },
  );
});

describe("errors and events", () => {
  const shown = (error: unknown): string =>
    error instanceof Error
      ? `${error} ${error.stack} ${JSON.stringify({ ...error })} ${shown(error.cause)}`
      : JSON.stringify(error);

  test("[ASVS 16.5.1] [OWASP: logging] hold no id, key, secret or value when a driver's errors hold all of them", async () => {
    for (const options of [{}, { ids }, { ids, encryption: encryption() }]) {
      for (const verb of VERBS) {
        const said: string[] = [];
        const leaked: string[] = [secret, "the value", "the flash"];
        let fails = false;
        const leak = (...args: unknown[]): never => {
          leaked.push(String(args[0]));
          // As Upstash's client does: its message contains the command, with key and data.
          throw Object.assign(new Error(`ERR, command was: ["set",${JSON.stringify(args)}] the value`), {
            command: args,
          });
        };
        const store = altered(memoryStore(), {
          [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
            fails ? leak(...args) : call(...args),
        });
        // The engine's own error and the request are for a log that nobody else can read.
        const onEvent = (event: SessionEvent): void =>
          void said.push(
            "error" in event ? shown(event.error) : "",
            JSON.stringify({ ...event, request: null, detail: null }),
          );
        const visit = visitor({ store, ...options, onEvent });
        if (verb !== "create")
          leaked.push(idIn((await visit((session) => session.set("key", "the value"))).cookies) ?? "");
        fails = true;
        const error = await errorOf(() =>
          visit(async (session) => {
            if (verb === "delete") return await session.destroy();
            if (verb === "touch") return session.touch();
            session.set("key", "the value!");
            session.flash("notice", "the flash");
            leaked.push((await session.id()) ?? "");
          }),
        );
        said.push(shown(error));
        expect(said.join("\n")).toContain("ERR_STORE");
        expect(leaked.filter((word) => word.length < 9 || said.join("\n").includes(word))).toEqual([]);
      }
    }
  });

  test("[ASVS 16.5.1] hold nothing of what a driver throws when that fails to be looked at", async () => {
    const throwing = (): never => {
      throw new Error(secret);
    };
    const thrown: unknown[] = [
      Object.assign(new Error(secret), { code: { toString: throwing } }),
      Object.defineProperty(new Error(secret), "code", { get: throwing }),
      Object.defineProperty(new Error(secret), "constructor", { value: undefined }),
      new Proxy(new Error(secret), { get: throwing, has: throwing }),
      Object.create(null),
      secret,
      null,
    ];
    for (const each of thrown) {
      const store = altered(memoryStore(), { load: () => Promise.reject(each) });
      const error = await errorOf(() =>
        present({ store }, `__Host-session=${"A".repeat(32)}`, (session) => session.size()),
      );
      expect(error.code).toBe("ERR_STORE");
      expect(inspect(error, { showHidden: true })).not.toContain(secret);
    }
  });

  test("[ASVS 16.5.1] hold nothing of the cookie when it is forged, or too large, or its revocation cannot be asked", async () => {
    const said: string[] = [];
    const fail = async (...args: unknown[]): Promise<never> => {
      throw new Error(`no: ${JSON.stringify(args)} ${secret}`);
    };
    const revocation: SessionStore = { ...memoryStore(), load: fail };
    const options: SessionOptions = {
      store: cookieSessions({ secrets: [secret], revocation }),
      onEvent: (event) =>
        said.push("error" in event ? shown(event.error) : JSON.stringify({ ...event, request: null })),
    };
    const cookie = cookieOf(await visitor(options)((session) => session.set("key", "the value")));
    await present(options, flipped(cookie, 60), (session) => session.size());
    const outage = await errorOf(() => present(options, cookie, (session) => session.size()));
    const large = await errorOf(() => visitor(options)((session) => session.set("key", "the value".repeat(1000))));
    expect([outage.code, large.code]).toEqual(["ERR_STORE", "ERR_COOKIE_TOO_LARGE"]);
    said.push(shown(outage), shown(large));
    for (const word of [secret, "the value", cookie.slice(20)]) expect(said.join("\n")).not.toContain(word);
  });
  test("SessionError carries nothing but a name, a code and a message", () => {
    expect(Object.keys(new SessionError("ERR_STORE", "x")).toSorted()).toEqual(["code", "name"]);
  });
});
