import { isOutage, sessionGone } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { CLOCK_SKEW } from "../core/expiry.ts";
import { type Metadata, readMetadata, type Successor, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import type { RepositorySettings } from "../core/repository_source.ts";
import { isUnderWay, LONGEST_CHAIN, reasonOfRetired, RETIRED_LIFE } from "../core/retired_id.ts";
import { isId } from "../core/session_id.ts";
import { pad, unpad } from "../crypto/hash.ts";
import type { Sealer } from "../crypto/sealer.ts";
import {
  endedNote,
  lastEndOf,
  type Lifetime,
  loadNote,
  type Note,
  noteKey,
  saveNote,
  type StoredNote,
  unexpectedEndOf,
} from "./notes.ts";

/** How long, in milliseconds, a logout with a retired id also ends the successor; it includes the clock skew. */
const FOLLOWED_LIFE = RETIRED_LIFE + CLOCK_SKEW;
/** The number of characters that mark, nonce and tag take in a token. In the rest, four characters hold three bytes (RFC 4648, 5). */
const BESIDE_TEXT = 39;
/** A text from `encrypt` begins with the mark of its format. */
const TOKEN_SHAPE = /^1[\w-]{38,}$/;
const NEWER_SHAPE = /^[2-9][\w-]{38,}$/;

/**
 * Keeps each session in its token: the client presents the session itself, sealed. If there is a revocation store, it
 * records which sessions were ended and which ids were replaced.
 */
export class CookieRepository implements Repository {
  readonly tokenHoldsSession = true;
  readonly #sealer: Sealer;
  readonly #hasRevocation: boolean;
  readonly #rotates: boolean;
  readonly #endsOnReuse: boolean;

  constructor(sealer: Sealer, settings: RepositorySettings & { readonly hasRevocation: boolean }) {
    const { hasRevocation, rotates = false, endsOnReuse = false } = settings;
    this.#sealer = sealer;
    this.#hasRevocation = hasRevocation;
    this.#rotates = rotates;
    this.#endsOnReuse = endsOnReuse;
  }

  async open(token: string, op: Operation): Promise<Found | RejectReason> {
    const found = await this.#read(token, op);
    if (typeof found === "string") return found;
    if (op.endsAt(found) <= op.now) return "expired";
    const place = await this.#follow(found.id, await this.#noteOf(found.id, op), op, 1);
    if (typeof place === "string") return place;
    const { id, note, isUnderWay } = place;
    const isFollowed = id !== found.id;
    // While the client does not have the new id yet, no rotation is due. A request that was under way must not send a
    // cookie for a touch alone: that cookie would replace the cookie of the response with the new id.
    const metadata = isFollowed ? { ...confirmed(found.metadata), rotatedAt: op.now } : found.metadata;
    const lastSeenAt = isUnderWay === true ? Math.max(op.now, found.lastSeenAt) : found.lastSeenAt;
    const opened = { ...found, id, metadata, lastSeenAt, stored: { note, isFollowed } satisfies Stored };
    // A token is bound to the cookie's name. A token that came under a previous name is sealed for the current name and
    // sent again.
    const renewed = op.presentedName === op.name ? token : await this.#seal(id, contentsFor(opened, opened), op);
    return { ...opened, token: renewed, version: renewed };
  }

  async refresh(current: Found, op: Operation): Promise<Found | null> {
    const note = await this.#noteOf(current.id, op);
    return isRevoked(note) ? null : { ...current, stored: { ...storedOf(current), note } satisfies Stored };
  }

  async create(id: string, contents: Contents, op: Operation): Promise<Found> {
    const token = await this.#seal(id, contents, op);
    this.#assertFits(token, contents.metadata, op);
    const note = await this.#noteUse(id, contents.metadata, null, false, op);
    return { ...contents, id, token, version: token, stored: { note, isFollowed: false } satisfies Stored };
  }

  async update(current: Found, contents: Contents, op: Operation): Promise<Found | "conflict"> {
    const { id } = current;
    const before = await this.#noteOf(id, op);
    if (isRotatedByAge(before)) return "conflict";
    // The client holds the data under another id, so there is no newer state to which the changes could be applied.
    if (isRevoked(before)) throw sessionGone();
    const sealed = contentsFor(current, contents);
    const token = await this.#seal(id, sealed, op);
    this.#assertFits(token, sealed.metadata, op);
    const isUsed = current.metadata.unconfirmed === true && contents.metadata.unconfirmed !== true;
    const note = await this.#noteUse(id, contents.metadata, before, isUsed, op);
    return { ...contents, id, token, version: token, stored: { ...storedOf(current), note } satisfies Stored };
  }

  /** If two requests replace one id, the revocation store lets only the first one do so. */
  async retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): Promise<true | "conflict"> {
    if (!this.#hasRevocation) return true;
    const key = await noteKey(current.id);
    const untilUsed = successor.metadata.unconfirmed === true ? { untilUsed: true as const } : {};
    const grace =
      graceUntil === null
        ? {}
        : { grace: { id: await pad(successor.id, current.id), until: graceUntil, ...untilUsed } };
    const pointer: Successor = { key: await noteKey(successor.id), retiredAt: op.now, ...grace };
    const lifetime = lifetimeOf(successor.metadata);
    const leadsThere = (found: StoredNote | null): boolean => found?.successor?.key === pointer.key;
    for (let before = noteIn(current); ;) {
      if (isRotatedByAge(before)) return "conflict";
      if (isRevoked(before)) throw sessionGone();
      const longest = before?.longest ?? 0;
      const note: Note = { ...endedNote(lifetime), state: "retired", successor: pointer, longest };
      const until = Math.max(lastEndOf(current.metadata, op), longest, (graceUntil ?? 0) + CLOCK_SKEW);
      try {
        if ((await saveNote(key, note, before, until, op)) !== "conflict") return true;
      } catch (error) {
        // The note may have been stored although the store returned an error.
        if (isOutage(error) && (await this.#noteOf(current.id, op).then(leadsThere, () => false))) return true;
        throw error;
      }
      before = await this.#noteOf(current.id, op);
      // The store's client may have sent the write twice, and returned the answer to the second attempt.
      if (leadsThere(before)) return true;
      await op.backOff();
    }
  }

  async reinstate(retired: Found, successor: Found, op: Operation): Promise<void> {
    if (!this.#hasRevocation) return;
    const [key, successorKey] = [await noteKey(retired.id), await noteKey(successor.id)];
    const note = await loadNote(key, op);
    // If a logout came in between, the note says that the session has ended, and it stays.
    if (note?.successor?.key === successorKey) {
      const { longest } = note;
      const isUsed = noteIn(retired)?.isUsed ?? false;
      const alive: Note = { ...aliveNote(lifetimeOf(retired.metadata)), longest, isUsed };
      await saveNote(key, alive, note, Math.max(lastEndOf(retired.metadata, op), longest), op);
    }
    await this.#end(successorKey, successor.metadata, noteIn(successor), op, 1);
  }

  async end(session: Found | string, op: Operation): Promise<void> {
    const found = typeof session === "string" ? await this.#read(session, op) : session;
    if (typeof found === "string" || !this.#hasRevocation) return;
    const note = typeof session === "string" ? await this.#noteOf(found.id, op) : noteIn(found);
    await this.#end(await noteKey(found.id), found.metadata, note, op, 1);
  }

  /**
   * Notes that a session was ended. Its successor, if it has one, is ended first: after a failure in between, the note
   * still names the successor.
   */
  async #end(key: string, lifetime: Lifetime, known: StoredNote | null, op: Operation, hops: number): Promise<void> {
    for (let note = known; note?.state !== "ended";) {
      if (note?.successor !== undefined) {
        const { key: next, retiredAt, grace } = note.successor;
        const isFollowed = op.now < Math.max(retiredAt + FOLLOWED_LIFE, grace?.until ?? 0) && hops <= LONGEST_CHAIN;
        if (!isFollowed) return;
        await this.#end(next, note.lifetime, await loadNote(next, op), op, hops + 1);
      }
      const until = Math.max(lastEndOf(lifetime, op), note?.longest ?? 0);
      if ((await saveNote(key, endedNote(lifetimeOf(lifetime)), note, until, op)) !== "conflict") return;
      await op.backOff();
      note = await loadNote(key, op);
    }
  }

  /**
   * Finds the session that a presented id stands for, or the reason why the id is rejected.
   *
   * - In a grace, the state of the successor decides.
   * - After a rotation by age, the old copy is used under the new id.
   * - In the grace of `regenerate({ grace })`, the old copy can only be read, so it keeps the old id.
   */
  async #follow(id: string, note: StoredNote | null, op: Operation, hops: number): Promise<Place | RejectReason> {
    if (note === null || note.state === "alive") return { id, note };
    if (note.successor === undefined) return "revoked";
    const { key, retiredAt, grace } = note.successor;
    if (grace === undefined || grace.until <= op.now || hops > LONGEST_CHAIN) return reasonOfRetired(retiredAt, op.now);
    const next = await loadNote(key, op);
    const nextId = await unpad(grace.id, id);
    if (nextId === null) return "corrupt";
    const place = await this.#follow(nextId, next, op, hops + 1);
    if (typeof place === "string") return place;
    if (grace.untilUsed !== true) return { id, note };
    if (isUnderWay(retiredAt, op.now)) return { ...place, isUnderWay: true };
    // An id is rotated by age only after the client has used it, so a successor that was rotated was used as well.
    if (next?.isUsed !== true && !isRotatedByAge(next)) return place;
    if (this.#endsOnReuse && op.isOwnToken !== true) await this.#end(key, note.lifetime, next, op, hops);
    return "reuse";
  }

  /**
   * Notes the facts about this copy that other copies do not hold: that it may live longer than they would expect, or
   * that the client has used its id.
   */
  async #noteUse(
    id: string,
    metadata: Metadata,
    before: StoredNote | null,
    isUsed: boolean,
    op: Operation,
  ): Promise<StoredNote | null> {
    if (!this.#hasRevocation) return null;
    const longest = unexpectedEndOf(metadata, op);
    const isKnown = longest <= (before?.longest ?? 0) && (!isUsed || before?.isUsed === true);
    if (isKnown) return before;
    const key = await noteKey(id);
    for (let known = before; ;) {
      const note: Note = {
        ...aliveNote(lifetimeOf(metadata)),
        longest: Math.max(longest, known?.longest ?? 0),
        isUsed: isUsed || known?.isUsed === true,
      };
      const stored = await saveNote(key, note, known, Math.max(lastEndOf(metadata, op), note.longest), op);
      if (stored !== "conflict") return stored;
      await op.backOff();
      known = await loadNote(key, op);
      if (isRevoked(known)) throw sessionGone();
    }
  }

  async #noteOf(id: string, op: Operation): Promise<StoredNote | null> {
    return this.#hasRevocation ? await loadNote(await noteKey(id), op) : null;
  }

  /**
   * Throws if the token does not fit into the cookie. With `rotateEvery`, it must also fit after a renewal of the id,
   * which makes the metadata longer and also happens in requests that only read.
   */
  #assertFits(token: string, metadata: Metadata, op: Operation): void {
    const renewed = this.#rotates ? { ...metadata, rotatedAt: op.now, unconfirmed: true as const } : metadata;
    const bytes = Math.floor(((token.length - BESIDE_TEXT) * 3) / 4) + lengthOf(renewed) - lengthOf(metadata);
    op.assertFits?.(token.padEnd(BESIDE_TEXT + Math.ceil((bytes * 4) / 3), "_"));
  }

  async #seal(id: string, { fields, metadata, lastSeenAt }: Contents, op: Operation): Promise<string> {
    const whole = withMetadata(fields, metadata, "");
    return await this.#sealer.seal(
      `${id} ${serializeRecord({ fields: whole, lastSeenAt })}`,
      op.name,
      op.runtimeArguments,
    );
  }

  async #read(token: string, op: Operation): Promise<Found | RejectReason> {
    if (!TOKEN_SHAPE.test(token)) return NEWER_SHAPE.test(token) ? "newer" : "malformed";
    const text = await this.#sealer.open(token, op.presentedName, op.runtimeArguments);
    if (text === null) return "forged";
    const space = text.indexOf(" ");
    const id = text.slice(0, space);
    const { fields, lastSeenAt } = parseRecord(text.slice(space + 1));
    const metadata = readMetadata({ fields, lastSeenAt }, "");
    if (typeof metadata === "string") return metadata;
    return isId(id) ? { id, token, version: token, fields, metadata, lastSeenAt } : "corrupt";
  }
}

/**
 * The contents to seal for a loaded session. If the client presented an older id, it gets the new id only now, so it
 * has not used that id yet.
 */
function contentsFor(current: Found, contents: Contents): Contents {
  const { metadata } = contents;
  return storedOf(current).isFollowed ? { ...contents, metadata: { ...metadata, unconfirmed: true } } : contents;
}

function lengthOf(metadata: Metadata): number {
  return serializeRecord({ fields: withMetadata(NO_FIELDS, metadata, ""), lastSeenAt: 0 }).length;
}

function lifetimeOf({ createdAt, absoluteSince, timeouts }: Lifetime): Lifetime {
  return { createdAt, absoluteSince, timeouts };
}

function isRevoked(note: StoredNote | null): boolean {
  return note !== null && note.state !== "alive";
}

function aliveNote(lifetime: Lifetime): Note {
  return { ...endedNote(lifetime), state: "alive" };
}

/** Whether a session continues under a new id because the old one was due for rotation. */
function isRotatedByAge(note: StoredNote | null): boolean {
  return note?.successor?.grace?.untilUsed === true;
}

function confirmed({ unconfirmed: _, ...metadata }: Metadata): Metadata {
  return metadata;
}

/** The session that a presented id stands for. */
interface Place {
  readonly id: string;
  readonly note: StoredNote | null;
  /** Whether the id may have been replaced while the request was under way. */
  readonly isUnderWay?: true;
}

/** What this repository keeps in `Found.stored`. */
interface Stored {
  readonly note: StoredNote | null;
  /** Whether the client presented an older id. */
  readonly isFollowed: boolean;
}

function storedOf({ stored }: Found): Stored {
  return stored as Stored;
}

/** The note that this repository found with a session. */
function noteIn(found: Found): StoredNote | null {
  return storedOf(found).note;
}
