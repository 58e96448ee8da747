// Types of the web platform that @types/node has under another name. The library itself is checked against
// TypeScript's own (tsconfig.src.json); this is for tests and examples, which know Node as well.
import type { webcrypto } from "node:crypto";

declare global {
  type CryptoKey = webcrypto.CryptoKey;
  type BodyInit = NonNullable<RequestInit["body"]>;
}
