import type { RecordVersion, SessionRecord, SessionStore, StoredRecord, Write } from "../../mod.ts";

/** How an engine removes expired records: at `expiresAt` by its own clock, a time to live after the write, or never. */
export type Sweeping = "instant" | "time to live" | "never";

/** An engine in memory that keeps a history of all texts it has stored. It removes a record as soon as its way of expiry allows. */
export interface RecordingEngine {
  readonly store: SessionStore;
  /** Each text that each field has ever had, by the name of the field. */
  readonly ever: ReadonlyMap<string, ReadonlySet<string>>;
  readonly records: ReadonlyMap<string, StoredRecord>;
}

interface Kept extends StoredRecord {
  readonly until: number;
}

/** Opens an engine with its own clock, which may be wrong. It answers without promises. */
export function recordingEngine(now: () => number, sweeping: Sweeping): RecordingEngine {
  const records = new Map<string, Kept>();
  const ever = new Map<string, Set<string>>();
  let writes = 0;

  function find(key: string): Kept | undefined {
    const found = records.get(key);
    if (found === undefined || found.until >= now()) return found;
    records.delete(key);
    return undefined;
  }

  function endOf({ expiresAt, record }: Write): number {
    if (sweeping === "never") return Infinity;
    return sweeping === "instant" ? expiresAt : now() + expiresAt - record.lastSeenAt;
  }

  function note({ fields }: SessionRecord): void {
    for (const [name, text] of fields) {
      const texts = ever.get(name);
      if (texts === undefined) ever.set(name, new Set([text]));
      else texts.add(text);
    }
  }

  const store: SessionStore = {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },
    load(key) {
      const found = find(key);
      return found === undefined
        ? null
        : { fields: found.fields, lastSeenAt: found.lastSeenAt, version: found.version };
    },
    save(key, write): RecordVersion | "conflict" {
      const { record, expected } = write;
      if ((find(key)?.version ?? null) !== expected) return "conflict";
      note(record);
      const version = ++writes;
      records.set(key, { fields: new Map(record.fields), lastSeenAt: record.lastSeenAt, version, until: endOf(write) });
      return version;
    },
    delete(key, expected) {
      const found = find(key);
      if (found !== undefined && expected !== undefined && found.version !== expected) return "conflict";
      records.delete(key);
    },
  };
  return { store, ever, records };
}
