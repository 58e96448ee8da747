import { sessionGone } from "../core/errors.ts";
import type { RejectReason } from "../core/events.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import type { Metadata } from "../core/metadata.ts";
import type { Contents, Found, Operation, Repository } from "../core/repository.ts";
import type { RepositorySettings } from "../core/repository/repository_source.ts";
import type { Sealer } from "../crypto/sealer.ts";
import { isRevoked, isRotatedByAge, type StoredNote } from "./notes.ts";
import { Revocation } from "./revocation.ts";
import { SessionTokens } from "./session_tokens.ts";

/**
 * Keeps each session in its token: the client presents the session itself, sealed. If there is a revocation store, it
 * records which sessions were ended and which ids were replaced.
 */
export class CookieRepository implements Repository {
  readonly tokenHoldsSession = true;
  readonly #tokens: SessionTokens;
  readonly #revocation: Revocation | undefined;

  constructor(
    sealer: Sealer,
    {
      hasRevocation,
      now,
      rotates,
      endsOnReuse,
    }: Pick<RepositorySettings, "now" | "rotates" | "endsOnReuse"> & { readonly hasRevocation: boolean },
  ) {
    this.#tokens = new SessionTokens(sealer, rotates);
    this.#revocation = hasRevocation ? new Revocation(endsOnReuse, now) : undefined;
  }

  async open(token: string, op: Operation): Promise<Found | RejectReason> {
    const found = await this.#tokens.open(token, op);
    if (typeof found === "string") return found;
    const copyEndsAt = found.copyEndsAt + (op.isKnown === true ? SWEEP_MARGIN : 0);
    if (Math.min(op.endsAt(found), copyEndsAt) <= op.now) return "expired";
    const place = (await this.#revocation?.placeOf(found.id, op)) ?? { id: found.id, note: null };
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
    const renewed = op.presentedName === op.name ? token : await this.#tokens.seal(id, contentsFor(opened, opened), op);
    return { ...opened, token: renewed, version: renewed };
  }

  async refresh(current: Found, op: Operation): Promise<Found | null> {
    const note = await this.#noteOf(current.id, op);
    return isRevoked(note) || op.endsAt(current) + SWEEP_MARGIN <= op.now
      ? null
      : { ...current, stored: { ...storedOf(current), note } satisfies Stored };
  }

  async create(id: string, contents: Contents, op: Operation): Promise<Found> {
    const token = await this.#seal(id, contents, op);
    const note = (await this.#revocation?.noteUse(id, contents.metadata, null, false, op)) ?? null;
    return { ...contents, id, token, version: token, stored: { note, isFollowed: false } satisfies Stored };
  }

  async update(current: Found, contents: Contents, op: Operation): Promise<Found | "conflict"> {
    const { id } = current;
    const before = await this.#noteOf(id, op);
    if (isRotatedByAge(before)) return "conflict";
    // The client holds the data under another id, so there is no newer state to which the changes could be applied.
    if (isRevoked(before)) throw sessionGone();
    const token = await this.#seal(id, contentsFor(current, contents), op);
    const isUsed = current.metadata.unconfirmed === true && contents.metadata.unconfirmed !== true;
    const note = (await this.#revocation?.noteUse(id, contents.metadata, before, isUsed, op)) ?? null;
    return { ...contents, id, token, version: token, stored: { ...storedOf(current), note } satisfies Stored };
  }

  async retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): Promise<true | "conflict"> {
    return (await this.#revocation?.retire(current, storedOf(current).note, successor, graceUntil, op)) ?? true;
  }

  async reinstate(retired: Found, successor: Found, op: Operation): Promise<void> {
    await this.#revocation?.reinstate(retired, storedOf(retired).note, successor, storedOf(successor).note, op);
  }

  async end(session: Found | string, op: Operation): Promise<void> {
    const found = typeof session === "string" ? await this.#tokens.open(session, op) : session;
    if (typeof found === "string") return;
    const note = typeof session === "string" ? await this.#noteOf(found.id, op) : storedOf(found).note;
    await this.#revocation?.end(found, note, op);
  }

  async #noteOf(id: string, op: Operation): Promise<StoredNote | null> {
    return (await this.#revocation?.noteOf(id, op)) ?? null;
  }

  /** Seals contents into a token that the client can keep. */
  async #seal(id: string, contents: Contents, op: Operation): Promise<string> {
    const token = await this.#tokens.seal(id, contents, op);
    this.#tokens.assertFits(token, contents.metadata, op);
    return token;
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

function confirmed({ unconfirmed: _, ...metadata }: Metadata): Metadata {
  return metadata;
}

/** The facts that this repository keeps in `Found.stored`. */
interface Stored {
  readonly note: StoredNote | null;
  /** Whether the client presented an older id. */
  readonly isFollowed: boolean;
}

function storedOf({ stored }: Found): Stored {
  return stored as Stored;
}
