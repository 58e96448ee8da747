import type { Companion } from "./companion.ts";
import type { Deadline } from "./deadline.ts";
import type { Head, Unreadable } from "./record.ts";
import type { Timeouts } from "./expiry.ts";
import type { Roster } from "./roster.ts";
import type { SessionRecord, SessionStore, StoreTraits, Version } from "./store.ts";

/** A session as it was found or has just been stored. */
export interface Found extends SessionRecord {
  /** Names the session, however often it changes, until it is regenerated. */
  readonly id: string;
  /** What the client holds and presents: the id, in the form in which it travels. */
  readonly wire: string;
  readonly head: Head;
  /** Differs after every write. */
  readonly version: Version;
  /** Whether it is to be stored although nobody has changed it, because the store has lost a part of it. */
  readonly needsStoring?: boolean;
}

/** Why what a client presented is no session. */
export type Refusal = Unreadable | "malformed" | "forged" | "unknown" | "expired" | "retired" | "schema" | "epoch";

/** Fields to be stored, and the head that goes with them. */
export interface Contents {
  readonly fields: ReadonlyMap<string, string>;
  readonly head: Head;
  readonly lastSeenAt: number;
}

/**
 * The one place that turns what a client presented into a record, and back. In one vault the client holds an id
 * and a store the record; in another the client holds the record itself, sealed. Neither the stores nor the
 * session know which.
 */
export interface Vault<Held extends Found = Found> {
  /**
   * What the client will hold of a session that is yet to be stored under `id`. Null if storing makes it, and makes it
   * anew each time: then no response can go out before.
   */
  readonly wireOf: ((id: string) => string) | null;

  /** What the client holds beside its id; of what is written, so that no response can go out before. */
  readonly companion?: Companion;
  /** The lists of which sessions belong to whom; null where none can be kept. */
  readonly roster: Roster | null;

  /** Finds the session that a client presented, or tells why there is none. Unknown ids are never adopted. */
  open(presented: string, now: number, deadline: Deadline): Promise<Held | Refusal>;

  /** Finds the newest state of a session; null if it is over. */
  reopen(held: Held, now: number, deadline: Deadline): Promise<Held | null>;

  /** Stores a new session under `id`, or answers `"taken"`. */
  create(id: string, contents: Contents, deadline: Deadline): Promise<Held | "taken">;

  /** Stores changed contents, if nothing else was stored since `held` was found. */
  change(held: Held, contents: Contents, deadline: Deadline): Promise<Held | "conflict" | "gone">;

  /** Notes that the session was used, if nothing else was stored since `held` was found. */
  touch(held: Held, now: number, deadline: Deadline): Promise<Held | "conflict" | "gone">;

  /** Lets `heir` take the place of `held`, whose id still leads there until `graceUntil`. */
  retire(
    held: Held,
    heir: Held,
    graceUntil: number,
    now: number,
    deadline: Deadline,
  ): Promise<"retired" | "conflict" | "gone">;

  /** Ends a session, and whatever session has taken its place. */
  end(held: Held | string, deadline: Deadline): Promise<void>;
}

/** The vault of one session that is kept by `sealed`. */
export let vaultOf: (sealed: SealedSessions, core: VaultCore) => Vault;

/** Where sessions are kept in place of a store: with the client, as `cookieStore()` has it. */
export class SealedSessions {
  /** What is promised, in the words that stores have for it. */
  readonly traits: StoreTraits;
  /** Where it is noted that a session was ended or regenerated; as for a store, it may be a function. */
  readonly revocation: RevocationStore | undefined;
  readonly #vault: (core: VaultCore) => Vault;

  /** They come from `cookieStore()`. @internal */
  constructor(traits: StoreTraits, revocation: RevocationStore | undefined, vault: (core: VaultCore) => Vault) {
    this.traits = traits;
    this.revocation = revocation;
    this.#vault = vault;
  }

  static {
    vaultOf = (sealed, core) => sealed.#vault(core);
  }
}

/** A store, or a function of what the handler gets beside the request that returns one. */
// oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
export type RevocationStore = SessionStore | ((...rest: any[]) => SessionStore | Promise<SessionStore>);

/** What the core hands to a vault that is not its own. @internal */
export interface VaultCore {
  readonly secrets: readonly string[];
  /** The name of the cookie or header: what was sealed for another is worth nothing. */
  readonly name: string;
  /** Throws if the client cannot keep such a text. */
  readonly assertFits: (text: string) => void;
  readonly timeoutsOf: (head: Head) => Timeouts;
  readonly now: () => number;
  /** Opens the store of revocations, if there is one. */
  readonly revocation: (() => Promise<SessionStore>) | undefined;
}
