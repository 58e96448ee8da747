import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Session } from "../../../mod.ts";
import { encryption } from "../../../src/encryption.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { fileStore } from "../../../src/stores/file.ts";
import { ESTABLISHED, established, withCookie } from "../../setup/established.ts";
import { counted, idIn, keyOf, temporaryDirectory, visitor } from "../../setup/sessions.ts";

const GUESS = "A".repeat(32);
const SECRET = "a secret of at least thirty-two bytes";
const ids = signedIds({ secrets: [SECRET] });

describe("Letting someone in", () => {
  test.each([
    ["the cookie", {}, withCookie(GUESS)],
    ["the header", { header: "X-Session-Id" }, { headers: { "X-Session-Id": GUESS } }],
  ])("an id that a client made up in %s does not become a session", async (_where, options, init) => {
    const { settings, store } = await established();
    const { response, cookies, result } = await visitor({ ...settings, ...options })(async (session) => {
      session.set("user", "victim");
      return session.create();
    }, init);
    expect(result).not.toBe(GUESS);
    expect(idIn(cookies) ?? response.headers.get("X-Session-Id")).toBe(result);
    expect(await store.load(keyOf(GUESS))).toBeNull();
  });

  test("an ended session does not stay as an empty record whose id is taken up again", async () => {
    const { settings, send, store, id } = await established();
    await send((session) => session.destroy());
    expect(await store.load(keyOf(id))).toBeNull();
    const { result } = await visitor(settings)((session) => session.create(), withCookie(id));
    expect(result).not.toBe(id);
    expect(await store.load(keyOf(id))).toBeNull();
  });

  test("no id is in the store, not even of a regenerated session", async () => {
    const { send, records, id } = await established();
    const { cookies } = await send((session) => session.regenerate({ grace: 60 }));
    const successor = idIn(cookies) ?? "";
    expect(successor).toMatch(/^[\w-]{32}$/);
    const everything = JSON.stringify([...records].map(([key, { fields, ...record }]) => [key, [...fields], record]));
    expect(everything).toContain(keyOf(successor));
    expect(everything).not.toContain(id);
    expect(everything).not.toContain(successor);
  });

  test("an encrypted record is not taken for a plain one, nor a plain one for an encrypted", async () => {
    for (const isEncrypted of [false, true]) {
      const [own, other] = isEncrypted ? [{ encryption: encryption() }, {}] : [{}, { encryption: encryption() }];
      const { settings, send, id } = await established(own);
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
      const { encryption: _, ...plain } = settings;
      const { result } = await visitor({ ...plain, ...other })((session) => session.id(), withCookie(id));
      expect(result).toBeNull();
    }
  });

  test("an encrypted record is not read when a single character was changed", async () => {
    const { settings, records, id } = await established({ encryption: encryption() });
    const read = async () => (await visitor(settings)((session) => session.get("kept"), withCookie(id))).result;
    const record = records.get(keyOf(id));
    const [name, text] = [...record!.fields].find(([field]) => field !== "@") ?? ["", ""];
    expect(text.length).toBeGreaterThan(40);
    const altered = text.slice(0, 30) + (text[30] === "A" ? "B" : "A") + text.slice(31);
    records.set(keyOf(id), { ...record!, fields: new Map(record!.fields).set(name, altered) });
    expect(await read()).toBe(undefined);
    records.set(keyOf(id), record!);
    expect(await read()).toBe(ESTABLISHED);
  });

  test("secrets are not cut to eight bits a character", async () => {
    const wide = "\u0141\u0142\u0143\u0144".repeat(8);
    const { settings, send } = await established({ ids: signedIds({ secrets: [wide] }) });
    const { result: id } = await send((session) => session.id());
    const narrow = visitor({ ...settings, ids: signedIds({ secrets: ["\u0041\u0042\u0043\u0044".repeat(8)] }) });
    expect((await narrow((session) => session.id(), withCookie(id ?? ""))).result).toBeNull();
  });

  test("there is no default key, and no empty secret is taken", () => {
    for (const secrets of [[], [""], [SECRET, ""], ["secret"], [SECRET, "old"]]) {
      expect(() => signedIds({ secrets })).toThrow(/secrets/);
    }
  });

  test("a signature is not taken for another id", async () => {
    const { settings, send } = await established({ ids });
    const { result: mine } = await send((session) => session.id());
    const other = visitor(settings);
    const { result: theirs } = await other((session) => session.create());
    const [signature, id] = [mine?.split(".")[1], theirs?.split(".")[0]];
    expect([signature, id].every((part) => (part ?? "").length >= 22)).toBe(true);
    const { result } = await visitor(settings)((session) => session.id(), withCookie(`${id}.${signature}`));
    expect(result).toBeNull();
  });

  test("a session does not live for ever because its timeouts begin anew with every load", async () => {
    const { send, clock } = await established({ idleTimeout: 3600, absoluteTimeout: 86_400 });
    await send((session) => session.setTimeouts({ idle: 7200, cookie: 1e6 }));
    for (let hour = 1; hour < 24; hour++) {
      clock.advance(3600);
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
    }
    clock.advance(3600);
    expect((await send((session) => session.id())).result).toBeNull();
  });

  test("a cookie is not used as the name of a file", async () => {
    const directory = await temporaryDirectory();
    const { store, calls } = counted(fileStore({ directory: join(directory, "sessions") }));
    const send = visitor({ store });
    for (const value of [
      "../../../../etc/passwd",
      "..%2F..%2Fetc",
      ".",
      "..",
      "a/b",
      "a\\b",
      "C:\\",
      "a".repeat(5000),
    ]) {
      expect((await send((session) => session.id(), withCookie(value))).result).toBeNull();
    }
    expect(calls).toEqual([]);
    const { cookies } = await send((session) => session.set("a", 1), withCookie("../escape"));
    expect(await readdir(join(directory, "sessions"))).toEqual([keyOf(idIn(cookies) ?? "")]);
    expect(await readdir(directory)).toEqual(["sessions"]);
  });

  test("an id does not follow from the clock or the request, and has no less than 128 bits", async () => {
    const send = visitor({ now: () => 0 });
    const ids = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const { cookies } = await send((session) => session.create(), { headers: { Cookie: "other=1" } });
        return idIn(cookies) ?? "";
      }),
    );
    expect(new Set(ids).size).toBe(50);
    // 32 characters out of 64 have 192 bits. Every character must vary; otherwise it would add no randomness.
    for (let place = 0; place < 32; place++) expect(new Set(ids.map((id) => id[place])).size).toBeGreaterThan(10);
    expect(ids.every((id) => /^[\w-]{32}$/.test(id))).toBe(true);
    await expect(visitor({ generateId: () => "short" })((session) => session.create())).rejects.toThrow(TypeError);
  });

  test.each([
    ["percent-encoded", "%5F%5FHost-session"],
    ["with an encoded blank", "%20__Host-session"],
    ["behind a no-break space", "\u00a0__Host-session"],
    ["before a no-break space", "__Host-session\u00a0"],
    ["in other letters", "__host-session"],
    ["quoted", '"__Host-session"'],
    ["without its prefix", "session"],
  ])("a cookie name %s is not taken for the one with the prefix", async (_how, name) => {
    const { settings, id } = await established();
    const send = visitor(settings);
    expect((await send((session) => session.id(), withCookie(id, " \t__Host-session\t "))).result).toBe(id);
    expect((await send((session) => session.id(), withCookie(id, name))).result).toBeNull();
  });

  test("no id and no data get into errors or events", async () => {
    const { settings, store, id } = await established();
    const heard: unknown[] = [];
    const chatty = (key: string, ...args: unknown[]): Promise<never> => {
      throw Object.assign(new Error(`SET ${key} ${JSON.stringify(args)} ${ESTABLISHED}`), { command: [key, id] });
    };
    const verbs = { save: chatty, delete: chatty } as const;
    const send = visitor({ ...settings, store: { ...store, ...verbs }, onEvent: (event) => heard.push(event) });
    for (const act of [
      (session: Session) => session.set("password", "hunter2"),
      (session: Session) => session.touch(),
      (session: Session) => session.regenerate(),
      (session: Session) => session.destroy(),
      (session: Session) => session.set("password", { of: "hunter2", call() {} }),
    ]) {
      await send(act, withCookie(id)).catch((error: unknown) => heard.push(error));
    }
    expect(heard.length).toBeGreaterThanOrEqual(9);
    // The engine's own error and the request are for a log that nobody else can read.
    const shown = heard.map((each) =>
      each instanceof Error ? each : { ...Object(each), detail: null, request: null },
    );
    const text = shown.map((each) => describeWhole(each)).join("\n");
    expect(text).toContain("SessionError");
    for (const secret of [id, keyOf(id), ESTABLISHED, "hunter2"]) expect(text).not.toContain(secret);
  });

  test("a response with a Set-Cookie of ours is not kept by a cache", async () => {
    const { response } = await visitor()((session) => {
      session.set("a", 1);
      return new Response("for all", { headers: { "Cache-Control": "public, max-age=3600" } });
    });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    expect(response.headers.getSetCookie()).toHaveLength(1);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["get()", (session) => session.get("kept")],
    ["has()", (session) => session.has("kept")],
    ["keys()", (session) => session.keys()],
    ["size()", (session) => session.size()],
    ["all()", (session) => session.all()],
    ["id()", (session) => session.id()],
    ["info()", (session) => session.info()],
  ])("a response that depends on %s is not kept by a cache for others", async (_name, act) => {
    const { send, settings } = await established();
    for (const visit of [send, visitor(settings)]) {
      const { response } = await visit(act);
      expect([response.headers.get("Vary"), response.headers.get("Cache-Control")]).toEqual(["Cookie", "private"]);
    }
  });

  test("a thousand made-up ids do not make a thousand records", async () => {
    const { settings, records, calls } = await established({ ids });
    const send = visitor(settings);
    for (let guess = 0; guess < 1000; guess++) {
      await send((session) => session.get("kept"), withCookie(`${guess}`.padStart(32, "0")));
    }
    expect([records.size, calls]).toEqual([1, []]);
  });
});
/** Everything that a reader can see of a value: its properties, including hidden ones, and those of the values that it refers to. */
function describeWhole(value: unknown, seen = new Set<unknown>()): string {
  if (typeof value !== "object" || value === null || seen.has(value)) return String(value);
  seen.add(value);
  const own = Reflect.ownKeys(value).map((key) => `${String(key)}: ${describeWhole(Reflect.get(value, key), seen)}`);
  return `${String(value)} { ${own.join(", ")} }`;
}
