import { unpad } from "./hash.ts";
import { endRecord } from "./store_repository/end_record.ts";
import { isOutage } from "./errors.ts";
import type { RejectReason } from "./events.ts";
import { followedUntil, maySweep, sweptAt, touched } from "./expiry.ts";
import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import { type Metadata, metadataOf, readMetadata, type Successor, withMetadata } from "./metadata.ts";
import { openFields, type RecordCodec, sealFields } from "./record_codec.ts";
import { NO_FIELDS } from "./record_fields.ts";
import { isTombstone, type Stored, storedOf, writeOf } from "./store_repository/record_write.ts";
import type { Contents, Found, Operation, Repository } from "./repository.ts";
import { isUnderWay, MAX_HOPS, pointerTo, reasonOfRetired } from "./store_repository/retired_id.ts";
import { isDefaultId, isId } from "./session_id.ts";
import { keyOfId } from "./store_repository/store_key.ts";
import type { StoredRecord } from "./store.ts";
import type { TokenFormat } from "./token_format.ts";
import { includesWrite, withWrite } from "./store_repository/write_names.ts";

/** How the store repository is set up. */
interface StoreRepositoryOptions {
  /** How an id becomes a token. If absent, the id is the token. */
  readonly ids: TokenFormat | undefined;
  /** The stored form of the fields. If absent, the fields are stored as they are. */
  readonly encryption: RecordCodec | undefined;
  /** Whether all ids come from the default generator, so that any other text is rejected without a store call. */
  readonly hasDefaultIds: boolean;
  /** Whether a session ends when a client presents its retired id although the new one was used. */
  readonly endsOnReuse: boolean;
}

/** Keeps sessions in a store. The client holds an id; the store has a record under the hash of the id. */
export class StoreRepository implements Repository {
  readonly #ids: TokenFormat;
  readonly #codec: RecordCodec | undefined;
  readonly #isPossible: (id: string) => boolean;
  readonly #endsOnReuse: boolean;

  constructor({ ids, encryption, hasDefaultIds, endsOnReuse }: StoreRepositoryOptions) {
    this.#ids = ids ?? PLAIN_IDS;
    this.#codec = encryption;
    this.#isPossible = hasDefaultIds ? isDefaultId : isId;
    this.#endsOnReuse = endsOnReuse;
  }

  tokenFor(id: string, op: Operation): MaybePromise<string> {
    return this.#ids.toToken(id, op);
  }

  idOf(token: string, op: Operation): MaybePromise<string | null> {
    return this.#ids.toId(token, op);
  }

  open(token: string, op: Operation): MaybePromise<Found | RejectReason> {
    return chain(this.idOf(token, op), (id) => {
      if (id === null) return "forged";
      return this.#isPossible(id) ? this.#find(id, op) : "malformed";
    });
  }

  /**
   * Finds the session of an id. `hops` counts the successors that were followed. `late` says whether an id on the way
   * was retired by age, and so long ago that no request that was under way then still runs.
   */
  #find(id: string, op: Operation, hops = 0, late?: Late): MaybePromise<Found | RejectReason> {
    return chain(keyOfId(id), (key) =>
      chain(op.store.load(key), (record) =>
        chain(this.#read(id, key, record, op), (found) => {
          if (typeof found === "string") return found;
          const { successor } = found.metadata;
          const isUsed = late !== undefined && wasUsed(found.metadata, late, op.now);
          if (successor === undefined) {
            if (op.endsAt(found) <= op.now) return "expired";
            return isUsed ? this.#reused(key, found, op) : found;
          }
          const { retiredAt, grace } = successor;
          if (grace === undefined || grace.until <= op.now || hops >= MAX_HOPS)
            return reasonOfRetired(retiredAt, op.now);
          if (isUsed) return this.#reused(key, undefined, op);
          const isLate = grace.untilUsed === true && !isUnderWay(retiredAt, op.now);
          const next = isLate ? "last" : late && "earlier";
          return chain(unpad(grace.id, id), (nextId) =>
            nextId === null ? "corrupt" : this.#find(nextId, op, hops + 1, next),
          );
        }),
      ),
    );
  }

  /** Reads a record: the session in it, or the retired session. `token` is the token of the session, if it is known. */
  #read(
    id: string,
    key: string,
    record: StoredRecord | null,
    op: Operation,
    token?: string,
  ): MaybePromise<Found | RejectReason> {
    if (record === null) return "unknown";
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") return isTombstone(record) ? "revoked" : metadata;
    const { fields, lastSeenAt, version } = record;
    const stored: Stored = { key, fields };
    // The codec is not needed: a retired record has no data.
    if (metadata.successor !== undefined) return { fields, metadata, lastSeenAt, id, token: "", version, stored };
    return chain(openFields(this.#codec, fields, id, key, op), (opened) => {
      if (opened === null) return "corrupt";
      return chain(token ?? this.tokenFor(id, op), (made) => {
        return { fields: opened, metadata, lastSeenAt, id, token: made, version, stored };
      });
    });
  }

  #reused(key: string, current: Found | undefined, op: Operation): MaybePromise<RejectReason> {
    if (!this.#endsOnReuse || op.isOwnToken === true) return "reuse";
    return endRecord(key, current, op).then(() => "reuse");
  }

  refresh(current: Found, op: Operation): MaybePromise<Found | null> {
    const { key } = storedOf(current);
    return chain(op.store.load(key), (record) =>
      chain(this.#read(current.id, key, record, op, current.token), (found) => {
        if (typeof found === "string" || found.metadata.successor !== undefined) return null;
        // The deadline was checked when the request loaded the session, so it is not checked again. A session that
        // ended so long ago that its record may be swept stays ended.
        return maySweep(found, op) ? null : found;
      }),
    );
  }

  create(id: string, contents: Contents, op: Operation): MaybePromise<Found | "conflict"> {
    return chain(keyOfId(id), (key) =>
      chain(this.#write(id, key, null, contents, op), (created) => {
        if (created !== "conflict") return created;
        // The client of the store may have sent the write twice and returned the answer to the second one.
        return chain(op.store.load(key), (record) =>
          chain(this.#read(id, key, record, op), (found) =>
            typeof found === "object" && includesWrite(found.metadata, op.writeId) ? found : "conflict",
          ),
        );
      }),
    );
  }

  update(current: Found, contents: Contents, op: Operation): MaybePromise<Found | "conflict"> {
    return this.#write(current.id, storedOf(current).key, current, contents, op);
  }

  #write(
    id: string,
    key: string,
    current: Found | null,
    { fields, metadata, lastSeenAt }: Contents,
    op: Operation,
  ): MaybePromise<Found | "conflict"> {
    const isTouch = current !== null && fields === current.fields && metadata === current.metadata;
    const named = isTouch ? metadata : withWrite(metadata, op);
    const whole = isTouch ? fields : withMetadata(fields, named, key);
    const before = current === null ? NO_FIELDS : storedOf(current).fields;
    const sealing = isTouch ? before : sealFields(this.#codec, whole, id, key, op);
    return chain(sealing, (sealed) => {
      const record = { fields: sealed, lastSeenAt };
      const write = writeOf(record, before, current?.version ?? null, sweptAt({ metadata: named, lastSeenAt }, op));
      // A busy store may drop a write that names no field, as a touch does. A rotation that takes along another request's
      // touch changes no field either, but it must be stored.
      const saved = isTouch || write.changed.size > 0 ? write : { ...write, changed: sealed };
      return chain(op.store.save(key, saved), (version) => {
        if (version === "conflict") return version;
        return chain(current?.token ?? this.tokenFor(id, op), (token) => {
          const stored: Stored = { key, fields: sealed };
          return { fields: whole, metadata: named, lastSeenAt, id, token, version, stored };
        });
      });
    });
  }

  retire(current: Found, successor: Found, graceUntil: number | null, op: Operation): MaybePromise<true | "conflict"> {
    return chain(pointerTo(successor, storedOf(successor).key, current, graceUntil, op.now), (pointer) =>
      recovering(
        () => this.#retire(current, pointer, op),
        (error) => {
          if (!isOutage(error)) throw error;
          // The id may have been retired although the store answered with an error.
          return this.#isRetiredFor(current, pointer.key, op).then((isDone) => {
            if (isDone) return true as const;
            throw error;
          });
        },
      ),
    );
  }

  #retire(current: Found, successor: Successor, op: Operation): MaybePromise<true | "conflict"> {
    const { key, fields: before } = storedOf(current);
    const { createdAt, absoluteSince, unconfirmed, usedAt } = current.metadata;
    const metadata: Metadata = { createdAt, absoluteSince, unconfirmed, usedAt, successor };
    const fields = withMetadata(NO_FIELDS, metadata, key);
    const write = writeOf({ fields, lastSeenAt: op.now }, before, current.version, followedUntil(successor));
    return chain(op.store.save(key, write), (version) => {
      if (version !== "conflict") return true;
      return chain(this.#leadsTo(key, successor.key, op), (isDone) => (isDone ? true : "conflict"));
    });
  }

  /**
   * Whether a record was retired in favour of a key. A touch comes first, so that a write that is still under way
   * cannot change the result.
   */
  async #isRetiredFor(current: Found, successorKey: string, op: Operation): Promise<boolean> {
    try {
      await this.update(current, touched(current, op.now), op);
      return await this.#leadsTo(storedOf(current).key, successorKey, op);
    } catch {
      return false;
    }
  }

  #leadsTo(key: string, successorKey: string, op: Operation): MaybePromise<boolean> {
    return chain(op.store.load(key), (record) => metadataOf(record, key)?.successor?.key === successorKey);
  }

  async reinstate(retired: Found, successor: Found, op: Operation): Promise<void> {
    const { key, fields } = storedOf(retired);
    const { key: successorKey } = storedOf(successor);
    const record = await op.store.load(key);
    const pointer = metadataOf(record, key)?.successor;
    if (record !== null && pointer?.key === successorKey && pointer.isFinal !== true) {
      const { lastSeenAt } = retired;
      await op.store.save(key, writeOf({ fields, lastSeenAt }, record.fields, record.version, sweptAt(retired, op)));
    } else if (record?.version === retired.version) {
      // A retirement may still be under way. This makes sure that the store rejects it.
      await this.#isRetiredFor(retired, successorKey, op);
    }
    // A store that compares versions notices if the successor has a successor by now. Any other store must be asked.
    await endRecord(successorKey, op.store.traits.compareAndSet ? successor : undefined, op);
  }

  end(session: Found | string, op: Operation): MaybePromise<void> {
    if (typeof session !== "string") return endRecord(storedOf(session).key, session, op);
    return chain(this.idOf(session, op), (id) => {
      if (id === null || !this.#isPossible(id)) return undefined;
      return chain(keyOfId(id), (key) => endRecord(key, undefined, op));
    });
  }
}

/** Without signed ids, the id itself is the token. */
const PLAIN_IDS: TokenFormat = { toToken: (id) => id, toId: (token) => token };

/** Which id on the way to a session was retired by age long ago: the last one, or only an earlier one. */
type Late = "last" | "earlier";

/**
 * Whether the client has used an id, and so long ago that no request that it sent with an older id still runs. An id is
 * renewed by age only after the client has used it.
 */
function wasUsed({ unconfirmed, usedAt = 0, successor }: Metadata, late: Late, now: number): boolean {
  const isUsed = successor?.grace?.untilUsed === true || (late === "last" && unconfirmed !== true);
  return isUsed && !isUnderWay(usedAt, now);
}
