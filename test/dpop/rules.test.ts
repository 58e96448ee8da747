import { describe, expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import type { PluginHost } from "../../src/core/plugin.ts";
import type { Operation } from "../../src/core/repository.ts";
import type { SessionStore, Write } from "../../src/core/store.ts";
import { bindingToJson, FACTS, readBinding } from "../../src/dpop/binding.ts";
import { assertHost } from "../../src/dpop/host.ts";
import { claimedInstant, isOurs, isRecent, writeNonce } from "../../src/dpop/nonce.ts";
import { settingsOf } from "../../src/dpop/options.ts";
import { checkProof } from "../../src/dpop/proof.ts";
import { useOnce } from "../../src/dpop/replay.ts";
import { createProver } from "./prover.ts";

const NOW = 1_700_000_000_000;

describe("readBinding()", () => {
  test("reads what bindingToJson() wrote, and makes a secret where there is none", () => {
    expect(FACTS).toBe("+dpop");
    for (const binding of [{ secret: "s" }, { secret: "s", thumbprint: "t" }])
      expect(readBinding(bindingToJson(binding))).toEqual(binding);
    const made = readBinding(bindingToJson({}));
    expect(made).toEqual({ secret: expect.stringMatching(/^[\w-]{32}$/) });
    expect(readBinding(bindingToJson({}))).not.toEqual(made);
    expect(bindingToJson({ secret: "s" })).toStrictEqual({ secret: "s" });
    expect(readBinding(undefined)).toBeUndefined();
  });

  test.each([[null], [7], ["text"], [[]], [{}], [{ jkt: "t" }], [{ secret: 7 }], [{ secret: "s", jkt: 7 }]])(
    "gives null for %j",
    (facts) => {
      expect(readBinding(facts)).toBeNull();
    },
  );
});

describe("assertHost()", () => {
  const host = (transports: readonly object[], store?: unknown): PluginHost =>
    ({ repository: {}, transports, store }) as unknown as PluginHost;
  const header = { requestHeader: "X-Session-Id" };

  test("needs a transport with a header that is no cookie", () => {
    expect(() => assertHost(host([{ requestHeader: "Cookie" }, header]))).not.toThrow();
    for (const transports of [[], [{}], [{ requestHeader: "Cookie" }], [{ requestHeader: "cookie" }]])
      expect(() => assertHost(host(transports))).toThrow("needs a header");
  });

  test.each<unknown>([undefined, null, "store", () => null, {}, { traits: null }, { traits: 7 }, { traits: {} }])(
    "takes a store that it cannot look into: %s",
    (store) => {
      expect(() => assertHost(host([header], store))).not.toThrow();
    },
  );

  test("refuses a store that cannot compare and set", () => {
    expect(() => assertHost(host([header], { traits: { compareAndSet: true } }))).not.toThrow();
    expect(() => assertHost(host([header], { traits: { compareAndSet: false } }))).toThrow("compare and set");
  });
});

describe("nonces", () => {
  test.each<[string, number]>([
    ["a.x", 10],
    ["a.", 10],
    [`${"0".repeat(11)}a.x`, 10],
    [`${"0".repeat(12)}a.x`, Number.NaN],
    [".a", Number.NaN],
    ["a", Number.NaN],
    ["ab", Number.NaN],
    ["", Number.NaN],
    ["!.x", Number.NaN],
  ])("claimedInstant(%j) is %d", (nonce, instant) => {
    expect(claimedInstant(nonce)).toBe(instant);
  });

  test("are recent for their life and the skew of clocks, and are none of another session", async () => {
    expect([isRecent(NOW, NOW + 359_999, 60), isRecent(NOW, NOW + 360_000, 60)]).toEqual([true, false]);
    expect(isRecent(Number.NaN, NOW, 60)).toBe(false);
    const headers = new Headers();
    await writeNonce(headers, "secret", NOW);
    const nonce = headers.get("DPoP-Nonce") ?? "";
    expect(claimedInstant(nonce)).toBe(NOW);
    expect(await isOurs(nonce, "secret")).toBe(true);
    expect(await isOurs(nonce, "another")).toBe(false);
    expect(await isOurs(nonce.replace(/^./, "x"), "secret")).toBe(false);
    expect(await isOurs("no nonce", "secret")).toBe(false);
  });
});

describe("useOnce()", () => {
  const proof = { thumbprint: "t", jti: "one", ath: undefined, nonce: undefined, iat: 0 };
  const op = (store: SessionStore): Operation => ({ store, now: NOW }) as Partial<Operation> as Operation;

  test("is true for the first use of a proof of a key", async () => {
    const store = memoryStore();
    const use = (more = {}) => useOnce({ ...proof, ...more }, NOW, op(store));
    expect([await use(), await use()]).toEqual([true, false]);
    expect([await use({ jti: "two" }), await use({ thumbprint: "u" })]).toEqual([true, true]);
  });

  test("keeps its note until no server takes the proof, and by the margin of engines longer", async () => {
    const writes: Write[] = [];
    const inner = memoryStore();
    const store: SessionStore = { ...inner, save: (key, write) => (writes.push(write), inner.save(key, write)) };
    await useOnce(proof, NOW + 1000, op(store));
    expect(writes).toEqual([expect.objectContaining({ expected: null, expiresAt: NOW + 1000 + 600_000 })]);
  });

  test("is true when the store did the write twice and answered for the second time, and false when the note is gone", async () => {
    const inner = memoryStore();
    const twice = {
      ...inner,
      save: async (...given: Parameters<SessionStore["save"]>) => (await inner.save(...given), "conflict" as const),
    };
    expect(await useOnce(proof, NOW, op(twice))).toBe(true);
    const gone = { ...inner, save: () => "conflict" as const, load: () => null };
    expect(await useOnce(proof, NOW, op(gone))).toBe(false);
  });
});

describe("settingsOf()", () => {
  test("has the defaults that are documented", () => {
    expect(settingsOf({})).toEqual({
      mode: "require",
      nonceLifetime: 300,
      algorithms: ["ES256", "Ed25519", "EdDSA", "RS256", "PS256"],
      origin: undefined,
    });
  });

  test.each([
    [{ nonceLifetime: 1 }],
    [{ nonceLifetime: 3600 }],
    [{ mode: "offer" as const }],
    [{ algorithms: ["ES512"] }],
    [{ origin: "https://api.example:8443" }],
  ])("takes %j", (options) => {
    expect(settingsOf(options)).toMatchObject(options);
  });

  test.each([
    "ftp://api.example",
    "https://api.example/",
    "https://api.example/a",
    "api.example",
    "null",
    "blob:https://a.example",
  ])("refuses the origin %j, which no request has", (origin) => {
    expect(() => settingsOf({ origin })).toThrow("origin");
  });

  test("refuses a list in which one algorithm is unknown", () => {
    expect(() => settingsOf({ algorithms: ["ES256", "none"] })).toThrow("algorithms");
  });
});

test("checkProof() takes a name of 256 characters, and no address that is not of the web", async () => {
  const prover = await createProver();
  const check = async (claims: object, address: string) => {
    const headers = { DPoP: await prover.prove({ htm: "GET", htu: address, iat: 1, jti: "one", ...claims }) };
    return await checkProof(new Request("https://api.example/", { headers }), { algorithms: ["ES256"], address });
  };
  expect(await check({ jti: "v".repeat(256) }, "https://api.example/")).toMatchObject({ jti: "v".repeat(256) });
  expect(await check({ jti: "v".repeat(257) }, "https://api.example/")).toBe("claims");
  for (const address of ["ftp://api.example/", "https://user@api.example/", ""])
    expect(await check({}, address)).toBe("address");
});
