import { withChanges } from "../../core/record_fields.ts";
import type { RecordVersion, SessionStore, StoreTraits, Write } from "../../core/store.ts";
import { endsOf } from "./ends.ts";
import { hidingWrite, locate, type LocatedRecord, MARK, MOVED, UNMARKED } from "./marks.ts";
import { tag, tagged, untagged } from "./versions.ts";

/** The store that moves each session when it is written. It trusts the answers of the two stores. */
export function movingStore(from: SessionStore, to: SessionStore, now: () => number): SessionStore {
  const { compareAndSet } = to.traits;
  const { end, endAt } = endsOf(from, to, now);

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
