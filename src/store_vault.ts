import { difference } from "./changes.ts";
import type { Deadline } from "./deadline.ts";
import type { RecordLock } from "./encryption.ts";
import { BusyError } from "./errors.ts";
import { expiryOf, type Timeouts } from "./expiry.ts";
import { loadRecord, meaningless } from "./loading.ts";
import { type Head, readHead, withHead } from "./record.ts";
import type { Roster } from "./roster.ts";
import { seal, unseal } from "./sealing.ts";
import { isId, keyOfId } from "./session_id.ts";
import type { WireForm } from "./signing.ts";
import type { Loaded, SessionRecord, SessionStore, StoreTraits, Version } from "./store.ts";
import type { Contents, Found, Refusal, Vault } from "./vault.ts";

/** A session in a store: the client holds the id, the store a record under the id's hash. */
export interface Stored extends Found {
  readonly key: string;
  /** The fields as the store has them, which may be sealed. */
  readonly stored: ReadonlyMap<string, string>;
  /** Whether the session is known from elsewhere, and the store does not show it. */
  readonly isMissing?: boolean;
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
  readonly wireOf: (id: string) => string;
  readonly roster: Roster;
  readonly #store: SessionStore;
  readonly #ids: WireForm;
  readonly #lock: RecordLock;
  readonly #timeoutsOf: (head: Head) => Timeouts;

  constructor(
    store: SessionStore,
    ids: WireForm,
    lock: RecordLock,
    timeoutsOf: (head: Head) => Timeouts,
    roster: Roster,
  ) {
    this.#store = store;
    this.roster = roster;
    this.#ids = ids;
    this.wireOf = ids.toWire;
    this.#lock = lock;
    this.#timeoutsOf = timeoutsOf;
  }

  open(presented: string, now: number, deadline: Deadline): Promise<Stored | Refusal> {
    return this.find(presented, now, deadline, now);
  }

  /** Finds a session as {@linkcode open} does, but lets it be one that has expired, unless it had by `aliveAt`. */
  async find(
    presented: string,
    now: number,
    deadline: Deadline,
    aliveAt: number = -Infinity,
  ): Promise<Stored | Refusal> {
    const claimed = this.#ids.fromWire(presented);
    if (claimed === null) return "forged";
    let { id, wire } = claimed;
    for (let hop = 0; hop < LONGEST_CHAIN; hop++) {
      if (!isId(id)) return "malformed";
      const key = keyOfId(id);
      const loaded = await this.#load(key, deadline);
      if (loaded === null) return "unknown";
      const head = readHead(loaded, key);
      if (typeof head === "string") return head;
      if (head.successor === undefined) {
        if (this.#expiresAt(head, loaded.lastSeenAt) <= aliveAt) return "expired";
        return (await this.#unlocked(loaded, { wire, id, key, head })) ?? "corrupt";
      }
      // The successor's own times say when it is over: it may have been granted more than its predecessor had left.
      if (head.successor.graceUntil <= now) return "retired";
      const next = await unseal(id, SUCCESSOR, head.successor.sealedId);
      if (next === null) return "corrupt";
      id = next;
      wire = this.#ids.toWire(id);
    }
    return "retired";
  }

  /** What the store can promise. */
  get traits(): StoreTraits {
    return this.#store.traits;
  }

  async reopen(held: Stored, now: number, deadline: Deadline): Promise<Stored | null> {
    const found = await this.findAgain(held, deadline);
    return found !== null && this.isOver(found, now) ? null : found;
  }

  /** Finds the newest state as {@linkcode reopen} does, and lets it be one that has expired. */
  async findAgain(held: Stored, deadline: Deadline): Promise<Stored | null> {
    const loaded = await this.#load(held.key, deadline);
    if (loaded === null) return null;
    const head = readHead(loaded, held.key);
    if (typeof head === "string" || head.successor !== undefined) return null;
    return await this.#unlocked(loaded, { wire: held.wire, id: held.id, key: held.key, head });
  }

  /** Whether a session's time is over. */
  isOver({ head, lastSeenAt }: Found, now: number): boolean {
    return this.#expiresAt(head, lastSeenAt) <= now;
  }

  /** A session that is known from elsewhere, and that the store does not show. */
  missing(id: string, { fields, head, lastSeenAt }: Contents): Stored {
    const key = keyOfId(id);
    const found = { fields, head, lastSeenAt, id, wire: this.#ids.toWire(id), version: "" };
    return { ...found, key, stored: new Map(), isMissing: true };
  }

  /** Whether a session that the store does not show was ended, and is not only late; undefined if the store cannot tell. */
  async wasEnded(id: string, deadline: Deadline): Promise<boolean | undefined> {
    const { wasDeleted } = this.#store;
    return wasDeleted && (await deadline.call(LOADING, () => wasDeleted.call(this.#store, keyOfId(id))));
  }

  async create(id: string, contents: Contents, deadline: Deadline): Promise<Stored | "taken"> {
    const key = keyOfId(id);
    const { head, lastSeenAt } = contents;
    const fields = withHead(contents, key);
    const stored = await this.#lock.lock(fields, id, key);
    const expiresAt = this.#expiresAt(head, lastSeenAt);
    const record = { fields: stored, lastSeenAt };
    const version = await deadline.insist(STORING, () => this.#store.create(key, record, expiresAt));
    assertVersion(version);
    if (version === "taken") return version;
    return { fields, lastSeenAt, head, wire: this.#ids.toWire(id), id, key, version, stored };
  }

  async change(
    held: Stored,
    contents: Contents,
    deadline: Deadline,
    verb: "insist" | "call" = "insist",
  ): Promise<Stored | "conflict" | "gone"> {
    const { head, lastSeenAt } = contents;
    const fields = withHead(contents, held.key);
    const stored = await this.#lock.lock(fields, held.id, held.key);
    const expiresAt = this.#expiresAt(head, lastSeenAt);
    const version = await deadline[verb](STORING, () => this.#replace(held, { fields: stored, lastSeenAt }, expiresAt));
    assertVersion(version);
    if (version === "conflict" || version === "gone") return version;
    if (version === "taken" && held.isMissing) return "conflict";
    return { ...held, fields, lastSeenAt, head, version, stored, isMissing: false };
  }

  /** Stores contents as {@linkcode change} does, unless the store is too busy: then the session stays as it was. */
  async rewrite(held: Stored, contents: Contents, deadline: Deadline): Promise<Stored | "conflict" | "gone"> {
    try {
      return await this.change(held, contents, deadline, "call");
    } catch (error) {
      return orAsItWas(held, error);
    }
  }

  async touch(held: Stored, now: number, deadline: Deadline): Promise<Stored | "conflict" | "gone"> {
    const expiresAt = this.#expiresAt(held.head, now);
    const loaded = { fields: held.stored, lastSeenAt: held.lastSeenAt, version: held.version };
    try {
      const answer = await deadline.call(STORING, () => this.#store.touch(held.key, now, expiresAt, loaded));
      if (answer === true) return { ...held, lastSeenAt: now };
      if (answer === false) return "gone";
      if (answer === "conflict") return answer;
    } catch (error) {
      return orAsItWas(held, error);
    }
    throw meaningless(STORING);
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
    const pointer = { fields: withHead({ fields: new Map(), head }, held.key), lastSeenAt: now };
    const expiresAt = Math.max(now + POINTER_LIFE, graceUntil);
    try {
      const answer = await deadline.insist(STORING, () => this.#replace(held, pointer, expiresAt));
      assertVersion(answer);
      if (answer === "gone") return answer;
      const isConflict = answer === "conflict" || (answer === "taken" && held.isMissing);
      // A client of the store may have sent it twice, and have heard what became of the second one.
      return isConflict && !(await this.#leadsTo(held, heir, deadline)) ? "conflict" : "retired";
    } catch (error) {
      // It may have been done although it was answered with an error.
      if (await this.#isRetired(held, heir, now, deadline)) return "retired";
      throw error;
    }
  }

  async #isRetired(held: Stored, heir: Stored, now: number, deadline: Deadline): Promise<boolean> {
    const look = async (within: Deadline): Promise<boolean> => {
      // Whether it touches or conflicts, the version has moved: what was sent before and is still under way comes to nothing.
      await this.touch(held, Math.max(now, held.lastSeenAt), within);
      return await this.#leadsTo(held, heir, within);
    };
    return await deadline.repair(look).catch(() => false);
  }

  async #leadsTo(held: Stored, heir: Stored, deadline: Deadline): Promise<boolean> {
    const loaded = await this.#load(held.key, deadline);
    const head = loaded && readHead(loaded, held.key);
    if (head === null || typeof head === "string" || head.successor === undefined) return false;
    return (await unseal(held.id, SUCCESSOR, head.successor.sealedId)) === heir.id;
  }

  async end(held: Stored | string, deadline: Deadline): Promise<void> {
    const id = typeof held === "string" ? this.#ids.fromWire(held)?.id : held.id;
    if (id !== undefined && isId(id))
      await this.#endId(id, typeof held === "string" ? undefined : held.version, deadline);
  }

  async #endId(id: string, found: Version | undefined, deadline: Deadline): Promise<void> {
    const key = keyOfId(id);
    let version = found;
    for (let isFound = found !== undefined; ; isFound = true) {
      if (isFound) {
        const answer: unknown = await deadline.insist(ENDING, () => this.#store.delete(key, version));
        // Many an engine's own delete answers whether, or how much, there was.
        if (answer === undefined || typeof answer === "boolean" || typeof answer === "number") return;
        if (answer !== "conflict") throw meaningless(ENDING);
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

  /** Stores a whole record in the place of another. One that the store does not show can only be created. */
  #replace(held: Stored, record: SessionRecord, expiresAt: number): Promise<Version | "taken" | "conflict" | "gone"> {
    if (held.isMissing) return this.#store.create(held.key, record, expiresAt);
    const change = { record, changed: difference(held.stored, record.fields) };
    return this.#store.change(held.key, change, held.version, expiresAt);
  }

  async #unlocked(loaded: Loaded, of: Pick<Stored, "wire" | "id" | "key" | "head">): Promise<Stored | null> {
    const fields = await this.#lock.unlock(loaded.fields, of.id, of.key);
    return fields && { ...loaded, ...of, fields, stored: loaded.fields };
  }

  #expiresAt(head: Head, lastSeenAt: number): number {
    return expiryOf({ since: head.since, lastSeenAt }, this.#timeoutsOf(head));
  }

  #load(key: string, deadline: Deadline): Promise<Loaded | null> {
    return loadRecord(this.#store, key, LOADING, deadline);
  }
}

const LOADING = "load the session";
const STORING = "store the session";
const ENDING = "end the session";
/** What the new id is sealed for in the old one's record. */
const SUCCESSOR = "successor";

/** A write that may as well be left for the next request: the session as it was, if the store was too busy for it. */
function orAsItWas(held: Stored, error: unknown): Stored {
  if (error instanceof BusyError) return held;
  throw error;
}

function assertVersion(answer: unknown): void {
  if (typeof answer !== "string" && typeof answer !== "number") throw meaningless(STORING);
}
