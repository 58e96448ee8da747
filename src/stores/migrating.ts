/**
 * Moves live sessions from one store to another, each one when it is next written.
 *
 * `to` decides the state of a session: it was moved, it has ended, or it was not moved yet. A session that was not
 * moved yet is read from `from`, where nothing is written any more. The move is a creation in `to`. If two requests
 * move one session, one of them is refused and reads again. A deletion leaves a *marker* in `to` for some time, so that
 * a request that read the session in `from` before cannot bring it back.
 *
 * @module
 */
import { validAnswer } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { CAPABILITY, withChanges } from "../core/record_fields.ts";
import {
  ENDING,
  isDeletion,
  isRecordOrNull,
  isSessionStore,
  isVersion,
  LOADING,
  STORING,
} from "../core/store_answers.ts";
import type { RecordVersion, SessionStore, StoredRecord, StoreTraits, Write } from "../core/store.ts";

/** Options of {@linkcode migratingStore}. */
export interface MigratingStoreOptions {
  /** The time in epoch milliseconds: the same function as the option `now` of the sessions. @default `Date.now` */
  readonly now?: () => number;
}

/**
 * Moves sessions from one store to another while they are used, so that no user is signed out.
 *
 * ## Setup
 * The two stores. Replace the program on all servers at once: a server that still uses `from` alone does not find
 * sessions that were moved. Sessions that are not used stay in `from`. When the longest timeout has passed, use `to`
 * alone and drop `from`.
 *
 * ## How expiry behaves
 * As in each of the stores. `prune()` of the manager prunes both.
 *
 * ## Key format
 * The same as in each store. A record in `to` has the field `*with-session.migrating` from its move until its next
 * write. After a logout it is the only field, for ten minutes.
 *
 * ## Consistency
 * Compare-and-set if `to` has it: no update is lost and no ended session comes back, also in the request that moves it. Otherwise the last
 * write wins, as in `to` alone. Reads are strong if both stores are. If `from` is eventually consistent, a session that was written in the last minute before the program was replaced may be
 * moved in an older state.
 *
 * ## Limits
 * - Those of `to`. A session that is too large for `to` cannot be written until it holds less.
 * - Until a session was moved, a load costs one call of each store. Looking for an unknown session costs three calls. A
 *   move costs two calls of each store, a creation one call more than in `to` alone, and a logout three or four.
 * - If `from` fails in the middle of a move, the older state stays there until the next write or logout removes it. The
 *   record in `to` is kept until then, for up to 400 days.
 * - If the process crashes or `from` hangs in the middle of a move, and `to` removes the record before the next write,
 *   the older state is found again and ends by its own timeouts. After `regenerate()`, that is the state under the old
 *   id, about twenty minutes later.
 *
 * @param from The store that has the sessions so far
 * @param to The store that the sessions move to
 * @param options The clock
 * @returns The store
 * @throws {TypeError} If one of the two is not a store, both are the same, or an option is unknown
 *
 * @example
 * ```ts
 * import { memoryStore, withSession } from "with-session";
 * import { fileStore } from "with-session/stores/file";
 * import { migratingStore } from "with-session/stores/migrating";
 *
 * const store = migratingStore(memoryStore(), fileStore({ directory: "./sessions" }));
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store },
 *   ),
 * };
 * ```
 */
export function migratingStore(
  from: SessionStore,
  to: SessionStore,
  options: MigratingStoreOptions = {},
): SessionStore {
  assertKnown(options, ["now"], "migratingStore");
  const { now = () => Date.now() } = options;
  if (!isSessionStore(from) || !isSessionStore(to) || from === to) {
    throw new TypeError(
      "migratingStore needs two stores: the one that has the sessions, and the one that they move to",
    );
  }
  if (typeof now !== "function") throw new TypeError("migratingStore: now must be a function");
  return movingStore(withCheckedAnswers(from), withCheckedAnswers(to), now);
}

/**
 * A store whose answers are checked, because this store reads them. The time limit and the retries are those of the
 * operation.
 */
function withCheckedAnswers(store: SessionStore): SessionStore {
  return {
    traits: store.traits,
    load: async (key, signal) => validAnswer(LOADING, await store.load(key, signal), isRecordOrNull),
    save: async (key, write, signal) => validAnswer(STORING, await store.save(key, write, signal), isVersion),
    delete: async (key, expected, signal) => validAnswer(ENDING, await store.delete(key, expected, signal), isDeletion),
    ...(store.prune && { prune: store.prune.bind(store) }),
  };
}

function movingStore(from: SessionStore, to: SessionStore, now: () => number): SessionStore {
  const { compareAndSet } = to.traits;

  async function find(key: string, signal?: AbortSignal): Promise<LocatedRecord | null> {
    const moved = await to.load(key, signal);
    if (moved !== null) return locate(moved);
    const unmoved = await from.load(key, signal);
    if (unmoved !== null) return { place: "from", record: unmoved };
    // It may have been moved between the two reads.
    const late = await to.load(key, signal);
    return late === null ? null : locate(late);
  }

  async function create(key: string, write: Write, signal?: AbortSignal): Promise<RecordVersion | "conflict"> {
    // Without compare-and-set, the core ends a session by writing a record without fields over the existing one.
    if (!compareAndSet) {
      if (write.record.fields.size === 0) await from.delete(key, undefined, signal);
      return tagged("to", await to.save(key, write, signal));
    }
    const unmoved = await from.load(key, signal);
    const answer = unmoved === null ? await to.save(key, write, signal) : "conflict";
    if (answer !== "conflict") return tagged("to", answer);
    const there = await to.load(key, signal);
    if (there === null || locate(there).place !== "ended") return "conflict";
    const changed = new Map(write.changed).set(MARK, null);
    return tagged("to", await to.save(key, { ...write, changed, expected: there.version }, signal));
  }

  async function move(
    key: string,
    write: Write,
    expected: RecordVersion,
    signal?: AbortSignal,
  ): Promise<RecordVersion | "conflict"> {
    // The session may have been ended long ago, so that `to` no longer has a marker of it.
    const unmoved = await from.load(key, signal);
    if (unmoved === null || unmoved.version !== expected) return "conflict";
    const fields = withChanges(write.record.fields, MOVED);
    const record = { ...write.record, fields };
    const answer = await to.save(key, { ...write, record, changed: new Map(fields), expected: null }, signal);
    // A conflict can be with an earlier attempt of this request that got no answer. In both cases the record in `to` counts.
    if ((await removed(key, signal)) || answer === "conflict") return tagged("moved", answer);
    // The next write of the session removes the record that is left in `from`. A retired id gets no further write.
    const hiding = hidingWrite({ ...write, id: crypto.randomUUID(), record, changed: new Map(), expected: answer });
    const hidden = await Promise.resolve(to.save(key, hiding, signal)).catch(() => answer);
    return tagged("moved", hidden === "conflict" ? answer : hidden);
  }

  async function removed(key: string, signal?: AbortSignal): Promise<boolean> {
    try {
      await from.delete(key, undefined, signal);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * The first write after the move. It removes the record in `from` if it is still there, and the field of the move.
   */
  async function settle(
    key: string,
    write: Write,
    expected: RecordVersion,
    signal?: AbortSignal,
  ): Promise<RecordVersion | "conflict"> {
    if (await removed(key, signal)) {
      const changed = new Map(write.changed).set(MARK, null);
      return tagged("to", await to.save(key, { ...write, changed, expected }, signal));
    }
    const record = { ...write.record, fields: withChanges(write.record.fields, MOVED) };
    return tagged("moved", await to.save(key, hidingWrite({ ...write, record, expected }), signal));
  }

  /** The write of the marker of an ended session, in place of the record in `to` if there is one. */
  function ending(record: StoredRecord | null): Write {
    const changed = new Map<string, string | null>();
    for (const name of record?.fields.keys() ?? []) changed.set(name, null);
    changed.set(MARK, ENDED);
    const lastSeenAt = Math.max(now(), record?.lastSeenAt ?? 0);
    return {
      id: crypto.randomUUID(),
      record: { fields: new Map([[MARK, ENDED]]), lastSeenAt },
      changed,
      expected: record?.version ?? null,
      expiresAt: lastSeenAt + MARKER_LIFE,
    };
  }

  /** Ends the session in both stores. Moves that are under way can come in between, but no new move begins. */
  async function end(key: string, signal?: AbortSignal): Promise<void> {
    await from.delete(key, undefined, signal);
    if (!compareAndSet) return void (await to.delete(key, undefined, signal));
    for (;;) {
      const there = await to.load(key, signal);
      if (there !== null && locate(there).place === "ended") return;
      if (there !== null) await to.delete(key, undefined, signal);
      if ((await to.save(key, ending(null), signal)) !== "conflict") return;
    }
  }

  async function endAt(key: string, expected: RecordVersion, signal?: AbortSignal): Promise<void | "conflict"> {
    const { place, version } = untagged(expected);
    const there = await to.load(key, signal);
    const isThere = there !== null && locate(there).place !== "ended";
    if (isThere && (place === "from" || there.version !== version)) return "conflict";
    const isUnmoved = there === null && place === "from";
    if (isUnmoved) {
      const unmoved = await from.load(key, signal);
      // It may have been moved between the two reads.
      if (unmoved === null) return (await to.load(key, signal)) === null ? undefined : "conflict";
      if (unmoved.version !== version) return "conflict";
    }
    // This comes before the marker, so that a logout that fails here can be tried again: a marker would hide the record in `from`.
    await from.delete(key, undefined, signal);
    if ((isThere || isUnmoved) && (await to.save(key, ending(there), signal)) === "conflict") return "conflict";
  }

  return {
    traits: traitsOf(from.traits, to.traits),

    async load(key, signal) {
      const found = await find(key, signal);
      if (found === null || found.place === "ended") return null;
      const { place, record } = found;
      const fields = place === "moved" ? withChanges(record.fields, UNMARKED) : record.fields;
      return { fields, lastSeenAt: record.lastSeenAt, version: tag(place, record.version) };
    },

    async save(key, write, signal) {
      if (write.expected === null) return await create(key, write, signal);
      const { place, version } = untagged(write.expected);
      if (place === "from") return await move(key, write, version, signal);
      if (place === "moved") return await settle(key, write, version, signal);
      return tagged("to", await to.save(key, { ...write, expected: version }, signal));
    },

    async delete(key, expected, signal) {
      if (expected === undefined || !compareAndSet) return await end(key, signal);
      return await endAt(key, expected, signal);
    },

    ...((from.prune || to.prune) && {
      async prune(instant: number): Promise<number> {
        return ((await from.prune?.(instant)) ?? 0) + ((await to.prune?.(instant)) ?? 0);
      },
    }),
  };
}

function traitsOf(from: StoreTraits, to: StoreTraits): StoreTraits {
  const { compareAndSet, maxBytes } = to;
  const late = [from, to].filter(({ consistency }) => consistency === "eventual");
  if (late.length === 0) return { consistency: "strong", compareAndSet, maxBytes };
  const staleness = Math.max(...late.map((traits) => traits.staleness ?? DEFAULT_STALENESS));
  return { consistency: "eventual", compareAndSet, maxBytes, staleness };
}

/** In seconds: the default of `StoreTraits.staleness`. */
const DEFAULT_STALENESS = 60;

/** Where a session is: not moved yet, moved a moment ago, or in the new store alone. */
type Place = "from" | "moved" | "to";

interface LocatedRecord {
  readonly place: Place | "ended";
  readonly record: StoredRecord;
}

/** The field that this store adds to records. */
const MARK = `${CAPABILITY}with-session.migrating`;
const ENDED = "ended";
const MOVED: ReadonlyMap<string, string> = new Map([[MARK, "moved"]]);
const UNMARKED: ReadonlyMap<string, null> = new Map([[MARK, null]]);
/** In milliseconds. It must be longer than a call of a store takes: a move reads `from` right before it writes. */
const MARKER_LIFE = 600_000;

/** In milliseconds. No browser keeps a cookie for longer (RFC 6265bis, 5.5). */
const HIDDEN_LIFE = 400 * 86_400_000;

/** A write of a record that must stay as long as an older state may be in `from`. The session still ends by the timeouts in the record. */
function hidingWrite(write: Write): Write {
  return { ...write, expiresAt: Math.max(write.expiresAt, write.record.lastSeenAt + HIDDEN_LIFE) };
}

function locate(record: StoredRecord): LocatedRecord {
  const mark = record.fields.get(MARK);
  return { place: mark === undefined ? "to" : mark === ENDED ? "ended" : "moved", record };
}

// A version also says which store it comes from, and whether the version of that store is a number.

const LETTERS = { from: "f", moved: "m", to: "t" } as const;

function tag(place: Place, version: RecordVersion): RecordVersion {
  return `${LETTERS[place]}${typeof version === "number" ? "n" : "s"}${version}`;
}

function tagged(place: Place, answer: RecordVersion | "conflict"): RecordVersion | "conflict" {
  return answer === "conflict" ? answer : tag(place, answer);
}

function untagged(tagged: RecordVersion): { readonly place: Place; readonly version: RecordVersion } {
  const text = String(tagged);
  const version = text.slice(2);
  const place = text[0] === "f" ? "from" : text[0] === "m" ? "moved" : "to";
  return { place, version: text[1] === "n" ? Number(version) : version };
}
