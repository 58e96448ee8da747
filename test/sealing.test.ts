import { createCipheriv, createDecipheriv, hash, hkdfSync } from "node:crypto";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, test, vi } from "vitest";
import { deriveKey, seal, sealingKey, sealWith, unseal, unsealWith, webKey } from "../src/sealing.ts";

afterEach(() => vi.restoreAllMocks());

/** The key by another implementation than the one under test. */
const keyFor = (secret: string, purpose: string): Buffer =>
  Buffer.from(hkdfSync("sha256", secret, "", `with-session ${purpose}`, 32));

describe("seal()", () => {
  test("gives nonce, ciphertext and tag of AES-256-GCM, as another implementation opens them", async () => {
    const sealed = Buffer.from(await seal("secret ä", "purpose", "text ü", "bond ö"), "base64");
    const decipher = createDecipheriv("aes-256-gcm", keyFor("secret ä", "purpose"), sealed.subarray(0, 12));
    decipher.setAAD(Buffer.from("bond ö")).setAuthTag(sealed.subarray(-16));
    const text = Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]).toString();
    expect(text).toBe("text ü");
  });

  test("gives another text each time", async () => {
    expect(await seal("secret", "purpose", "text")).not.toBe(await seal("secret", "purpose", "text"));
  });

  test("seals a text of a megabyte", async () => {
    const text = "ä".repeat(500_000);
    expect(await unseal("secret", "purpose", await seal("secret", "purpose", text))).toBe(text);
  });
});

describe("unseal()", () => {
  test("opens what another implementation has sealed", async () => {
    const nonce = Buffer.alloc(12, 250);
    const cipher = createCipheriv("aes-256-gcm", keyFor("secret", "purpose"), nonce);
    const data = Buffer.concat([nonce, cipher.update("text"), cipher.final(), cipher.getAuthTag()]);
    expect(await unseal("secret", "purpose", data.toString("base64"))).toBe("text");
  });

  test("opens nothing when secret, purpose or bond differ", async () => {
    const sealed = await seal("secret", "purpose", "text", "bond");
    expect(await unseal("secret", "purpose", sealed, "bond")).toBe("text");
    expect(await unseal("secret2", "purpose", sealed, "bond")).toBeNull();
    expect(await unseal("secret", "purpose2", sealed, "bond")).toBeNull();
    expect(await unseal("secret", "purpose", sealed, "bond2")).toBeNull();
    expect(await unseal("secret", "purpose", sealed)).toBeNull();
    const unbound = await seal("secret", "purpose", "text");
    expect(await unseal("secret", "purpose", unbound, "")).toBe("text");
    expect(await unseal("secret", "purpose", unbound, "bond")).toBeNull();
  });

  test.each(["", "A", "%", "AAAAAAAAAAAAAAAA", "ä".repeat(40), "A".repeat(100)])(
    "opens nothing and does not throw when it is given %j",
    async (sealed) => {
      expect(await unseal("secret", "purpose", sealed)).toBeNull();
    },
  );
});

type Making = [algorithm: "aes-256-gcm", key: Uint8Array, nonce: Uint8Array];

function notThere(): never {
  throw new Error("Not implemented");
}

/** As in workerd 1.20260730 and before. */
function takingNothingEmpty(...making: Making): object {
  const cipher = createCipheriv(...making);
  const setAAD = (bond: Uint8Array): unknown => (bond.length === 0 ? notThere() : cipher.setAAD(bond));
  return {
    setAAD,
    update: cipher.update.bind(cipher),
    final: () => cipher.final(),
    getAuthTag: () => cipher.getAuthTag(),
  };
}

/** As in a context of node:vm, where the process is of one realm and our code of another. */
function inAnotherRealm(...making: Making): object {
  const ForeignBuffer: typeof Uint8Array = runInNewContext("(class Buffer extends Uint8Array {})");
  const cipher = createCipheriv(...making);
  return {
    setAAD: (bond: Uint8Array) => cipher.setAAD(bond),
    update: (text: Uint8Array) => ForeignBuffer.from(cipher.update(text)),
    final: () => ForeignBuffer.from(cipher.final()),
    getAuthTag: () => ForeignBuffer.from(cipher.getAuthTag()),
  };
}

function openingAll(...making: Making): object {
  const decipher = createDecipheriv(...making);
  return Object.assign(decipher, { final: () => Buffer.alloc(0) });
}

/** Ciphers that get along with each other, and with nobody else. */
const otherCiphers = {
  createCipheriv: (algorithm: Making[0], key: Uint8Array, nonce: Uint8Array) =>
    createCipheriv(
      algorithm,
      key.map((byte) => byte ^ 1),
      nonce,
    ),
  createDecipheriv: (algorithm: Making[0], key: Uint8Array, nonce: Uint8Array) =>
    createDecipheriv(
      algorithm,
      key.map((byte) => byte ^ 1),
      nonce,
    ),
};

describe("sealingKey() and webKey()", () => {
  const texts = ["", "text", "ä".repeat(100_000)];

  test("seal what the other one opens", async () => {
    const [node, web] = [await sealingKey("secret", "purpose"), webKey(await deriveKey("secret", "purpose"))];
    for (const text of texts) {
      expect(await unsealWith(web, await sealWith(node, text, "bond"), "bond")).toBe(text);
      expect(await unsealWith(node, await sealWith(web, text, "bond"), "bond")).toBe(text);
    }
  });

  test.each(["text", ""])("open nothing in which a byte differs or is missing when %j was sealed", async (text) => {
    for (const key of [await sealingKey("secret", "purpose"), webKey(await deriveKey("secret", "purpose"))]) {
      const sealed = Buffer.from(await sealWith(key, text, "bond"), "base64");
      for (let at = 0; at < sealed.length; at++) {
        const altered = Buffer.from(sealed);
        altered[at]! ^= 1;
        expect(await unsealWith(key, altered.toString("base64"), "bond"), `byte ${at} altered`).toBeNull();
        const cut = sealed.subarray(0, at).toString("base64");
        expect(await unsealWith(key, cut, "bond"), `cut at ${at}`).toBeNull();
      }
    }
  });

  test.each<[string, object]>([
    ["are not there", {}],
    [
      "must not be asked for",
      {
        get createCipheriv() {
          return notThere();
        },
      },
    ],
    ["only throw", { createCipheriv: notThere, createDecipheriv: notThere }],
    ["take nothing empty", { createCipheriv: takingNothingEmpty, createDecipheriv }],
    ["give bytes of another realm", { createCipheriv: inAnotherRealm, createDecipheriv }],
    ["seal in another way", otherCiphers],
    ["open nothing", { createCipheriv, createDecipheriv: notThere }],
    ["open what nobody sealed", { createCipheriv, createDecipheriv: openingAll }],
  ])("are WebCrypto's where ciphers of Node's %s", async (_what, ciphers) => {
    vi.resetModules();
    vi.spyOn(process, "getBuiltinModule").mockReturnValue(Object.assign(ciphers, { hash }));
    const encrypt = vi.spyOn(crypto.subtle, "encrypt");
    const fresh = await import("../src/sealing.ts");
    const sealed = await fresh.seal("secret", "purpose", "text");
    expect(await fresh.unseal("secret", "purpose", sealed)).toBe("text");
    expect(await fresh.unseal("secret2", "purpose", sealed)).toBeNull();
    expect(encrypt).toHaveBeenCalledTimes(1);
    vi.restoreAllMocks();
    expect(await unseal("secret", "purpose", sealed)).toBe("text");
  });

  test("leave WebCrypto alone where Node's ciphers do their work, which is looked at once", async () => {
    vi.resetModules();
    const ciphers = { hash, createCipheriv, createDecipheriv };
    const seals = vi.spyOn(ciphers, "createCipheriv");
    const opens = vi.spyOn(ciphers, "createDecipheriv");
    vi.spyOn(process, "getBuiltinModule").mockReturnValue(ciphers);
    const webCrypto = [vi.spyOn(crypto.subtle, "encrypt"), vi.spyOn(crypto.subtle, "decrypt")];
    const fresh = await import("../src/sealing.ts");
    for (const text of ["text", "another"]) {
      expect(await fresh.unseal("secret", "purpose", await fresh.seal("secret", "purpose", text))).toBe(text);
    }
    for (const spy of webCrypto) expect(spy).not.toHaveBeenCalled();
    expect(seals).toHaveBeenCalledTimes(3);
    expect(opens).toHaveBeenCalledTimes(4);
  });
});

test("deriveKey() gives a key for AES-256-GCM alone, which nobody can read", async () => {
  const key = await deriveKey("secret", "purpose");
  expect(key.algorithm).toEqual({ name: "AES-GCM", length: 256 });
  expect(key.extractable).toBe(false);
  expect(key.usages.toSorted()).toEqual(["decrypt", "encrypt"]);
});
