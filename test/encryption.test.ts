import { createDecipheriv, hash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, type SessionOptions, type SessionStore, withSession } from "../mod.ts";
import type { Operation } from "../src/core/repository.ts";
import type { StoredRecord } from "../src/core/store.ts";
import { encryption, type EncryptionOptions } from "../src/encryption.ts";
import { client } from "./setup/client.ts";

const SECRET = "a secret of at least thirty-two bytes";
const OLDER = "an older secret of thirty-two bytes or more";
const ID = "aB3_-aB3_-aB3_-aB3_-aB";
const KEY = hash("sha256", ID);
const op = (...runtimeArguments: unknown[]): Operation => ({ runtimeArguments }) as unknown as Operation;
const METADATA = "1 aB3 1 1 1 name";
const FIELDS = new Map([
  ["=user", '{"name":"ä"}'],
  ["~note", '"flash"'],
]);
const sealed = (options?: EncryptionOptions) =>
  encryption(options).seal(FIELDS, ID, KEY, op(), METADATA) as Map<string, string>;

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

describe("seal()", () => {
  test.each<[string, EncryptionOptions | undefined, string]>([
    ["the id alone", undefined, ""],
    ["the id and the current secret", { secrets: [SECRET, OLDER] }, SECRET],
  ])(
    "gives the fields in AES-256-GCM under a key of %s, bound to the store key and the metadata",
    (_name, options, secret) => {
      const fields = sealed(options);
      expect([...fields.keys()]).toEqual(["*"]);
      const text = fields.get("*") ?? "";
      const bytes = (from: number, to?: number) => Buffer.from(text.slice(from, to), "base64url");
      const key = hash("sha256", JSON.stringify(["with-session record", ID, secret]), "buffer");
      const decipher = createDecipheriv("aes-256-gcm", key, bytes(1, 17));
      decipher.setAAD(Buffer.from(`${KEY} ${METADATA}`)).setAuthTag(bytes(17, 39));
      const data: unknown = JSON.parse(decipher.update(bytes(39), undefined, "utf8") + decipher.final("utf8"));
      expect(data).toEqual([...FIELDS]);
    },
  );

  test("shows no data and no names of data", () => {
    expect(JSON.stringify([...sealed()])).not.toMatch(/user|note|flash|name/);
  });
});

describe("open()", () => {
  test.each<EncryptionOptions | undefined>([undefined, { secrets: [SECRET] }, { secrets: [OLDER, SECRET] }])(
    "gives the fields as they were, with %j",
    (options) => {
      const codec = encryption(options);
      const by = options === undefined ? undefined : { secrets: [SECRET] };
      expect(codec.open(sealed(by), ID, KEY, op(), METADATA)).toEqual(FIELDS);
    },
  );

  const otherKey = hash("sha256", `${ID}A`);
  test.each<[string, EncryptionOptions | undefined, ReadonlyMap<string, string>, string, string]>([
    ["another id", undefined, sealed(), `${ID}A`, KEY],
    ["another store key", undefined, sealed(), ID, otherKey],
    ["another text", undefined, new Map(sealed()).set("*", "1AAAA"), ID, KEY],
    ["an empty text", undefined, new Map(sealed()).set("*", ""), ID, KEY],
    ["a plain record", undefined, FIELDS, ID, KEY],
    ["another secret", { secrets: [OLDER] }, sealed({ secrets: [SECRET] }), ID, KEY],
    ["no secret where there was one", undefined, sealed({ secrets: [SECRET] }), ID, KEY],
    ["a secret where there was none", { secrets: [SECRET] }, sealed(), ID, KEY],
    ["another text, with acceptPlain", { acceptPlain: true }, new Map(sealed()).set("*", "1AAAA"), ID, KEY],
  ])("gives null for %s", (_name, options, fields, id, key) => {
    expect(encryption(options).open(fields, id, key, op(), METADATA)).toBeNull();
  });

  test.each(["1 aB3 2 1 1 name", ""])("gives null for the metadata %j", (metadata) => {
    expect(encryption().open(sealed(), ID, KEY, op(), metadata)).toBeNull();
  });

  test("accepts a plain record with acceptPlain", () => {
    expect(encryption({ acceptPlain: true }).open(FIELDS, ID, KEY, op(), METADATA)).toBe(FIELDS);
  });
});

test("encryption() gives the same by WebCrypto, where Node's crypto is absent", async () => {
  vi.resetModules();
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined as never);
  const fresh = await import("../src/encryption.ts");
  const web = fresh.encryption({ secrets: [OLDER, SECRET] });
  expect(await web.open(sealed({ secrets: [SECRET] }), ID, KEY, op(), METADATA)).toEqual(FIELDS);
  const fields = await web.seal(FIELDS, ID, KEY, op(), METADATA);
  expect(encryption({ secrets: [OLDER] }).open(fields, ID, KEY, op(), METADATA)).toEqual(FIELDS);
});

test.each<[unknown, typeof TypeError | typeof RangeError, string]>([
  [{ secret: SECRET }, TypeError, "did you mean secrets?"],
  [{ secrets: [undefined] }, TypeError, "Is the environment variable unset?"],
  [{ secrets: ["short"] }, RangeError, "32 bytes"],
  [true, TypeError, "must be an object"],
])("encryption(%j) throws", (options, Mistake, message) => {
  const make = () => encryption(options as EncryptionOptions);
  expect(make).toThrow(Mistake);
  expect(make).toThrow(message);
});

describe("withSession({ encryption })", () => {
  const spied = (): { store: SessionStore; records: Map<string, StoredRecord> } => {
    const inner = memoryStore();
    const records = new Map<string, StoredRecord>();
    const save: SessionStore["save"] = async (key, write) => {
      const version = await inner.save(key, write);
      records.set(key, { ...write.record, version });
      return version;
    };
    return { store: { ...inner, save }, records };
  };
  const visits = (options: SessionOptions) =>
    withSession(async (_request, session) => {
      session.set("secret word", "rosebud");
      return new Response(String(await session.update("n", (n: unknown) => Number(n ?? 0) + 1)));
    }, options);
  const send = async (visitor: ReturnType<typeof client>, handle: (request: Request) => Promise<Response>) =>
    await (await visitor.send(handle)).text();

  test("keeps a session whose records show nothing", async () => {
    const { store, records } = spied();
    const handle = visits({ store, encryption: encryption() });
    const visitor = client();
    for (const n of ["1", "2", "3"]) expect(await send(visitor, handle)).toBe(n);
    const text = JSON.stringify([...records.values()].map(({ fields }) => [...fields]));
    expect(text).not.toMatch(/rosebud|secret word/);
    expect(text).toContain('"*"');
  });

  test("takes over plain records with acceptPlain, and encrypts them", async () => {
    const { store, records } = spied();
    const visitor = client();
    expect(await send(visitor, visits({ store }))).toBe("1");
    expect(JSON.stringify([...records.values()].map(({ fields }) => [...fields]))).toContain("rosebud");
    expect(await send(visitor, visits({ store, encryption: encryption({ acceptPlain: true }) }))).toBe("2");
    expect(JSON.stringify([...records.values()].map(({ fields }) => [...fields]))).not.toContain("rosebud");
    expect(await send(visitor, visits({ store, encryption: encryption() }))).toBe("3");
  });

  test("ignores a plain record without acceptPlain, and an encrypted one without encryption", async () => {
    const { store } = spied();
    const [plain, encrypted] = [client(), client()];
    await send(plain, visits({ store }));
    await send(encrypted, visits({ store, encryption: encryption() }));
    expect(await send(plain, visits({ store, encryption: encryption() }))).toBe("1");
    expect(await send(encrypted, visits({ store }))).toBe("1");
  });

  test("survives a change of secrets, and a rotation", async () => {
    const { store } = spied();
    const visitor = client();
    expect(await send(visitor, visits({ store, encryption: encryption({ secrets: [OLDER] }) }))).toBe("1");
    const options = { store, encryption: encryption({ secrets: [SECRET, OLDER] }) };
    const rotate = withSession(async (_request, session) => {
      await session.regenerate();
      return new Response(String(await session.get("n")));
    }, options);
    expect(await send(visitor, rotate)).toBe("1");
    expect(await send(visitor, visits({ store, encryption: encryption({ secrets: [SECRET] }) }))).toBe("2");
  });
});

test("encryption() throws a TypeError for an acceptPlain that is no boolean", () => {
  expect(() => encryption({ acceptPlain: 1 } as never)).toThrow(
    new TypeError("encryption: acceptPlain must be a boolean"),
  );
});
