import { compactDecrypt, CompactEncrypt } from "jose";
import type { Deadline } from "./deadline.ts";
import { expiryOf, type Timeouts } from "./expiry.ts";
import { loadRecord } from "./loading.ts";
import { type Head, readHead, withHead } from "./record.ts";
import { recordFromText, recordToText } from "./record_text.ts";
import { deriveKey, seal, unseal } from "./sealing.ts";
import { isId, keyOfId } from "./session_id.ts";
import type { Loaded, SessionStore, Version } from "./store.ts";
import type { Contents, Found, Refusal, Vault, VaultCore } from "./vault.ts";

/** What seals texts for one cookie, and opens them. */
export interface Sealer {
  seal(text: string): Promise<string>;
  /** The text that was sealed, or null if it was not sealed here and for this. */
  unseal(sealed: string): Promise<string | null>;
}

/** How long, in milliseconds, a regenerated session can still end the one that took over; as in a store. */
const POINTER_LIFE = 600_000;
/** How far, in milliseconds, the clocks of two servers may be apart. */
const CLOCK_SKEW = 60_000;

/**
 * The vault whose records lie with the client: what it presents is the session itself, sealed. What was ended or
 * regenerated is noted, under a name that is sealed in the session, in a store of revocations, if there is one.
 */
export class SealedVault implements Vault {
  readonly wireOf: null = null;
  readonly roster: null = null;
  readonly #core: VaultCore;
  readonly #sealer: Sealer;
  #revocation: SessionStore | undefined;

  constructor(core: VaultCore, sealer: Sealer) {
    this.#core = core;
    this.#sealer = sealer;
  }

  async open(presented: string, now: number, deadline: Deadline): Promise<Found | Refusal> {
    const found = await this.#read(presented);
    if (typeof found === "string") return found;
    if (expiryOf({ since: found.head.since, lastSeenAt: found.lastSeenAt }, this.#core.timeoutsOf(found.head)) <= now) {
      return "expired";
    }
    const revoked = await this.#revocationOf(found.id, deadline);
    if (revoked === null) return found;
    const { successor } = revoked;
    if (successor === undefined) return "unknown";
    return successor.graceUntil > now ? found : "retired";
  }

  async reopen(held: Found, _now: number, deadline: Deadline): Promise<Found | null> {
    return (await this.#revocationOf(held.id, deadline)) === null ? held : null;
  }

  create(id: string, contents: Contents): Promise<Found> {
    return this.#sealed(id, contents);
  }

  async change(held: Found, contents: Contents, deadline: Deadline): Promise<Found | "gone"> {
    return (await this.#revocationOf(held.id, deadline)) === null ? this.#sealed(held.id, contents) : "gone";
  }

  touch(held: Found, now: number, deadline: Deadline): Promise<Found | "gone"> {
    return this.change(held, { ...held, lastSeenAt: now }, deadline);
  }

  /** Of two that regenerate one session, the store of revocations lets one be the first. */
  async retire(
    held: Found,
    heir: Found,
    graceUntil: number,
    now: number,
    deadline: Deadline,
  ): Promise<"retired" | "gone"> {
    const sealedId = await seal(held.id, SUCCESSOR, heir.id);
    const note = { ...heir.head, successor: { sealedId, graceUntil } };
    const until = Math.max(this.#lastExpiry(held.head, now), graceUntil);
    try {
      return (await this.#note(held.id, note, now, until, deadline)) === "taken" ? "gone" : "retired";
    } catch (error) {
      // It may have been done although it was answered with an error.
      const isDone = async (within: Deadline): Promise<boolean> => {
        const revoked = await this.#revocationOf(held.id, within);
        return revoked !== null && (await heirOf(held.id, revoked)) === heir.id;
      };
      if (await deadline.repair(isDone).catch(() => false)) return "retired";
      throw error;
    }
  }

  async end(held: Found | string, deadline: Deadline): Promise<void> {
    const found = typeof held === "string" ? await this.#read(held) : held;
    if (typeof found !== "string") await this.#endId(found.id, found.head, deadline);
  }

  async #endId(id: string, head: Head, deadline: Deadline): Promise<void> {
    const now = this.#core.now();
    const { successor: _, ...note } = head;
    if ((await this.#note(id, note, now, this.#lastExpiry(head, now), deadline)) !== "taken") return;
    const revoked = await this.#revocationOf(id, deadline);
    const heirId = revoked && (await heirOf(id, revoked));
    if (heirId && now - revoked.retiredAt < POINTER_LIFE) await this.#endId(heirId, revoked, deadline);
  }

  async #sealed(id: string, { fields, head, lastSeenAt }: Contents): Promise<Found> {
    // Which write it was, only a store that fails needs to know.
    const { writtenBy: _, ...kept } = head;
    const record = { fields: withHead({ fields, head: kept }, keyOfId(id)), lastSeenAt };
    const wire = await this.#sealer.seal(`${id} ${recordToText(record)}`);
    // Before anything is noted: or a session that is regenerated, and has become too large, would be lost.
    this.#core.assertFits(wire);
    return { ...record, id, wire, head, version: wire };
  }

  async #read(presented: string): Promise<Found | Refusal> {
    if (!COMPACT_SHAPE.test(presented)) return "malformed";
    const text = await this.#sealer.unseal(presented);
    if (text === null) return "forged";
    const space = text.indexOf(" ");
    const id = text.slice(0, space);
    if (!isId(id)) return "corrupt";
    const record = recordFromText(text.slice(space + 1));
    const head = readHead(record, keyOfId(id));
    return typeof head === "string" ? head : { ...record, id, wire: presented, head, version: presented };
  }

  /**
   * When the last copy of a session expires, by the clock of whichever server. Another copy may have an idle timeout of its own, of which
   * this one knows nothing, or none of its own: each ends with its absolute timeout, if there is one.
   */
  #lastExpiry(head: Head, now: number): number {
    const endOf = ({ idle, absolute }: Timeouts): number =>
      absolute === false ? now + idle * 1000 : head.since + absolute * 1000;
    const { timeouts: _, ...common } = head;
    return Math.max(endOf(this.#core.timeoutsOf(head)), endOf(this.#core.timeoutsOf(common))) + CLOCK_SKEW;
  }

  /** What is noted of a session, or null. A note that cannot be read is one of an end. */
  async #revocationOf(id: string, deadline: Deadline): Promise<(Head & { readonly retiredAt: number }) | null> {
    const key = noteKey(id);
    const action = "load the session";
    const load = (store: SessionStore): Promise<Loaded | null> => loadRecord(store, key, action, deadline);
    const loaded = await this.#ask(action, null, load, deadline);
    if (loaded === null) return null;
    const head = readHead(loaded, key);
    const retiredAt = loaded.lastSeenAt;
    return typeof head === "string" ? { createdAt: 0, since: 0, retiredAt } : { ...head, retiredAt };
  }

  #note(id: string, head: Head, now: number, until: number, deadline: Deadline): Promise<Version | "taken"> {
    const key = noteKey(id);
    const record = { fields: withHead({ fields: new Map(), head }, key), lastSeenAt: now };
    return this.#ask<Version | "taken">("end the session", "", (store) => store.create(key, record, until), deadline);
  }

  async #ask<Answer>(
    action: string,
    withoutStore: Answer,
    call: (store: SessionStore) => Promise<Answer>,
    deadline: Deadline,
  ): Promise<Answer> {
    const { revocation } = this.#core;
    if (revocation === undefined) return withoutStore;
    const store = (this.#revocation ??= await revocation());
    return await deadline.call(action, () => call(store));
  }
}

/**
 * Sealers for the names and secrets that they are asked for: a JWE in compact form (RFC 7516), `dir` and `A256GCM`. The first
 * secret seals, all of them open.
 */
export function sealer(): (core: Pick<VaultCore, "secrets" | "name">) => Sealer {
  // Kept as values: some runtimes bind a promise to one request.
  const keys = new Map<string, CryptoKey>();
  return ({ secrets, name }) => {
    const keyOf = async (secret: string): Promise<CryptoKey> => {
      const known = JSON.stringify([name, secret]);
      const key = keys.get(known) ?? (await deriveKey(secret, `cookie ${name}`));
      keys.set(known, key);
      return key;
    };
    return {
      async seal(text) {
        const sealing = new CompactEncrypt(utf8.encode(text)).setProtectedHeader({ alg: "dir", enc: "A256GCM" });
        return await sealing.encrypt(await keyOf(secrets[0]!));
      },
      async unseal(sealed) {
        for (const secret of secrets) {
          try {
            return new TextDecoder().decode((await compactDecrypt(sealed, await keyOf(secret), ONLY)).plaintext);
          } catch {
            // Not sealed with this secret; perhaps with an older one.
          }
        }
        return null;
      },
    };
  };
}

/** What a client's text may be: whatever else its header asks for is refused. */
const ONLY = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] };
/** Header, no key, nonce, ciphertext, tag. */
const COMPACT_SHAPE = /^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}$/;
const SUCCESSOR = "successor";
const utf8 = new TextEncoder();

/** No id has a space: whatever else lies in that store, it is never taken for a note. */
function noteKey(id: string): string {
  return keyOfId(`revoked ${id}`);
}

async function heirOf(id: string, { successor }: Head): Promise<string | null> {
  return successor === undefined ? null : await unseal(id, SUCCESSOR, successor.sealedId);
}
