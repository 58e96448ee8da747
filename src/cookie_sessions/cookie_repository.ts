import { isOutage, sessionGone } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { CLOCK_SKEW } from "../core/expiry.ts";
import { type Metadata, readMetadata, type Successor, withMetadata } from "../core/metadata.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import { isUnderWay, LONGEST_CHAIN, reasonOfRetired, RETIRED_LIFE } from "../core/retired_id.ts";
import { isId } from "../core/session_id.ts";
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

/** How long, in milliseconds, a logout with a retired id ends the successor, by whichever clock. */
const FOLLOWED_LIFE = RETIRED_LIFE + CLOCK_SKEW;
/** What `encrypt` gives begins with the mark of its format. */
const TOKEN_SHAPE = /^1[\w-]{38,}$/;
const NEWER_SHAPE = /^[2-9][\w-]{38,}$/;

/**
 * Keeps each session in its token: what the client presents is the session itself, sealed. A store of revocations, if
 * there is one, holds which sessions were ended and which ids were renewed.
 */
export class CookieRepository implements Repository {
  readonly tokenHoldsSession = true;
  readonly #sealer: Sealer;
  readonly #hasRevocation: boolean;
  readonly #endsOnReuse: boolean;

  constructor(sealer: Sealer, settings: { readonly hasRevocation: boolean; readonly endsOnReuse: boolean }) {
    this.#sealer = sealer;
    this.#hasRevocation = settings.hasRevocation;
    this.#endsOnReuse = settings.endsOnReuse;
  }

  async open(token: string, op: Operation): Promise<Found | RejectReason> {
    const found = await this.#read(token, op);
    if (typeof found === "string") return found;
    if (op.endsAt(found) <= op.now) return "expired";
    const note = await this.#noteOf(found.id, op);
    const reason = await this.#rejectReason(note, op, 1);
    if (reason !== undefined) return reason;
    // What is sealed is bound to the name: a token that came under a previous name is sealed and sent again.
    const renewed = op.presentedName === op.name ? token : await this.#seal(found.id, found, op);
    return { ...found, token: renewed, version: renewed, stored: note };
  }

  async refresh(current: Found, op: Operation): Promise<Found | null> {
    const note = await this.#noteOf(current.id, op);
    return isRevoked(note) ? null : { ...current, stored: note };
  }

  async create(id: string, contents: Contents, op: Operation): Promise<Found> {
    const token = await this.#seal(id, contents, op);
    op.assertFits?.(token);
    const note = await this.#noteUse(id, contents.metadata, null, false, op);
    return { ...contents, id, token, version: token, stored: note };
  }

  async update(current: Found, contents: Contents, op: Operation): Promise<Found> {
    const { id } = current;
    const before = await this.#noteOf(id, op);
    // The data are with the client under another id: there is no newer state to which the changes could be applied.
    if (isRevoked(before)) throw sessionGone();
    const token = await this.#seal(id, contents, op);
    op.assertFits?.(token);
    const isUsed = current.metadata.unconfirmed === true && contents.metadata.unconfirmed !== true;
    const note = await this.#noteUse(id, contents.metadata, before, isUsed, op);
    return { ...contents, id, token, version: token, stored: note };
  }

  /** Of two requests that renew one id, the store of revocations lets one be the first. */
  async retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): Promise<true> {
    if (!this.#hasRevocation) return true;
    const key = await noteKey(current.id);
    const untilUsed = successor.metadata.unconfirmed === true ? { untilUsed: true as const } : {};
    const grace = graceUntil === null ? {} : { grace: { id: "", until: graceUntil, ...untilUsed } };
    const pointer: Successor = { key: await noteKey(successor.id), retiredAt: op.now, ...grace };
    const lifetime = lifetimeOf(successor.metadata);
    const leadsThere = (found: StoredNote | null): boolean => found?.successor?.key === pointer.key;
    for (let before = noteIn(current); ;) {
      if (isRevoked(before)) throw sessionGone();
      const longest = before?.longest ?? 0;
      const note: Note = { ...endedNote(lifetime), state: "retired", successor: pointer, longest };
      const until = Math.max(lastEndOf(current.metadata, op), longest, (graceUntil ?? 0) + CLOCK_SKEW);
      try {
        if ((await saveNote(key, note, before, until, op)) !== "conflict") return true;
      } catch (error) {
        // It may have been done although the answer was an error.
        if (isOutage(error) && (await this.#noteOf(current.id, op).then(leadsThere, () => false))) return true;
        throw error;
      }
      before = await this.#noteOf(current.id, op);
      // The client of the store may have sent the write twice, and given the answer to the second one.
      if (leadsThere(before)) return true;
      await op.backOff();
    }
  }

  async reinstate(retired: Found, successor: Found, op: Operation): Promise<void> {
    if (!this.#hasRevocation) return;
    const [key, successorKey] = [await noteKey(retired.id), await noteKey(successor.id)];
    const note = await loadNote(key, op);
    // If a logout came in between, the note is one of an end.
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
   * Notes that a session was ended, and first that the one that took its place was: after a failure in between, the
   * note still leads there.
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
   * Why a note keeps a session from being opened; undefined if it does not. In a grace, what became of the successor
   * decides.
   */
  async #rejectReason(note: StoredNote | null, op: Operation, hops: number): Promise<RejectReason | undefined> {
    if (note === null || note.state === "alive") return undefined;
    if (note.successor === undefined) return "revoked";
    const { key, retiredAt, grace } = note.successor;
    if (grace === undefined || grace.until <= op.now || hops > LONGEST_CHAIN) return reasonOfRetired(retiredAt, op.now);
    const next = await loadNote(key, op);
    const reason = await this.#rejectReason(next, op, hops + 1);
    if (reason !== undefined || grace.untilUsed !== true || next?.isUsed !== true) return reason;
    if (isUnderWay(retiredAt, op.now)) return undefined;
    if (this.#endsOnReuse) await this.#end(key, note.lifetime, next, op, hops);
    return "reuse";
  }

  /**
   * Notes what other copies must know of this one: that it may live longer than they would expect, or that the client
   * has used its id.
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

function lifetimeOf({ createdAt, absoluteSince, timeouts }: Lifetime): Lifetime {
  return { createdAt, absoluteSince, timeouts };
}

function isRevoked(note: StoredNote | null): boolean {
  return note !== null && note.state !== "alive";
}

function aliveNote(lifetime: Lifetime): Note {
  return { ...endedNote(lifetime), state: "alive" };
}

/** The note that this repository found with a session. */
function noteIn({ stored }: Found): StoredNote | null {
  return (stored ?? null) as StoredNote | null;
}
