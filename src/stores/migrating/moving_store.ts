import type { RecordVersion, SessionStore, StoredRecord, StoreTraits, Write } from "../../core/store.ts";
import { endsOf } from "./ends.ts";
import { isMarked, isMarker, movedRecord, unmarkedRecord, unmarkingWrite } from "./marks.ts";
import { type Place, tagged, untagged } from "./versions.ts";

/** The store that moves each session when it is written. It trusts the answers of the two stores. */
export function movingStore(from: SessionStore, to: SessionStore, now: () => number): SessionStore {
  const { compareAndSet } = to.traits;
  const { end, endAt } = endsOf(from, to, now);

  async function find(key: string, signal?: AbortSignal): Promise<Located | null> {
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
    if (there === null || !isMarker(there)) return "conflict";
    return tagged("to", await to.save(key, unmarkingWrite({ ...write, expected: there.version }), signal));
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
    const record = movedRecord(write.record);
    const answer = await to.save(key, { ...write, record, changed: new Map(record.fields), expected: null }, signal);
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
      return tagged("to", await to.save(key, unmarkingWrite({ ...write, expected }), signal));
    }
    const record = movedRecord(write.record);
    return tagged("moved", await to.save(key, hidingWrite({ ...write, record, expected }), signal));
  }

  return {
    traits: traitsOf(from.traits, to.traits),

    async load(key, signal) {
      const found = await find(key, signal);
      if (found === null) return null;
      const { place, record } = found;
      return { ...(place === "moved" ? unmarkedRecord(record) : record), version: tagged(place, record.version) };
    },

    async save(key, write, signal) {
      if (write.expected === null) return await create(key, write, signal);
      const [place, version] = untagged(write.expected);
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

    ...((from.isClosed || to.isClosed) && {
      isClosed: () => from.isClosed?.() === true || to.isClosed?.() === true,
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

/** A session that was found, with its place. */
interface Located {
  readonly place: Place;
  readonly record: StoredRecord;
}

/** The session in a record of the new store; null if it has ended. */
function locate(record: StoredRecord): Located | null {
  return isMarker(record) ? null : { place: isMarked(record) ? "moved" : "to", record };
}

/** A write of a record that must stay as long as an older state may be in `from`. The session still ends by the timeouts in the record. */
function hidingWrite(write: Write): Write {
  return { ...write, expiresAt: Math.max(write.expiresAt, write.record.lastSeenAt + HIDDEN_LIFE) };
}

/** In milliseconds. No browser keeps a cookie for longer (RFC 6265bis, 5.5). */
const HIDDEN_LIFE = 400 * 86_400_000;
