import { difference } from "./changes.ts";
import type { Deadline } from "./deadline.ts";
import { expiryOf, type Timeouts } from "./expiry.ts";
import { type Head, HEAD_FIELD, headText, readHead } from "./record.ts";
import { seal, unseal } from "./sealing.ts";
import { isId, keyOfId } from "./session_id.ts";
import type { WireForm } from "./signing.ts";
import type { Loaded, RecordChange, SessionRecord, SessionStore, Version } from "./store.ts";
import type { Contents, Found, Refusal, Vault } from "./vault.ts";

/** A session in a store: the client holds the id, the store a record under the id's hash. */
interface Stored extends Found {
  readonly id: string;
  readonly key: string;
}

/**
 * How long, in milliseconds, a regenerated id's pointer stays: the longest that a request which loaded the
 * old session may take to log out, and by that end the new one as well.
 */
const POINTER_LIFE = 600_000;
/** More regenerations than this within one grace period are no client's doing. */
const LONGEST_CHAIN = 8;

/** The vault whose records lie in a store, under the hash of the id that the client holds. */
export class StoreVault implements Vault<Stored> {
  readonly #store: SessionStore;
  readonly #ids: WireForm;
  readonly #timeoutsOf: (head: Head) => Timeouts;

  constructor(store: SessionStore, ids: WireForm, timeoutsOf: (head: Head) => Timeouts) {
    this.#store = store;
    this.#ids = ids;
    this.#timeoutsOf = timeoutsOf;
  }

  async open(presented: string, now: number, deadline: Deadline): Promise<Stored | Refusal> {
    const claimed = this.#ids.fromWire(presented);
    if (claimed === null) return "forged";
    let id = claimed;
    for (let hop = 0; hop < LONGEST_CHAIN; hop++) {
      if (!isId(id)) return "malformed";
      const key = keyOfId(id);
      const loaded = await this.#load(key, deadline);
      if (loaded === null) return "unknown";
      const head = readHead(loaded, key);
      if (typeof head === "string") return head;
      if (this.#expiresAt(head, loaded.lastSeenAt) <= now) return "expired";
      if (head.successor === undefined) return { ...loaded, wire: this.#ids.toWire(id), id, key, head };
      if (head.successor.graceUntil <= now) return "retired";
      const next = await unseal(id, SUCCESSOR, head.successor.sealedId);
      if (next === null) return "corrupt";
      id = next;
    }
    return "retired";
  }

  async reopen(held: Stored, now: number, deadline: Deadline): Promise<Stored | null> {
    const loaded = await this.#load(held.key, deadline);
    if (loaded === null) return null;
    const head = readHead(loaded, held.key);
    if (typeof head === "string" || head.successor !== undefined) return null;
    return this.#expiresAt(head, loaded.lastSeenAt) <= now ? null : { ...held, ...loaded, head };
  }

  async create(id: string, contents: Contents, deadline: Deadline): Promise<Stored | "taken"> {
    const key = keyOfId(id);
    const record = recordOf(contents, key);
    const expiresAt = this.#expiresAt(contents.head, contents.lastSeenAt);
    const version = await deadline.call(STORING, () => this.#store.create(key, record, expiresAt));
    return version === "taken" ? version : { ...record, head: contents.head, wire: this.#ids.toWire(id), id, key, version };
  }

  async change(
    held: Stored,
    contents: Contents,
    changed: ReadonlyMap<string, string | null>,
    deadline: Deadline,
  ): Promise<Stored | "conflict" | "gone"> {
    const { head, lastSeenAt } = contents;
    const change = withHead(contents, changed, held.key);
    const expiresAt = this.#expiresAt(head, lastSeenAt);
    const version = await deadline.call(
      STORING,
      () => this.#store.change(held.key, change, held.version, expiresAt),
    );
    if (version === "conflict" || version === "gone") return version;
    return { ...held, ...change.record, head, version };
  }

  async touch(held: Stored, now: number, deadline: Deadline): Promise<Stored | null> {
    const expiresAt = this.#expiresAt(held.head, now);
    const loaded = { fields: held.fields, lastSeenAt: held.lastSeenAt, version: held.version };
    const found = await deadline.call(STORING, () => this.#store.touch(held.key, now, expiresAt, loaded));
    return found ? { ...held, lastSeenAt: now } : null;
  }

  async retire(
    held: Stored,
    heir: Stored,
    graceUntil: number,
    now: number,
    deadline: Deadline,
  ): Promise<"retired" | "conflict" | "gone"> {
    const sealedId = await seal(held.id, SUCCESSOR, heir.id);
    const head = { ...held.head, successor: { sealedId, graceUntil } };
    const changed = difference(held.fields, new Map());
    const change = withHead({ fields: new Map(), head, lastSeenAt: now }, changed, held.key);
    const expiresAt = Math.max(now + POINTER_LIFE, graceUntil);
    try {
      const answer = await deadline.call(
        STORING,
        () => this.#store.change(held.key, change, held.version, expiresAt),
      );
      return answer === "conflict" || answer === "gone" ? answer : "retired";
    } catch (error) {
      // It may have been done although it was answered with an error.
      if (await this.#isRetired(held, heir, now, deadline.again())) return "retired";
      throw error;
    }
  }

  async #isRetired(held: Stored, heir: Stored, now: number, deadline: Deadline): Promise<boolean> {
    try {
      // A touch moves the version, so that what was sent before and is still under way comes to nothing.
      await this.touch(held, now, deadline).catch(() => {});
      const loaded = await this.#load(held.key, deadline);
      const head = loaded && readHead(loaded, held.key);
      if (head === null || typeof head === "string" || head.successor === undefined) return false;
      return (await unseal(held.id, SUCCESSOR, head.successor.sealedId)) === heir.id;
    } catch {
      return false;
    }
  }

  async end(held: Stored | string, deadline: Deadline): Promise<void> {
    const id = typeof held === "string" ? this.#ids.fromWire(held) : held.id;
    if (id !== null && isId(id)) await this.#endId(id, typeof held === "string" ? undefined : held.version, deadline);
  }

  async #endId(id: string, found: Version | undefined, deadline: Deadline): Promise<void> {
    const key = keyOfId(id);
    let version = found;
    for (;;) {
      if (version !== undefined) {
        const expected = version;
        const answer = await deadline.call(ENDING, () => this.#store.delete(key, expected));
        if (answer !== "conflict") return;
        await deadline.pause();
      }
      const loaded = await this.#load(key, deadline);
      if (loaded === null) return;
      const head = readHead(loaded, key);
      const successor = typeof head === "string" ? undefined : head.successor;
      const heirId = successor && (await unseal(id, SUCCESSOR, successor.sealedId));
      // The heir first: if this fails in between, the pointer is still there for the next attempt.
      if (heirId) await this.#endId(heirId, undefined, deadline);
      version = loaded.version;
    }
  }

  #expiresAt(head: Head, lastSeenAt: number): number {
    return expiryOf({ since: head.since, lastSeenAt }, this.#timeoutsOf(head));
  }

  #load(key: string, deadline: Deadline): Promise<Loaded | null> {
    return deadline.call("load the session", () => this.#store.load(key));
  }
}

const STORING = "store the session";
const ENDING = "end the session";
/** What the new id is sealed for in the old one's record. */
const SUCCESSOR = "successor";

function recordOf(contents: Contents, key: string): SessionRecord {
  const fields = new Map(contents.fields).set(HEAD_FIELD, headText(contents.head, key));
  return { fields, lastSeenAt: contents.lastSeenAt };
}

function withHead(
  contents: Contents,
  changed: ReadonlyMap<string, string | null>,
  key: string,
): RecordChange {
  const text = headText(contents.head, key);
  return { record: recordOf(contents, key), changed: new Map(changed).set(HEAD_FIELD, text) };
}
