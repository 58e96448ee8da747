import { isOutage, sessionGone } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { CLOCK_SKEW, followedUntil } from "../core/expiry.ts";
import type { Metadata } from "../core/metadata.ts";
import { operationWith } from "../core/operation_with.ts";
import type { Found, Operation } from "../core/repository.ts";
import { isUnderWay, MAX_HOPS, pointerTo, reasonOfRetired } from "../core/store_repository/retired_id.ts";
import { unpad } from "../core/hash.ts";
import {
  ENDED,
  isRevoked,
  isRotatedByAge,
  lastEndOf,
  type Lifetime,
  loadNote,
  type Note,
  noteKey,
  saveNote,
  type StoredNote,
  unexpectedEndOf,
} from "./notes.ts";

/** The session that a presented id stands for. */
export interface Place {
  readonly id: string;
  readonly note: StoredNote | null;
  /** Whether the id may have been replaced, or the new one first used, while the request was under way. */
  readonly isUnderWay?: true;
}

/** Notes in the revocation store which sessions were ended and which ids were replaced. */
export class Revocation {
  readonly #endsOnReuse: boolean;
  readonly #now: () => number;

  /** @param endsOnReuse Whether a session ends when a client presents its retired id although the new one was used */
  constructor(endsOnReuse: boolean, now: () => number) {
    this.#endsOnReuse = endsOnReuse;
    this.#now = now;
  }

  /** The note about an id; null if there is none. */
  async noteOf(id: string, op: Operation): Promise<StoredNote | null> {
    return await loadNote(await noteKey(id), op);
  }

  /**
   * Finds the session that a presented id stands for, or the reason why the id is rejected.
   *
   * - In a grace, the state of the successor decides.
   * - After a rotation by age, the old copy is used under the new id.
   * - In the grace of `regenerate({ grace })`, the old copy can only be read, so it keeps the old id.
   */
  async placeOf(id: string, op: Operation): Promise<Place | RejectReason> {
    return await this.#follow(id, await this.noteOf(id, op), op, 1);
  }

  async #follow(id: string, note: StoredNote | null, op: Operation, hops: number): Promise<Place | RejectReason> {
    if (note === null || note.state === "alive") return { id, note };
    if (note.successor === undefined) return "revoked";
    const { key, retiredAt, grace } = note.successor;
    if (grace === undefined || grace.until <= op.now || hops > MAX_HOPS) return reasonOfRetired(retiredAt, op.now);
    const next = await loadNote(key, op);
    const nextId = await unpad(grace.id, id);
    if (nextId === null) return "corrupt";
    const place = await this.#follow(nextId, next, op, hops + 1);
    if (typeof place === "string") return place;
    if (grace.untilUsed !== true) return { id, note };
    if (isUnderWay(retiredAt, op.now)) return { ...place, isUnderWay: true };
    // An id is rotated by age only after the client has used it, so a successor that was rotated was used as well.
    const usedAt = next?.usedAt ?? 0;
    if (usedAt === 0 && !isRotatedByAge(next)) return place;
    if (isUnderWay(usedAt, op.now)) return { ...place, isUnderWay: true };
    if (this.#endsOnReuse && op.isOwnToken !== true) await this.#end(key, note.lifetime, next, op, hops);
    return "reuse";
  }

  /**
   * Notes the facts about this copy that other copies do not hold: that it may live longer than they would expect, or
   * that the client has used its id.
   */
  async noteUse(
    id: string,
    metadata: Metadata,
    before: StoredNote | null,
    isUsed: boolean,
    op: Operation,
  ): Promise<StoredNote | null> {
    const longest = unexpectedEndOf(metadata, op);
    const isKnown = longest <= (before?.longest ?? 0) && (!isUsed || (before?.usedAt ?? 0) > 0);
    if (isKnown) return before;
    const key = await noteKey(id);
    for (let known = before; ;) {
      const note: Note = {
        state: "alive",
        lifetime: metadata,
        longest: Math.max(longest, known?.longest ?? 0),
        usedAt: known?.usedAt || (isUsed ? op.now : 0),
      };
      const stored = await saveNote(key, note, known, Math.max(lastEndOf(metadata, op), note.longest), op);
      if (stored !== "conflict") return stored;
      await op.backOff();
      known = await loadNote(key, op);
      if (isRevoked(known)) throw sessionGone();
    }
  }

  /** Notes that an id was replaced. If two requests replace one id, only the first one may do so. */
  async retire(
    current: Found,
    known: StoredNote | null,
    successor: Found,
    graceUntil: number | null,
    op: Operation,
  ): Promise<true | "conflict"> {
    const key = await noteKey(current.id);
    const pointer = await pointerTo(successor, await noteKey(successor.id), current, graceUntil, op.now);
    const leadsThere = (found: StoredNote | null): boolean => found?.successor?.key === pointer.key;
    for (let before = known; ;) {
      if (isRotatedByAge(before)) return "conflict";
      if (isRevoked(before)) throw sessionGone();
      const { longest = 0, usedAt = 0 } = before ?? {};
      const note: Note = { state: "retired", lifetime: successor.metadata, successor: pointer, longest, usedAt };
      const until = Math.max(lastEndOf(current.metadata, op), longest, (graceUntil ?? 0) + CLOCK_SKEW);
      try {
        if ((await saveNote(key, note, before, until, op)) !== "conflict") return true;
      } catch (error) {
        // The note may have been stored although the store returned an error.
        if (isOutage(error) && (await this.noteOf(current.id, op).then(leadsThere, () => false))) return true;
        throw error;
      }
      before = await this.noteOf(current.id, op);
      // The store's client may have sent the write twice, and returned the answer to the second attempt.
      if (leadsThere(before)) return true;
      await op.backOff();
    }
  }

  /** Notes that a retired id is in use again, as `known` said before, and that the successor was ended. */
  async reinstate(
    retired: Found,
    known: StoredNote | null,
    successor: Found,
    ofSuccessor: StoredNote | null,
    op: Operation,
  ): Promise<void> {
    const [key, successorKey] = [await noteKey(retired.id), await noteKey(successor.id)];
    const note = await loadNote(key, op);
    // If a logout came in between, the note says that the session has ended, and it stays.
    if (note?.successor?.key === successorKey) {
      const { longest } = note;
      const usedAt = known?.usedAt ?? 0;
      const alive: Note = { state: "alive", lifetime: retired.metadata, longest, usedAt };
      await saveNote(key, alive, note, Math.max(lastEndOf(retired.metadata, op), longest), op);
    }
    await this.#end(successorKey, successor.metadata, ofSuccessor, op, 1);
  }

  /** Notes that a session and its successors were ended. */
  async end({ id, metadata }: Found, known: StoredNote | null, op: Operation): Promise<void> {
    await this.#end(await noteKey(id), metadata, known, op, 1);
  }

  /** The successor, if there is one, is ended first: after a failure in between, the note still names it. */
  async #end(key: string, lifetime: Lifetime, known: StoredNote | null, op: Operation, hops: number): Promise<void> {
    for (let note = known; note?.state !== "ended";) {
      if (note?.successor !== undefined) {
        const { successor } = note;
        if (op.now >= followedUntil(successor) || hops > MAX_HOPS) return;
        const next = successor.key;
        await this.#end(next, note.lifetime, await loadNote(next, op), op, hops + 1);
      }
      // A load judges by the instant at which its request came. Copies that were made since must not outlive the note.
      const present = operationWith(op, { now: this.#now() });
      const until = Math.max(lastEndOf(lifetime, present), note?.longest ?? 0);
      if ((await saveNote(key, { ...ENDED, lifetime }, note, until, present)) !== "conflict") return;
      await op.backOff();
      note = await loadNote(key, op);
    }
  }
}
