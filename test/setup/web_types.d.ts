// Types of the web platform that @types/node declares under other names. They serve tests and examples, which use
// Node's types. The library itself is checked against TypeScript's own types (tsconfig.src.json).
import type { webcrypto } from "node:crypto";

declare global {
  type CryptoKey = webcrypto.CryptoKey;
  type BodyInit = NonNullable<RequestInit["body"]>;
}
