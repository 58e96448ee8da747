import { difference, replay } from "./changes.ts";
import type { Companion } from "./companion.ts";
import { Deadline } from "./deadline.ts";
import { Draft, type Wish } from "./draft.ts";
import { SessionError } from "./errors.ts";
import { isTouchDue, type Timeouts } from "./expiry.ts";
import type { SessionEvent } from "./observe.ts";
import { type Bound, type Head, type OwnTimeouts, SUBJECT_FIELD } from "./record.ts";
import { type Epoch, markOf, type Storing } from "./roster.ts";
import type { Contents, Found, Refusal, Vault } from "./vault.ts";

type Fields = ReadonlyMap<string, string>;

/** What the life of one session depends on, all of it from outside. */
export interface Surroundings {
  /** The vault in which the session lies; asked for when the session is first used. */
  readonly vault: () => Vault | Promise<Vault>;
  /** What the client presented, null for nothing. */
  readonly presented: () => string | null | Promise<string | null>;
  /** The epoch of a subject's credentials, where there is something to tell it. */
  readonly epochOf: ((subject: string) => Epoch | null | undefined | Promise<Epoch | null | undefined>) | undefined;
  /** A new id. */
  readonly mint: () => string | Promise<string>;
  readonly rules: Rules;
}

/** A write that got no answer, and the state that it was to replace: null for a new session. */
interface Doubt {
  readonly wish: Wish;
  readonly held: Found | null;
}

/** What holds for every session of one manager. */
export interface Rules {
  readonly storeTimeout: number;
  readonly now: () => number;
  readonly emit: (event: SessionEvent) => void;
  /** Whether a failing store means "no session" instead of an error. */
  readonly toleratesFailure: boolean;
  /** The timeouts in force for a session. */
  readonly timeoutsOf: (head: Head) => Timeouts;
  /** Holds a session's fields against the schema: the session as it would have it, or that it does not fit. */
  readonly admit: (found: Found) => Found | "schema" | Promise<Found | "schema">;
  /** The same before they are stored: throws `ERR_SCHEMA`. */
  readonly approve: (fields: Fields) => void | Promise<void>;
}

const DONE: Promise<void> = Promise.resolve();
/** Ids that may be taken before the generator is given up: a random one is never taken twice. */
const MOST_IDS = 5;
const HAS_NO_RECORD: ReadonlySet<Refusal | undefined> = new Set(["malformed", "forged", "unknown"]);

/**
 * From what a client presented to a record and back: load, then create, change, touch, rotate or end. A change
 * that meets a conflict is replayed on the newest record, and a write of what is gone says so: this is where no
 * update is lost and no ended session revived.
 */
export class Lifecycle {
  readonly draft: Draft = new Draft();
  readonly #around: Surroundings;
  readonly #rules: Rules;
  #presented: string | null | Promise<string | null> | undefined;
  #refusal: Refusal | undefined;
  #vault: Vault | undefined;
  #loading: Promise<void> | undefined;
  #storing: Promise<void> = DONE;
  #callers = 0;
  /** Whether what was taken last has been stored, and only what came meanwhile can still fail. */
  #isStored = false;
  #unavailable: SessionError | undefined;
  /** What was to be stored when the store failed: it may have been done all the same. */
  #doubt: Doubt | undefined;
  /** The heir of a rotation that failed, until it is taken back. */
  #stray: Found | string | undefined;
  /** What must not be stored as it is: it waits for the handler to mend it. */
  #refused: readonly unknown[] = [];

  constructor(around: Surroundings) {
    this.#around = around;
    this.#rules = around.rules;
  }

  /** What the client presented; undefined where asking takes time and nobody has waited yet. */
  get presented(): string | null | undefined {
    const presented = this.#ask();
    return presented instanceof Promise ? undefined : presented;
  }

  /** Makes sure that the session is loaded. A failure is not remembered: the next call asks again. */
  load(): Promise<void> | undefined {
    return this.draft.origin === undefined ? (this.#loading ??= this.#load()) : undefined;
  }

  /** What the client holds beside its id, where the vault has the use of it. */
  get companion(): Companion | undefined {
    return this.#vault?.companion;
  }

  /** The id that the session will have, minted once. */
  async nextId(): Promise<string> {
    const { draft } = this;
    return (draft.nextId ??= await this.#around.mint());
  }

  /** What the client will hold of the session that this request begins or regenerates; null if it cannot be told. */
  async nextWire(): Promise<string | null> {
    try {
      this.#vault ??= await this.#around.vault();
    } catch (error) {
      this.#unavailable = this.#failed("load", error);
      return null;
    }
    const { wireOf } = this.#vault;
    if (wireOf !== null) return wireOf(await this.discloseId());
    await this.store();
    return this.draft.origin?.wire ?? null;
  }

  /**
   * The epoch of a subject, for it to be bound to the session.
   *
   * @throws {TypeError} Where no list of a subject's sessions can be kept
   */
  async epochFor(subject: string): Promise<Epoch | undefined> {
    try {
      this.#vault ??= await this.#around.vault();
    } catch (error) {
      this.#unavailable = this.#failed("load", error);
    }
    if (this.#vault?.roster === null) throw unlisted("bind");
    return (await this.#around.epochOf?.(subject)) ?? undefined;
  }

  /** The id that the session will have, for somebody to be told: from now on it cannot be another. */
  async discloseId(): Promise<string> {
    const id = await this.nextId();
    this.draft.nextIdDisclosed = true;
    return id;
  }

  /** Stores what waits, one caller after the other. */
  store(): Promise<void> {
    const turn = (): Promise<void> => this.#store().finally(() => this.#callers--);
    this.#callers++;
    this.#storing = this.#storing.then(turn, turn);
    return this.#storing;
  }

  /** Waits until nothing is being stored any more; of a failure, whoever asked for it hears. */
  async idle(): Promise<void> {
    while (this.#callers > 0) await this.#storing.catch(() => {});
  }

  /** Gives up the session, and one that may have been begun although the store gave no answer. */
  destroy(): void {
    const { draft } = this;
    const begun = this.#doubt?.held === null && draft.nextId !== undefined ? this.#vault?.wireOf?.(draft.nextId) : null;
    draft.destroy(begun ?? this.presented ?? null);
    this.#doubt = undefined;
  }

  /** Whether there is anything to store, be it only that the session was used, or anybody who is still storing. */
  get needsStoring(): boolean {
    if (this.#callers > 0 || this.#doubt !== undefined) return true;
    return this.draft.isPending ? !this.#isRefused : this.isTouchDue();
  }

  /** Whether all that waits was refused before: whoever asked for it has heard so, and has answered the request all the same. */
  get #isRefused(): boolean {
    return this.draft.waiting.every((part, index) => part === this.#refused[index]);
  }

  /** Whether "last seen" is to be written, because the request asked for it or because it is old. */
  isTouchDue(
    { touched, timeouts }: Pick<Wish, "touched" | "timeouts"> = this.draft,
    held: Found | null | undefined = this.draft.origin,
  ): boolean {
    if (!held) return false;
    const times = { since: held.head.since, lastSeenAt: held.lastSeenAt };
    // By the new timeouts, or a session that was last seen long ago could end as soon as it gets a shorter one.
    const head = withTimeouts(held.head, timeouts);
    return touched || held.needsStoring === true || isTouchDue(times, this.#rules.timeoutsOf(head), this.#rules.now());
  }

  /**
   * Whether storing what waits is a matter of the store alone: the session exists and keeps its id. What is new,
   * regenerated or ended, the client must not hear of before it is stored; and in some vaults it hears of all.
   */
  async isRoutine(): Promise<boolean> {
    const { draft } = this;
    if (draft.isPending) await this.load();
    if (!draft.origin || draft.gone || draft.rotation !== undefined || draft.doomed !== undefined) return false;
    // A save that nobody waits for has taken out what it stores, which may be a new id.
    if (this.#callers > 0) return false;
    // It may be refused, for there are too many.
    if (draft.binding !== undefined) return false;
    if (this.#vault?.wireOf === null || this.companion !== undefined) return false;
    draft.renewed ||= this.isTouchDue() || draft.timeouts !== undefined;
    return true;
  }

  #ask(): string | null | Promise<string | null> {
    if (this.#presented === undefined) this.#presented = this.#around.presented();
    return this.#presented;
  }

  async #load(): Promise<void> {
    try {
      const found = await this.#find();
      this.draft.isNew ||= found === null;
      await this.draft.settle(found);
    } finally {
      this.#loading = undefined;
    }
  }

  async #find(): Promise<Found | null> {
    const { admit, emit, now } = this.#rules;
    const presented = (this.#presented = await this.#ask());
    if (presented === null) return null;
    const deadline = new Deadline(this.#rules.storeTimeout);
    let opened: Found | Refusal;
    try {
      this.#vault ??= await this.#around.vault();
      opened = await this.#vault.open(presented, now(), deadline);
    } catch (error) {
      this.#unavailable = this.#failed("load", error);
      return null;
    }
    const current = typeof opened === "string" || (await this.#isOfEpoch(opened)) ? opened : "epoch";
    const admitted = typeof current === "string" ? current : await admit(current);
    if (typeof admitted !== "string") {
      emit({ type: "loaded" });
      return admitted;
    }
    this.#refusal = admitted;
    emit({ type: "rejected", reason: admitted });
    return null;
  }

  /** Whether the credentials of the subject are still those with which the session was bound. */
  async #isOfEpoch({ fields, head: { bound } }: Found): Promise<boolean> {
    const subject = fields.get(SUBJECT_FIELD);
    const { epochOf } = this.#around;
    if (epochOf === undefined || bound === undefined || subject === undefined) return true;
    return bound.epoch === markOf(bound.token, await epochOf(subject));
  }

  /** Reports a failure of the store. Answers it where it is to be tolerated, and throws it otherwise. */
  #failed(during: "load" | "store", error: unknown): SessionError {
    if (!(error instanceof SessionError)) throw error;
    this.#rules.emit({ type: "failed", during, error });
    if (!this.#rules.toleratesFailure) throw error;
    return error;
  }

  async #store(): Promise<void> {
    const { draft } = this;
    await this.load();
    if (this.#unavailable !== undefined && draft.isPending) throw this.#unavailable;
    if (draft.gone) throw gone();
    const deadline = new Deadline(this.#rules.storeTimeout);
    let wish: Wish | undefined;
    try {
      await this.#endStray(deadline);
      if (this.#doubt !== undefined) await this.#resolveDoubt(this.#doubt, deadline);
      if (draft.doomed !== undefined) await this.#end(draft.doomed, deadline);
      wish = draft.take();
      this.#isStored = false;
      const { origin } = draft;
      if (!origin) await this.#create(wish, deadline);
      else if (wish.rotation === undefined) await this.#change(origin, wish, deadline);
      else await this.#rotate(origin, wish, deadline);
    } catch (error) {
      if (error instanceof SessionError && error.code === "ERR_SESSION_GONE") {
        draft.gone = true;
        this.#rules.emit({ type: "gone" });
      } else {
        if (wish !== undefined && !this.#isStored && this.#doubt?.wish !== wish) draft.giveBack(wish);
        if (isRefusal(error)) this.#refused = draft.waiting;
        if (error instanceof SessionError) this.#rules.emit({ type: "failed", during: "store", error });
      }
      throw error;
    }
  }

  /** Waits for the answer to a write. If there is none, nobody knows whether it was done; a rotation is taken back then. */
  async #answered<T>(answer: Promise<T>, doubt: Doubt): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (isOutage(error) && doubt.wish.rotation === undefined) this.#doubt = doubt;
      throw error;
    }
  }

  /**
   * Finds out what became of a write that got no answer, before anything else is stored. To repeat it blindly
   * could count an `update` twice; where another request has written since, nobody can tell, and the error stands.
   */
  async #resolveDoubt({ wish, held }: Doubt, deadline: Deadline): Promise<void> {
    const { draft } = this;
    const { emit } = this.#rules;
    const found =
      held === null
        ? await this.#opened(await this.nextId(), deadline)
        : await this.#fenced({ ...held, head: withTimeouts(held.head, wish.timeouts) }, deadline);
    if (found === null) throw gone();
    const writtenBy = typeof found === "string" ? held?.head.writtenBy : found.head.writtenBy;
    if (writtenBy !== wish.token && writtenBy !== held?.head.writtenBy) {
      throw new SessionError("ERR_STORE", "Cannot tell whether the session was stored: the store failed meanwhile");
    }
    this.#doubt = undefined;
    if (writtenBy !== wish.token) {
      draft.giveBack(wish);
      // Others may have stored something between what this request saw and what it wrote to.
      if (typeof found !== "string") await draft.settle(found);
    } else if (typeof found !== "string") {
      draft.renewed = true;
      await this.#stored(found);
      emit(held === null ? { type: "created" } : { type: "changed", attempts: 1 });
    }
  }

  /** The session of an id that was never told to the client; there is none if nothing but the client could hold it. */
  async #opened(id: string, deadline: Deadline): Promise<Found | Refusal> {
    const { wireOf } = this.#vault!;
    return wireOf === null ? "unknown" : await this.#vault!.open(wireOf(id), this.#rules.now(), deadline);
  }

  /**
   * The newest state of a session that a write may still be under way to. A touch moves the version first, if nothing else
   * has, so that the write, should it arrive later, comes to nothing.
   */
  async #fenced(held: Found, deadline: Deadline): Promise<Found | null> {
    // A clock that is behind must not make the session older than others know it to be.
    const lastSeenAt = Math.max(this.#rules.now(), held.lastSeenAt);
    const touched = await this.#vault!.touch(held, lastSeenAt, deadline);
    return touched === "gone" ? null : await this.#vault!.reopen(held, this.#rules.now(), deadline);
  }

  async #end(doomed: Found | string, deadline: Deadline): Promise<void> {
    const { draft } = this;
    // What was refused may still have a record: an unreadable one, or the pointer to a session that took over.
    if (doomed !== this.presented || !HAS_NO_RECORD.has(this.#refusal)) {
      this.#vault ??= await this.#around.vault();
      await this.#vault.end(doomed, deadline);
      this.#rules.emit({ type: "destroyed" });
      if (typeof doomed !== "string") await this.#leave(doomed.head.bound, undefined, deadline);
    }
    draft.doomed = undefined;
    draft.ended = true;
  }

  async #create(wish: Wish, deadline: Deadline): Promise<void> {
    // Timeouts, say, wait for the session to which they are given.
    if (!wish.started && wish.fields.size === 0) return this.draft.giveBack(wish);
    if (this.draft.committed) throw committed();
    const now = this.#rules.now();
    const head = withTimeouts({ createdAt: now, since: now, writtenBy: wish.token }, wish.timeouts);
    const created = await this.#createUnderNewId({ fields: wish.fields, head, lastSeenAt: now }, wish, deadline);
    await this.#stored(created);
    this.#rules.emit({ type: "created" });
    await this.#trim(created, wish);
  }

  async #createUnderNewId(contents: Contents, wish: Wish, deadline: Deadline): Promise<Found> {
    const { draft } = this;
    await this.#rules.approve(contents.fields);
    this.#vault ??= await this.#around.vault();
    for (let attempt = 0; attempt < MOST_IDS; attempt++) {
      const id = await this.nextId();
      const storing =
        wish.rotation && draft.origin ? { ...contents, id: draft.origin.id, heirId: id } : { ...contents, id };
      const head = await this.#announced(storing, wish.binding, deadline);
      const creating = this.#vault.create(id, { ...contents, head }, deadline);
      const created = await this.#answered(creating, { wish, held: null });
      draft.nextId = undefined;
      if (created !== "taken") return created;
      await this.#leave(head.bound, contents.head.bound, deadline);
      // Somebody was told this id. It names another's session: to go on under a new one would leak it.
      if (draft.nextIdDisclosed) break;
    }
    throw new SessionError("ERR_CONFLICT", "Cannot store the session: the generated ids are taken");
  }

  async #change(origin: Found, wish: Wish, deadline: Deadline): Promise<void> {
    const { emit, now, approve } = this.#rules;
    let held = origin;
    let fields = wish.fields;
    for (let attempts = 1; ; attempts++) {
      const isTouch = this.isTouchDue(wish, held);
      const lastSeenAt = isTouch ? Math.max(now(), held.lastSeenAt) : held.lastSeenAt;
      const asked = { head: withTimeouts(held.head, wish.timeouts), lastSeenAt, id: held.id };
      const head = await this.#announced(asked, wish.binding, deadline);
      const isChange = head !== held.head || difference(held.fields, fields).size > 0;
      let stored: Found | "conflict" | "gone" = held;
      if (isChange) {
        await approve(fields);
        const contents = { fields, head: { ...head, writtenBy: wish.token }, lastSeenAt };
        stored = await this.#answered(this.#vault!.change(held, contents, deadline), { wish, held });
      } else if (lastSeenAt > held.lastSeenAt || wish.touched || held.needsStoring) {
        stored = await this.#vault!.touch(held, lastSeenAt, deadline);
      } else if (held === origin) {
        return;
      }
      if (stored === "gone") throw gone();
      if (stored !== "conflict") {
        this.draft.renewed ||= isTouch || head.timeouts !== held.head.timeouts;
        // If others have stored the very same, what they stored besides is to be seen from now on.
        await this.#stored(stored);
        if (isChange) emit({ type: "changed", attempts });
        else if (stored !== held) emit({ type: "touched" });
        await this.#leave(held.head.bound, stored.head.bound, deadline);
        await this.#trim(stored, wish);
        return;
      }
      emit({ type: "conflict", attempts });
      await this.#leave(head.bound, held.head.bound, deadline);
      held = await this.#newest(held, deadline);
      // A client of the store may have sent the write twice, and have heard what became of the second one.
      fields = held.head.writtenBy === wish.token ? held.fields : await replay(wish.changes, held.fields);
    }
  }

  /**
   * The new session is stored before the old one is retired, so that a failure in between leaves the old one
   * alive; and it is taken back if the old one could not be retired, so that there is never a second heir.
   */
  async #rotate(origin: Found, wish: Wish, deadline: Deadline): Promise<void> {
    if (this.draft.committed) throw committed();
    const { emit, now } = this.#rules;
    const since = wish.rotation?.reauthenticated ? now() : origin.head.since;
    const head = withTimeouts({ ...origin.head, since, writtenBy: wish.token }, wish.timeouts);
    let heir: Found | undefined;
    try {
      heir = await this.#createUnderNewId({ fields: wish.fields, head, lastSeenAt: now() }, wish, deadline);
      heir = await this.#retire(origin, heir, wish, deadline);
    } catch (error) {
      await this.#takeBack(heir, error, deadline);
      throw error;
    }
    await this.#stored(heir);
    emit({ type: "regenerated" });
    await this.#trim(heir, wish);
  }

  /** The head to store, of which the list of the subject knows by now. */
  async #announced(storing: Storing, binding: Wish["binding"], deadline: Deadline): Promise<Head> {
    const { head } = storing;
    const roster = this.#vault?.roster;
    if (!roster || (binding === undefined && head.bound === undefined)) return head;
    const announced = await roster.announce(storing, binding, deadline);
    if (announced === null) throw gone();
    return announced;
  }

  /** Takes a session that is no longer bound as it was from its list. If that fails, whoever reads the list does it. */
  async #leave(before: Bound | undefined, after: Bound | undefined, deadline: Deadline): Promise<void> {
    if (before === undefined || before.token === after?.token) return;
    await this.#vault?.roster?.leave(before, deadline).catch(() => {});
  }

  /** Ends what a new session has put over the limit. It is not the session's failure if that fails. */
  async #trim({ head: { bound } }: Found, { binding }: Wish): Promise<void> {
    if (!binding || !bound) return;
    const { emit } = this.#rules;
    try {
      const sessions = (await this.#vault?.roster?.trim(bound)) ?? 0;
      if (sessions > 0) emit({ type: "revoked", sessions });
    } catch (error) {
      if (error instanceof SessionError) emit({ type: "failed", during: "store", error });
    }
  }

  /** Takes back the heir of a rotation that failed, even one of which nobody knows whether it was created. */
  async #takeBack(heir: Found | undefined, error: unknown, deadline: Deadline): Promise<void> {
    const { nextId } = this.draft;
    this.#stray = heir ?? (isOutage(error) && nextId !== undefined ? this.#vault?.wireOf?.(nextId) : undefined);
    // Of the two failures, the first is the one to report.
    await deadline.repair((within) => this.#endStray(within)).catch(() => {});
  }

  async #endStray(deadline: Deadline): Promise<void> {
    if (this.#stray !== undefined) await this.#vault!.end(this.#stray, deadline);
    this.#stray = undefined;
  }

  async #retire(origin: Found, heir: Found, wish: Wish, deadline: Deadline): Promise<Found> {
    const { emit, now, approve } = this.#rules;
    const graceUntil = now() + (wish.rotation?.grace ?? 0) * 1000;
    let held = origin;
    for (let attempts = 1; ; attempts++) {
      const answer = await this.#vault!.retire(held, heir, graceUntil, now(), deadline);
      if (answer === "retired") {
        await this.#leave(held.head.bound, heir.head.bound, deadline);
        return heir;
      }
      if (answer === "gone") throw gone();
      emit({ type: "conflict", attempts });
      await this.#leave(heir.head.bound, held.head.bound, deadline);
      held = await this.#newest(held, deadline);
      // What others stored under the old id in the meantime moves over as well.
      const fields = await replay(wish.changes, held.fields);
      await approve(fields);
      const { since, writtenBy } = heir.head;
      const { lastSeenAt } = heir;
      const moving = withTimeouts({ ...held.head, since, writtenBy }, wish.timeouts);
      const asked = { head: moving, lastSeenAt, id: held.id, heirId: heir.id };
      const head = await this.#announced(asked, wish.binding, deadline);
      const moved = await this.#vault!.change(heir, { fields, head, lastSeenAt }, deadline);
      if (typeof moved === "string") throw gone();
      heir = moved;
    }
  }

  /** The newest state of a session, after a conflict. */
  async #newest(held: Found, deadline: Deadline): Promise<Found> {
    await deadline.pause();
    const newest = await this.#vault!.reopen(held, this.#rules.now(), deadline);
    const admitted = newest && (await this.#rules.admit(newest));
    if (admitted === null || admitted === "schema") throw gone();
    return admitted;
  }

  async #stored(held: Found): Promise<void> {
    const { draft } = this;
    this.#isStored = true;
    draft.nextId = undefined;
    draft.nextIdDisclosed = false;
    await draft.settle(held);
  }
}

/** A head with a session's own timeouts; the very same head if they say nothing new. */
function withTimeouts(head: Head, own: OwnTimeouts | undefined): Head {
  if (own === undefined) return head;
  const timeouts = { ...head.timeouts, ...own };
  return JSON.stringify(timeouts) === JSON.stringify({ ...head.timeouts }) ? head : { ...head, timeouts };
}

/** Whether the store failed, so that nobody knows what became of the write. */
function isOutage(error: unknown): boolean {
  return error instanceof SessionError && /^ERR_STORE(_TIMEOUT)?$/.test(error.code);
}

/** Whether something must not be stored as it is, however often that is tried. */
function isRefusal(error: unknown): boolean {
  return error instanceof SessionError && /^ERR_(SCHEMA|LIMIT|RECORD_TOO_LARGE|COOKIE_TOO_LARGE)$/.test(error.code);
}

function gone(): SessionError {
  return new SessionError("ERR_SESSION_GONE", "Cannot store the session: another request has ended or regenerated it");
}

/** The mistake of asking for lists where the client alone holds the sessions. */
export function unlisted(action: string): TypeError {
  return new TypeError(`Cannot ${action} sessions: cookieStore() keeps no list of them, which takes a store`);
}

function committed(): SessionError {
  return new SessionError(
    "ERR_COMMITTED",
    "Cannot begin, regenerate or end a session: the response is already on its way to the client",
  );
}
