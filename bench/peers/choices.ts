/**
 * The figures behind the choice of libraries: each choice beside its alternatives. The argument is `<rounds>`, and the
 * costs are written to the output.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { parse, stringify } from "devalue";
import { deserialize, serialize } from "seroval";
import { structuredCodec } from "../../src/core/codec.ts";
import { aesKey, decrypt, encrypt } from "../../src/crypto/aes_gcm.ts";
import { deriveKey } from "../../src/crypto/keys.ts";
import { hashOf } from "../own.ts";
import { median } from "../figures.ts";
import type { ChoiceCost } from "../results.ts";

const ID = "A".repeat(32);
const encoder = new TextEncoder();
const SMALL = { name: "ada", roles: ["admin", "author"], visits: 12, tags: { theme: "dark" } };
const RICH = { ...SMALL, at: new Date(0), seen: new Set([1, 2, 3]), limits: new Map([["a", 1]]) };

interface Way {
  readonly task: string;
  readonly way: string;
  readonly isOurs?: boolean;
  /** Does the task once. A falsy result is an error. */
  readonly run: () => unknown;
}

const HASH = "SHA-256 of an id, as hexadecimal text";
const SEAL = "a record of 200 bytes sealed with AES-256-GCM, and opened";
const RECORD = "a".repeat(200);

const bytes = await deriveKey("record", "secret");
const key = aesKey(bytes);
const webKey = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

/** The same with WebCrypto, for platforms without node:crypto. */
async function webSealed(): Promise<string> {
  const algorithm = {
    name: "AES-GCM",
    iv: crypto.getRandomValues(new Uint8Array(12)),
    additionalData: encoder.encode("bond"),
  };
  const sealed = await crypto.subtle.encrypt(algorithm, webKey, encoder.encode(RECORD));
  const text = Buffer.from(sealed).toString("base64url");
  return new TextDecoder().decode(await crypto.subtle.decrypt(algorithm, webKey, Buffer.from(text, "base64url")));
}

const ways: readonly Way[] = [
  { task: HASH, way: "node:crypto, hash", isOurs: true, run: () => hashOf(ID) },
  { task: HASH, way: "node:crypto, createHash", run: () => createHash("sha256").update(ID).digest("hex") },
  {
    task: HASH,
    way: "WebCrypto, where there is none",
    run: async () => hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(ID)))),
  },
  {
    task: SEAL,
    way: "node:crypto",
    isOurs: true,
    run: () => decrypt(key, String(encrypt(key, RECORD, "bond")), "bond"),
  },
  {
    task: SEAL,
    way: "WebCrypto, where there is none",
    run: webSealed,
  },
  ...codecWays("a string, there and back", "ada@shop.example"),
  ...codecWays("a number, there and back", 12),
  ...codecWays("a small object, there and back", SMALL),
  ...codecWays("an object with a Date, a Set and a Map, there and back", RICH),
];

function codecWays(task: string, value: unknown): Way[] {
  const isJson = value !== RICH;
  return [
    {
      task,
      way: "the library's codec",
      isOurs: true,
      run: () => structuredCodec.decode(structuredCodec.encode(value)),
    },
    { task, way: "devalue", run: () => parse(stringify(value)) },
    { task, way: "seroval, evaluated", run: () => deserialize(serialize(value)) },
    ...(isJson ? [{ task, way: "JSON", run: (): unknown => JSON.parse(JSON.stringify(value)) }] : []),
  ];
}

/** Measures all ways, which take turns. */
async function measureChoices(rounds: number): Promise<ChoiceCost[]> {
  const measured = ways.map(() => [] as number[]);
  for (let round = -5; round < rounds; round++) {
    for (const [index, { run }] of ways.entries()) {
      const start = performance.now();
      let used = 0;
      for (let time = 0; time < 100; time++) {
        const result = run();
        if (result instanceof Promise ? await result : result) used++;
      }
      if (used !== 100) throw new Error("Nothing came of it");
      if (round >= 0) measured[index]?.push((performance.now() - start) * 10);
    }
  }
  return ways.map(({ task, way, isOurs = false }, index) => ({
    task,
    way,
    isOurs,
    microseconds: median(measured[index] ?? []),
  }));
}

const HEX = Array.from({ length: 256 }, (_none, byte) => byte.toString(16).padStart(2, "0"));

function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte];
  return text;
}

console.log(JSON.stringify(await measureChoices(Number(process.argv[2] ?? 100))));
