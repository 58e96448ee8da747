import * as fc from "fast-check";
import { parse } from "hono/utils/cookie";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionOptions, type SessionStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { cookieTransport } from "../../src/core/cookie_transport.ts";
import { metadataText } from "../../src/core/metadata.ts";
import { verifyCsrfToken } from "../../src/csrf.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { z } from "zod";
import { runsOf } from "../setup/random.ts";
import { counted, idIn, keyOf, openStore, SHOP, visitor } from "../setup/sessions.ts";

// Whatever a client sends or a store contains: nothing throws, the store is read once at most, and no id that the server
// did not issue becomes a session. The number of runs is limited, so that all of them take a few seconds.

const NAME = "__Host-session";
const secret = "a secret of at least thirty-two bytes";
const ids = signedIds({ secrets: [secret] });
const runs = (count: number) => ({ ...runsOf(count), interruptAfterTimeLimit: 6_000, markInterruptAsFailure: false });

/** The characters that a header can contain: the Headers of a runtime reject all others. */
const headerText = fc.stringMatching(/^[\t\x20-\x7e\x80-\xff]{0,300}$/);
const shapes = fc.constantFrom(
  "A".repeat(22),
  "A".repeat(21),
  "B".repeat(32),
  "-_".repeat(128),
  "C".repeat(257),
  "",
  ".",
  "..",
  '"',
  "%41",
);
const nearlyAnId = fc.oneof(
  shapes,
  fc.stringMatching(/^[\w-]{20,40}(\.[\w-]{40,45})?$/),
  fc.stringMatching(/^[\w-]{0,40}\.\.[\w-]{14,18}\.[\w-]{0,60}\.[\w-]{20,24}$/),
  headerText,
);
const nearlyTheName = fc.oneof(
  fc.constant(NAME),
  fc.constantFrom(
    "__host-session",
    "__Host-session ",
    "\u00a0__Host-session",
    "__Host%2Dsession",
    "session",
    "",
    "__proto__",
    "x__Host-session",
  ),
  fc.stringMatching(/^[!-~]{0,20}$/),
);
const cookieHeader = fc.oneof(
  headerText,
  fc
    .array(fc.tuple(nearlyTheName, fc.constantFrom("=", " = ", "\t=", "", "=="), nearlyAnId), { maxLength: 6 })
    .chain((pairs) =>
      fc.constantFrom(";", "; ", ";;", " ;\t", ",").map((between) => pairs.map((pair) => pair.join("")).join(between)),
    ),
);

/** Makes every read of a session, one after the other, and one write. */
async function useAll(session: Session): Promise<unknown> {
  const seen = [
    await session.all(),
    await session.keys(),
    await session.id(),
    await session.info(),
    await session.get("n"),
  ];
  await verifyCsrfToken(session, "x");
  session.set("mark", "mine");
  return seen;
}

/** The results of these reads without a session. */
const NOTHING = [{}, [], null, { isNew: true }, undefined];

/** Sends one request, and returns the result. */
async function send(
  options: SessionOptions,
  headers: Record<string, string>,
): Promise<{ response: Response; seen: unknown }> {
  let seen: unknown;
  const handle = withSession(async (_request, session) => {
    seen = await useAll(session);
    return new Response("ok");
  }, options);
  return { response: await handle(new Request(SHOP, { headers })), seen };
}

describe("whatever a client presents", () => {
  const optionsOf: Record<string, (store: SessionStore) => SessionOptions> = {
    "plain ids": (store) => ({ store }),
    "signed ids": (store) => ({ store, ids }),
    "encrypted records": (store) => ({ store, encryption: encryption() }),
    "cookie sessions with a revocation store": (store) => ({
      store: cookieSessions({ secrets: [secret], revocation: store }),
    }),
  };

  test.each(Object.entries(optionsOf))(
    "withSession() with %s begins a session of its own when the Cookie header is hostile",
    async (_, make) => {
      await fc.assert(
        fc.asyncProperty(cookieHeader, async (header) => {
          const { store, calls } = counted(memoryStore());
          const { response, seen } = await send(make(store), { Cookie: header });
          expect(calls.filter((call) => call === "load").length).toBeLessThanOrEqual(1);
          expect(seen).toMatchObject(NOTHING);
          // If there are several cookies of the name, the lines before the last one expire the stray cookies.
          const cookie = response.headers.getSetCookie().at(-1) ?? "";
          const id = cookie.slice(NAME.length + 1, cookie.indexOf(";"));
          expect(id.length).toBeGreaterThanOrEqual(32);
          expect(header).not.toContain(id);
        }),
        runs(1000),
      );
    },
  );

  test.each(Object.entries(optionsOf))(
    "withSession() with %s begins a session of its own when the id header is hostile",
    async (_, make) => {
      await fc.assert(
        fc.asyncProperty(nearlyAnId, async (value) => {
          const { store, calls } = counted(memoryStore());
          const { response } = await send({ ...make(store), header: "X-Session-Id" }, { "X-Session-Id": value });
          expect(calls.filter((call) => call === "load").length).toBeLessThanOrEqual(1);
          const id = response.headers.get("X-Session-Id") ?? "";
          expect(id.length).toBeGreaterThanOrEqual(32);
          if (value !== "") expect(value).not.toContain(id);
        }),
        runs(600),
      );
    },
  );

  test("withSession() makes no call at all when a hostile id is not signed by us", async () => {
    await fc.assert(
      fc.asyncProperty(cookieHeader, async (header) => {
        const { store, calls } = counted(memoryStore());
        await visitor({ store, ids })((session) => session.all(), { headers: { Cookie: header } });
        expect(calls).toEqual([]);
      }),
      runs(800),
    );
  });
});

describe("whatever a store holds", () => {
  const id = "I".repeat(32);
  const key = keyOf(id);
  const metadata = metadataText({ createdAt: Date.now(), absoluteSince: Date.now() }, key);
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.constantFrom(
      "[[1],-1]",
      '[{"__proto__":1},1]',
      "-7",
      "[",
      '[["Map",0]]',
      '["Date",1]',
      '[["Object","constructor"]]',
      metadata,
    ),
  );
  const fields = fc
    .array(fc.tuple(fc.oneof(fc.constantFrom("@", "*", "=n", "~n", "=__proto__", "", "="), fc.string()), text), {
      maxLength: 6,
    })
    .map((entries) => new Map(entries));
  const nearlyMetadata = fc
    .tuple(
      fc.constantFrom("1", "1", "1", "0", "2", ""),
      fc.constantFrom(key.slice(0, 16), key.slice(0, 16), "0".repeat(16)),
      fc.oneof(fc.constant(`${Date.now()}`), fc.string()),
      fc.oneof(fc.constant(`${Date.now()}`), fc.double().map(String), fc.string()),
      fc.oneof(fc.constant("0"), fc.string()),
      fc.oneof(fc.constant(""), fc.string()),
      fc
        .record(
          {
            timeouts: fc.oneof(
              fc.record({ idle: fc.anything(), absolute: fc.anything(), cookie: fc.anything() }),
              fc.anything(),
            ),
            successor: fc.oneof(
              fc.record({
                key: fc.oneof(fc.constant(key), fc.anything()),
                retiredAt: fc.oneof(fc.constant(Date.now()), fc.anything()),
                grace: fc.oneof(
                  fc.record({ id: fc.string(), until: fc.constant(Date.now() + 60_000), untilUsed: fc.anything() }),
                  fc.anything(),
                ),
              }),
              fc.anything(),
            ),
            authenticatedAt: fc.anything(),
          },
          { requiredKeys: [] },
        )
        .map(stringified),
    )
    .map((words) => words.join(" "));
  const record = fc.oneof(
    fc.anything(),
    fc.record({
      fields,
      lastSeenAt: fc.oneof(fc.constant(Date.now()), fc.double(), fc.anything()),
      version: fc.integer(),
    }),
    fc
      .tuple(fields, fc.oneof(fc.constant(metadata), nearlyMetadata))
      .map(([rest, at]) => ({ fields: new Map([...rest, ["@", at]]), lastSeenAt: Date.now(), version: 1 })),
  );

  test.each<[string, SessionOptions]>([
    ["plain", {}],
    ["encryption()", { encryption: encryption() }],
    ["signedIds()", { ids }],
    ["a schema", { schema: z.record(z.string(), z.unknown()) }],
  ])("withSession() answers when the record is hostile: %s", async (_, more) => {
    const { result: token } = await visitor({ ...more, generateId: () => id })((session) => session.create());
    const prototype = Object.getOwnPropertyNames(Object.prototype);
    await fc.assert(
      fc.asyncProperty(record, async (found) => {
        const inner = openStore().store;
        const load = async (): Promise<never> => found as never;
        // The store accepts the writes of a read, such as the removal of a flash value that was shown. Stores that contradict
        // themselves are not tested here.
        const { store, calls } = counted({ ...inner, load, save: async () => 2 });
        let reads = 0;
        const read = withSession(
          async (_request, session) => {
            await session.all();
            await session.info();
            reads = calls.length;
            return new Response(String(await session.size()));
          },
          { store, ...more },
        );
        const request = new Request(SHOP, { headers: { Cookie: `${NAME}=${token}` } });
        const outcome = await read(request).then(
          ({ status }) => status,
          ({ code }) => code,
        );
        // If the store returns something that is no record, that counts as a failure of the store.
        const { fields: given, version } = Object(found);
        const isRecord = found === null || (given instanceof Map && typeof version === "number");
        expect(outcome).toBe(isRecord ? 200 : "ERR_STORE");
        expect(reads).toBeLessThanOrEqual(1);
        expect(calls.filter((call) => call === "create" || call === "delete")).toEqual([]);
        expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(prototype);
      }),
      runs(1500),
    );
  });

  function stringified(value: unknown): string {
    try {
      return JSON.stringify(value, (_, each) => (typeof each === "bigint" ? String(each) : each)) ?? "";
    } catch {
      return "{";
    }
  }
});

test("cookieSessions() opens a cookie only when it says the very same bytes", async () => {
  const options: SessionOptions = { store: cookieSessions({ secrets: [secret] }) };
  const tokens = await Promise.all(
    [1, 2].map(async (n) => idIn((await visitor(options)((session) => session.set("n", n))).cookies)),
  );
  const [one = "", other = ""] = tokens.map(String);
  // A sign of the format, then in base64url: nonce, tag, ciphertext. The last character of each may contain unused bits.
  const bytesOf = (token: string): string =>
    [token.slice(1, 17), token.slice(17, 39), token.slice(39)]
      .map((part) => Buffer.from(part, "base64url").toString("hex"))
      .join(token[0]);
  const edit = fc.record({
    at: fc.nat(one.length),
    remove: fc.nat(40),
    insert: fc.oneof(
      fc.constant(""),
      fc.stringMatching(/^[\w.-]{1,20}$/),
      fc.nat(other.length).map((from) => other.slice(from, from + 30)),
    ),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
      let token = one;
      for (const { at, remove, insert } of edits) token = token.slice(0, at) + insert + token.slice(at + remove);
      const { seen } = await send(options, { Cookie: `${NAME}=${token}` });
      const isSame = /^[\w-]*$/.test(token) && bytesOf(token) === bytesOf(one);
      expect(seen).toMatchObject(isSame ? [{ n: 1 }, ["n"], token, { isNew: false }, 1] : NOTHING);
    }),
    runs(1500),
  );
});

describe("the cookie parser beside Hono's", () => {
  const transport = cookieTransport({ name: NAME });
  const ours = (header: string) => transport.read(new Request(SHOP, { headers: { Cookie: header } }));
  const theirs = (header: string) => parse(header, NAME)[NAME] ?? null;
  /** The values of cookies with our name, as they appear in the header. */
  const valuesIn = (header: string): string[] =>
    header
      .split(";")
      .map((pair) =>
        [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)].map((part) =>
          part.replace(/^[ \t]+|[ \t]+$/g, ""),
        ),
      )
      .filter(([name]) => name === NAME)
      .map(([, value = ""]) => value);

  /** The cases in which the two parsers differ, each with an example. security.md gives the reasons. */
  const differences: Record<string, { when: (values: string[]) => boolean; example: string }> = {
    "several of one name are nobody's, not the first one's": {
      when: (values) => new Set(values).size > 1,
      example: `${NAME}=one; ${NAME}=two`,
    },
    "an empty value is no id": {
      when: (values) => values.some((value) => /^(?:|"")$/.test(value)),
      example: `${NAME}=`,
    },
    "a percent sign stands for itself": {
      when: (values) => values.some((value) => value.includes("%")),
      example: `${NAME}=%41`,
    },
    "a single quote is no pair of quotes": { when: (values) => values.includes('"'), example: `${NAME}="` },
    "what no cookie may hold is left to the check of the id": {
      when: (values) => values.some((value) => /[^ !#-:<-[\]-~]/.test(value.replace(/^"(.*)"$/, "$1"))),
      example: `${NAME}=a\\b`,
    },
  };

  test.each(Object.entries(differences))("differs where %s", (_, { when, example }) => {
    expect(when(valuesIn(example))).toBe(true);
    expect(ours(example)).not.toBe(theirs(example));
  });

  test("reads the same in every other case", () => {
    const ordinary = fc
      .array(fc.tuple(nearlyTheName, fc.stringMatching(/^[\w.-]{1,40}$/)), { maxLength: 5 })
      .map((pairs) => pairs.map((pair) => pair.join("=")).join("; "));
    fc.assert(
      fc.property(fc.oneof(cookieHeader, ordinary), (header) => {
        const values = valuesIn(header);
        if (Object.values(differences).some(({ when }) => when(values))) return;
        expect(ours(header)).toBe(theirs(header));
      }),
      runs(10_000),
    );
  });
});
