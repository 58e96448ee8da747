/** What is used of Node's crypto here. */
export interface NodeCrypto {
  hash(algorithm: "sha256", text: string): string;
  createCipheriv: (
    algorithm: "aes-256-gcm",
    key: Uint8Array,
    nonce: Uint8Array,
  ) => Cipher & { getAuthTag(): Uint8Array };
  createDecipheriv: (
    algorithm: "aes-256-gcm",
    key: Uint8Array,
    nonce: Uint8Array,
  ) => Cipher & { setAuthTag(tag: Uint8Array): void };
}

interface Cipher {
  setAAD(bond: Uint8Array): void;
  update(bytes: Uint8Array): Uint8Array;
  final(): Uint8Array;
}

let found: NodeCrypto | null | undefined;

/**
 * Node's crypto, which Deno, Bun, and Workers with `nodejs_compat` have as well: it answers at once, where WebCrypto takes an
 * await and, on Node, another thread. `bench/README.md` has what that saves. Null where there is none.
 */
export function nodeCrypto(): NodeCrypto | null {
  // Not on import, for to load it takes longer than everything else.
  return found === undefined ? (found = find()) : found;
}

function find(): NodeCrypto | null {
  try {
    const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => NodeCrypto } };
    const crypto = process?.getBuiltinModule?.("node:crypto");
    // Some bundlers put functions there that only throw.
    return crypto?.hash("sha256", "abc") === ABC ? crypto : null;
  } catch {
    return null;
  }
}

/** FIPS 180-2, B.1. */
const ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
