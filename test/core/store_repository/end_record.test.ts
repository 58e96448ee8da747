import { describe, expect, test } from "vitest";
import type { SessionStore, StoreTraits, Write } from "../../../mod.ts";
import { endRecord, leavesTombstones } from "../../../src/core/store_repository/end_record.ts";
import { takeEnded } from "../../../src/core/store_repository/ended_sessions.ts";
import { withMetadata } from "../../../src/core/metadata.ts";
import { METADATA_FIELD, NO_FIELDS } from "../../../src/core/record_fields.ts";
import { isTombstone } from "../../../src/core/store_repository/record_write.ts";
import type { Found, Operation } from "../../../src/core/repository.ts";
import { altered, counted, keyOf, openStore } from "../../setup/sessions.ts";

const NOW = 1_800_000_000_000;
const HOUR = 3_600_000;
const [OLD, NEXT, LAST] = [keyOf("old"), keyOf("next"), keyOf("last")];

/** Three records, of which each leads to the next, in a store with the given traits. */
function scene(traits: Partial<StoreTraits> = {}) {
  const { store: inner, records } = openStore();
  const { store: watched, calls } = counted({ ...inner, traits: { ...inner.traits, ...traits } });
  const writes: Write[] = [];
  const store = altered(watched, {
    save: async (_save, key, write) => {
      writes.push(write);
      records.set(key, { ...write.record, version: 99 });
      return 99;
    },
  });
  const lead = (key: string, successor?: string): void => {
    const leads = successor === undefined ? {} : { successor: { key: successor, retiredAt: NOW } };
    const fields = withMetadata(NO_FIELDS, { createdAt: NOW, absoluteSince: NOW, ...leads }, key);
    records.set(key, { fields, lastSeenAt: NOW, version: 1 });
  };
  lead(OLD, NEXT);
  lead(NEXT, LAST);
  lead(LAST);
  let pauses = 0;
  const op = (given: SessionStore = store): Operation => ({
    now: NOW,
    store: given,
    request: undefined,
    runtimeArguments: [],
    name: "session",
    presentedName: "session",
    session: undefined,
    writeId: "w".repeat(16),
    endsAt: () => Infinity,
    emit: () => {},
    backOff: async () => void pauses++,
  });
  const found = (version: number): Found => ({
    fields: NO_FIELDS,
    metadata: { createdAt: NOW, absoluteSince: NOW },
    lastSeenAt: NOW,
    id: "old",
    token: "old",
    version,
  });
  return { store, records, calls, writes, lead, op, found, pauses: () => pauses };
}

describe("endRecord()", () => {
  test("deletes a record that is as it was found, without a look at it", async () => {
    const { records, calls, op, found, lead } = scene();
    lead(OLD);
    await endRecord(OLD, found(1), op());
    expect([records.has(OLD), calls]).toEqual([false, ["delete"]]);
  });

  test("ends what took the place of a record that has changed since, after a pause, and then the record", async () => {
    const { records, calls, op, found, pauses } = scene();
    await endRecord(OLD, found(7), op());
    expect(records.size).toBe(0);
    expect(pauses()).toBe(1);
    expect(calls.slice(0, 2)).toEqual(["delete", "load"]);
  });

  test("ends every session that a record leads to, and pauses only after a conflict", async () => {
    const { records, calls, op, pauses } = scene();
    await endRecord(OLD, undefined, op());
    expect([records.size, pauses()]).toEqual([0, 0]);
    expect(calls).toEqual(["load", "load", "load", "delete", "delete", "delete"]);
  });

  test("ends no session whose old id was retired so long ago that an engine may have removed its record", async () => {
    for (const traits of [{}, { consistency: "eventual", compareAndSet: false } as const]) {
      const { records, op } = scene(traits);
      await endRecord(OLD, undefined, { ...op(), now: NOW + 20 * 60_000 });
      expect([records.get(NEXT)?.version, records.get(LAST)?.version]).toEqual([1, 1]);
    }
  });

  test("has nothing to do where there is no record, or no more", async () => {
    const { records, calls, op, found } = scene();
    await endRecord(keyOf("none"), undefined, op());
    expect(calls).toEqual(["load"]);
    const { store } = scene();
    const vanished = altered(store, {
      delete: async () => "conflict" as const,
      load: async () => null,
    });
    await endRecord(OLD, found(1), op(vanished));
    expect(records.size).toBe(3);
  });

  test("leaves the note of a session that was revoked", async () => {
    const { records, calls, op } = scene();
    records.set(LAST, { ...records.get(LAST)!, fields: NO_FIELDS });
    await endRecord(LAST, undefined, op());
    expect([isTombstone(records.get(LAST)!), calls]).toEqual([true, ["load"]]);
  });

  test("deletes a record that a replica does not show yet", async () => {
    const { store, records, op } = scene({ consistency: "eventual" });
    await endRecord(LAST, undefined, op(altered(store, { load: async () => null })));
    expect([...records.keys()]).toEqual([OLD, NEXT]);
  });

  test("tries again for as long as others write", async () => {
    const { store, records, op, found, lead } = scene();
    let conflicts = 0;
    const busy = altered(store, {
      delete: async (remove, key, expected) => {
        if (++conflicts <= 3) records.set(key, { ...records.get(key)!, version: 100 + conflicts });
        return await remove(key, expected);
      },
    });
    lead(OLD);
    await endRecord(OLD, found(1), op(busy));
    expect([conflicts, records.has(OLD)]).toEqual([4, false]);
  });

  test("leaves a note for an hour where other places may still show the record, and ends its successor first", async () => {
    const { records, calls, writes, op } = scene({ consistency: "eventual", compareAndSet: false });
    await endRecord(OLD, undefined, op());
    expect([...records.values()].map(isTombstone)).toEqual([true, true, true]);
    expect(writes).toHaveLength(3);
    for (const { expected, expiresAt } of writes) expect([expected, expiresAt]).toEqual([null, NOW + HOUR]);
    expect(calls).toEqual(["load", "load", "load"]);
  });

  test("leaves a note also where there is no record", async () => {
    const { records, op } = scene({ consistency: "eventual", compareAndSet: false });
    await endRecord(keyOf("none"), undefined, op());
    expect(isTombstone(records.get(keyOf("none"))!)).toBe(true);
  });

  test("leaves a note without a look at a record that was found", async () => {
    const { records, calls, op, found } = scene({ consistency: "eventual", compareAndSet: false });
    await endRecord(LAST, found(1), op());
    expect([isTombstone(records.get(LAST)!), isTombstone(records.get(OLD)!), calls]).toEqual([true, false, []]);
  });

  test.each([
    [60, HOUR],
    [1800, HOUR],
    [3600, 2 * HOUR],
  ])(
    "leaves a note for twice as long as places may be late, but an hour at least: %i seconds",
    async (staleness, life) => {
      const { writes, op } = scene({ consistency: "eventual", compareAndSet: false, staleness });
      await endRecord(LAST, undefined, op());
      expect(writes.map(({ expiresAt }) => expiresAt - NOW)).toEqual([life]);
    },
  );
});

describe("takeEnded()", () => {
  test("returns each session that endRecord() has ended, once", async () => {
    const { op } = scene();
    await endRecord(OLD, undefined, op());
    expect(takeEnded(op())).toMatchObject([
      { key: LAST, metadata: { createdAt: NOW } },
      { key: NEXT, metadata: { createdAt: NOW, successor: { key: LAST } } },
      { key: OLD, metadata: { createdAt: NOW, successor: { key: NEXT } } },
    ]);
    expect(takeEnded(op())).toEqual([]);
  });

  test.each([
    ["that was found", {}],
    ["that was found, also if it leaves a tombstone", { consistency: "eventual", compareAndSet: false }],
  ] as const)("returns a session %s", async (_, traits) => {
    const { op, found, lead } = scene(traits);
    lead(OLD);
    await endRecord(OLD, found(1), op());
    expect(takeEnded(op())).toEqual([{ key: OLD, metadata: found(1).metadata }]);
  });

  test("returns the session of a key, and its successors, also if they leave tombstones", async () => {
    const { op } = scene({ consistency: "eventual", compareAndSet: false });
    await endRecord(OLD, undefined, op());
    expect(takeEnded(op()).map(({ key }) => key)).toEqual([LAST, NEXT, OLD]);
  });

  test("returns a session that has changed meanwhile as it was found, and as it has ended", async () => {
    const { op, found, lead, records } = scene();
    lead(OLD);
    const newest = { "createdAt": NOW, "absoluteSince": NOW, "+users": "another" };
    records.set(OLD, { fields: withMetadata(NO_FIELDS, newest, OLD), lastSeenAt: NOW, version: 2 });
    await endRecord(OLD, found(1), op());
    expect(takeEnded(op())).toMatchObject([
      { key: OLD, metadata: found(1).metadata },
      { key: OLD, metadata: newest },
    ]);
  });

  test("returns no session that cannot be read, or that another operation has ended", async () => {
    const { store, records, op } = scene();
    records.delete(OLD);
    records.set(NEXT, { ...records.get(NEXT)!, fields: new Map([[METADATA_FIELD, "{"]]) });
    await endRecord(NEXT, undefined, op());
    await endRecord(LAST, undefined, op({ ...store }));
    expect(records.size).toBe(0);
    expect(takeEnded(op())).toEqual([]);
  });
});

test.each([
  ["eventual", false, true],
  ["eventual", true, false],
  ["strong", false, false],
  ["strong", true, false],
] as const)(
  "a store whose reads are %s leaves a note (compare-and-set: %s): %s",
  (consistency, compareAndSet, leaves) => {
    expect(leavesTombstones(scene({ consistency, compareAndSet }).store)).toBe(leaves);
  },
);
