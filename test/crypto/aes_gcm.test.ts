import nodeCrypto, { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { aesKey, decrypt, encrypt } from "../../src/crypto/aes_gcm.ts";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

const BYTES = new Uint8Array(32).map((_, at) => at * 5);
const KEY = aesKey(BYTES);
const OTHER = aesKey(new Uint8Array(32).fill(1));
const texts = ["", "text", "ü€", "\uFEFFtext", "ä".repeat(100_000)];

type Making = [algorithm: "aes-256-gcm", key: KeyObject, nonce: Uint8Array];

function notThere(): never {
  throw new Error("Not implemented");
}

/** A cipher that rejects empty additional data, as in workerd 1.20260730 and before. */
function takingNothingEmpty(...making: Making): object {
  const cipher = createCipheriv(...making);
  return {
    setAAD: (data: Uint8Array) => (data.length === 0 ? notThere() : cipher.setAAD(data)),
    update: cipher.update.bind(cipher),
    final: cipher.final.bind(cipher),
    getAuthTag: () => cipher.getAuthTag(),
  };
}

/** A cipher whose bytes cannot be written as base64url. */
function givingBytesAlone(...making: Making): object {
  const cipher = createCipheriv(...making);
  return {
    setAAD: (data: Uint8Array) => cipher.setAAD(data),
    update: (text: string) => new Uint8Array(cipher.update(text)),
    final: () => new Uint8Array(cipher.final()),
    getAuthTag: () => cipher.getAuthTag(),
  };
}

function openingAll(...making: Making): object {
  const decipher = createDecipheriv(...making);
  return Object.assign(decipher, { final: () => "" });
}

/** Ciphers that are compatible with each other, but with no other implementation. */
const otherCiphers = {
  createCipheriv: (algorithm: Making[0], key: KeyObject, nonce: Uint8Array) =>
    createCipheriv(
      algorithm,
      key.export().map((byte) => byte ^ 1),
      nonce,
    ),
  createDecipheriv: (algorithm: Making[0], key: KeyObject, nonce: Uint8Array) =>
    createDecipheriv(
      algorithm,
      key.export().map((byte) => byte ^ 1),
      nonce,
    ),
};

/** Loads the module anew in a process whose node:crypto has these ciphers. */
async function freshWith(ciphers: object | undefined) {
  vi.resetModules();
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(
    (ciphers && Object.assign(ciphers, { hash, createSecretKey })) as never,
  );
  return await import("../../src/crypto/aes_gcm.ts");
}

describe("encrypt()", () => {
  test("gives a mark, nonce, tag and ciphertext of AES-256-GCM, as another implementation decrypts them", () => {
    const sealed = String(encrypt(KEY, "text ü", "data ö"));
    expect(sealed).toMatch(/^1[A-Za-z0-9_-]+$/);
    const bytes = (from: number, to?: number) => Buffer.from(sealed.slice(from, to), "base64url");
    const decipher = createDecipheriv("aes-256-gcm", BYTES, bytes(1, 17));
    decipher.setAAD(Buffer.from("data ö")).setAuthTag(bytes(17, 39));
    expect(decipher.update(bytes(39), undefined, "utf8") + decipher.final("utf8")).toBe("text ü");
  });

  test("gives another text each time", () => {
    expect(new Set(Array.from({ length: 100 }, () => encrypt(KEY, "text", ""))).size).toBe(100);
  });
});

describe("decrypt()", () => {
  test.each(texts)("gives back at once what was encrypted", (text) => {
    expect(decrypt(KEY, String(encrypt(KEY, text, "data")), "data")).toBe(text);
  });

  test("decrypts what another implementation has encrypted", () => {
    const nonce = Buffer.alloc(12, 250);
    const cipher = createCipheriv("aes-256-gcm", BYTES, nonce).setAAD(Buffer.from("data"));
    const ciphertext = Buffer.concat([cipher.update("text"), cipher.final()]);
    const sealed = `1${nonce.toString("base64url")}${cipher.getAuthTag().toString("base64url")}${ciphertext.toString("base64url")}`;
    expect(decrypt(KEY, sealed, "data")).toBe("text");
  });

  test.each(["text", ""])(
    "gives null when key, data or a single character differs, or one is missing: %j",
    async (text) => {
      const sealed = String(encrypt(KEY, text, "data"));
      const web = await freshWith(undefined);
      for (const open of [decrypt, web.decrypt]) {
        expect(await open(KEY, sealed, "data")).toBe(text);
        expect(await open(OTHER, sealed, "data")).toBeNull();
        expect(await open(KEY, sealed, "data2")).toBeNull();
        expect(await open(KEY, sealed, "")).toBeNull();
        for (let at = 0; at < sealed.length; at++) {
          // The first bits of each character are always part of a byte.
          const altered = sealed[at] === "A" ? "g" : "A";
          expect(
            await open(KEY, sealed.slice(0, at) + altered + sealed.slice(at + 1), "data"),
            `${at} altered`,
          ).toBeNull();
          expect(await open(KEY, sealed.slice(0, at), "data"), `cut at ${at}`).toBeNull();
        }
      }
    },
  );

  test("gives null when the text has the mark of another format, or a character too many", async () => {
    const nonce = Buffer.from("1".repeat(16), "base64url");
    const cipher = createCipheriv("aes-256-gcm", BYTES, nonce).setAAD(Buffer.from("data"));
    const ciphertext = cipher.update("text", "utf8", "base64url") + cipher.final("base64url");
    const rest = nonce.toString("base64url") + cipher.getAuthTag().toString("base64url") + ciphertext;
    for (const open of [decrypt, (await freshWith(undefined)).decrypt]) {
      expect(await open(KEY, `1${rest}`, "data")).toBe("text");
      expect(await open(KEY, `2${rest}`, "data")).toBeNull();
      for (const more of ["!", "=", " ", "\n"]) expect(await open(KEY, `1${rest}${more}`, "data")).toBeNull();
    }
  });

  test.each([
    "",
    "1",
    "A",
    "%",
    "1".repeat(17),
    "1".repeat(39),
    "1".repeat(100),
    "2".repeat(100),
    "ä".repeat(40),
    `1${"A".repeat(40)}=`,
  ])("gives null and does not throw when it is given %j", async (sealed) => {
    expect(decrypt(KEY, sealed, "")).toBeNull();
    expect(await (await freshWith(undefined)).decrypt(KEY, sealed, "")).toBeNull();
  });
});

describe("with WebCrypto", () => {
  test("gives what Node's ciphers decrypt, and decrypts what they gave", async () => {
    const web = await freshWith(undefined);
    for (const text of texts) {
      expect(decrypt(KEY, await web.encrypt(KEY, text, "data"), "data")).toBe(text);
      expect(await web.decrypt(KEY, String(encrypt(KEY, text, "data")), "data")).toBe(text);
    }
  });

  test("imports a key once", async () => {
    const web = await freshWith(undefined);
    const key = aesKey(BYTES);
    const imports = vi.spyOn(crypto.subtle, "importKey");
    const sealed = await web.encrypt(key, "text", "");
    await web.decrypt(key, sealed, "");
    await web.decrypt(key, sealed, "");
    expect(imports).toHaveBeenCalledTimes(1);
  });
});

describe("Node's ciphers", () => {
  test.each<[string, object]>([
    ["are absent", {}],
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
    ["give bytes alone", { createCipheriv: givingBytesAlone, createDecipheriv }],
    ["encrypt in another way", otherCiphers],
    ["decrypt nothing", { createCipheriv, createDecipheriv: notThere }],
    ["decrypt what nobody encrypted", { createCipheriv, createDecipheriv: openingAll }],
  ])("are left alone when they %s", async (_what, ciphers) => {
    const fresh = await freshWith(ciphers);
    const web = vi.spyOn(crypto.subtle, "encrypt");
    const sealed = await fresh.encrypt(KEY, "text", "data");
    expect(await fresh.decrypt(KEY, sealed, "data")).toBe("text");
    expect(await fresh.decrypt(OTHER, sealed, "data")).toBeNull();
    expect(web).toHaveBeenCalledTimes(1);
    expect(decrypt(KEY, sealed, "data")).toBe("text");
  });

  test("get the key object of a key, which is made once", () => {
    const key = aesKey(BYTES);
    const made = vi.spyOn(nodeCrypto, "createSecretKey");
    expect(decrypt(key, String(encrypt(key, "text", "")), "")).toBe("text");
    expect(made).toHaveBeenCalledTimes(1);
  });

  test("are tried once, and WebCrypto is left alone where they do their work", async () => {
    const ciphers = { createCipheriv, createDecipheriv };
    const fresh = await freshWith(ciphers);
    const made = vi.spyOn(ciphers, "createCipheriv");
    const web = [vi.spyOn(crypto.subtle, "encrypt"), vi.spyOn(crypto.subtle, "decrypt")];
    for (const text of ["text", "another"])
      expect(fresh.decrypt(KEY, String(fresh.encrypt(KEY, text, "")), "")).toBe(text);
    for (const spy of web) expect(spy).not.toHaveBeenCalled();
    expect(made).toHaveBeenCalledTimes(4);
  });
});
