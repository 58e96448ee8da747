import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { RecordVersion, SessionStore, StoredRecord, Write } from "../../src/core/store.ts";
import { PowerLossDisk } from "./power_loss_fs.ts";

let disk: PowerLossDisk;

// The store calls this disk, not the real one.
vi.mock("node:fs/promises", () => ({
  mkdir: (...args: Parameters<PowerLossDisk["mkdir"]>) => disk.mkdir(...args),
  open: (...args: Parameters<PowerLossDisk["open"]>) => disk.open(...args),
  readdir: (...args: Parameters<PowerLossDisk["readdir"]>) => disk.readdir(...args),
  readFile: (...args: Parameters<PowerLossDisk["readFile"]>) => disk.readFile(...args),
  rename: (...args: Parameters<PowerLossDisk["rename"]>) => disk.rename(...args),
  rm: (...args: Parameters<PowerLossDisk["rm"]>) => disk.rm(...args),
  rmdir: (...args: Parameters<PowerLossDisk["rmdir"]>) => disk.rmdir(...args),
}));
const { fileStore } = await import("../../src/stores/file.ts");

const KEY = "0123456789abcdef".repeat(4);
const OTHER = "fedcba9876543210".repeat(4);

let random: () => number;
beforeEach(() => {
  disk = new PowerLossDisk();
  random = numbersFrom(20_261_127);
});
afterEach(() => {
  vi.restoreAllMocks();
});

function open(durability?: "power-loss" | "process"): SessionStore {
  return fileStore({ directory: "/var/lib/sessions", ...(durability && { durability }) });
}

function writeOf(a: string, found: StoredRecord | null, lastSeenAt = 1000): Write {
  const changed = new Map(a === found?.fields.get("=a") ? [] : [["=a", a]]);
  const record = { fields: new Map([["=a", a]]), lastSeenAt };
  return { id: crypto.randomUUID(), record, changed, expected: found?.version ?? null, expiresAt: lastSeenAt + 1000 };
}

/** The state of a session: its value and the time of its last use, or null without a session. */
type State = string | null;

async function stateOf(store: SessionStore, key: string = KEY): Promise<State> {
  const found = await store.load(key);
  return found === null ? null : `${found.fields.get("=a")} at ${found.lastSeenAt}`;
}

/** One write of each kind, with the states before and after it. */
const kinds: Record<string, { from: State; to: State; run(store: SessionStore): Promise<unknown> }> = {
  "a creation": {
    from: null,
    to: "new at 2000",
    run: async (store) => await store.save(KEY, writeOf("new", null, 2000)),
  },
  "a change": {
    from: "old at 1000",
    to: "new at 2000",
    run: async (store) => await store.save(KEY, writeOf("new", await store.load(KEY), 2000)),
  },
  "a touch": {
    from: "old at 1000",
    to: "old at 2000",
    run: async (store) => await store.save(KEY, writeOf("old", await store.load(KEY), 2000)),
  },
  "a deletion": {
    from: "old at 1000",
    to: null,
    run: async (store) => await store.delete(KEY),
  },
};

async function prepared(from: State): Promise<SessionStore> {
  disk = new PowerLossDisk();
  const store = open();
  await store.save(OTHER, writeOf("other", null));
  if (from !== null) await store.save(KEY, writeOf("old", null));
  return store;
}

/** Whether a call is answered after everything has happened that does not need the disk. */
async function isAnswered(call: Promise<unknown>): Promise<boolean> {
  let answered = false;
  void call.then(() => (answered = true));
  await new Promise(setImmediate);
  return answered;
}

describe.each(Object.entries(kinds))("fileStore() when the power fails during %s", (_name, { from, to, run }) => {
  it("has the older or the newer state, and the newer one if it was acknowledged, wherever it was", async () => {
    const survivals = [() => false, () => true, ...Array.from({ length: 30 }, () => () => random() < 0.5)];
    for (const survives of survivals) {
      let answered = false;
      for (let calls = 0; !answered; calls++) {
        const store = await prepared(from);
        disk.dieAfter(calls);
        answered = await isAnswered(run(store));
        disk.cutPower(survives);
        const after = open();
        const state = await stateOf(after);
        expect(answered ? [to] : [from, to], `after ${calls} calls`).toContain(state);
        expect(await stateOf(after, OTHER)).toBe("other at 1000");
        await goesOn(after);
        expect(calls).toBeLessThan(100);
      }
    }
  });

  /** Checks that the session can still be changed, ended and begun, and that no files are left over. */
  async function goesOn(store: SessionStore): Promise<void> {
    const found = await store.load(KEY);
    if (found !== null) {
      expect(await store.save(KEY, writeOf("next", found))).not.toBe("conflict");
      expect(await store.delete(KEY)).toBeUndefined();
    }
    expect(await store.save(KEY, writeOf("anew", null))).not.toBe("conflict");
    expect(await stateOf(store)).toBe("anew at 1000");
    await store.prune?.(10_000);
    expect(await disk.readdir("/var/lib/sessions")).toEqual([]);
  }
});

describe("fileStore() after many writes", () => {
  it("has lost none of those that were acknowledged when the power fails", async () => {
    for (let round = 0; round < 50; round++) {
      disk = new PowerLossDisk();
      const store = open();
      let expected: State = null;
      for (let i = 0; i < 12; i++) {
        const found = await store.load(KEY);
        const a = random() < 0.3 ? (found?.fields.get("=a") ?? "first") : `value ${i}`;
        if (found !== null && random() < 0.2) {
          await store.delete(KEY);
          expected = null;
        } else {
          expect(await store.save(KEY, writeOf(a, found, i))).not.toBe("conflict");
          expected = `${a} at ${i}`;
        }
      }
      disk.cutPower(() => random() < 0.5);
      expect(await stateOf(open())).toBe(expected);
    }
  });

  it('may lose them when durability is "process", which no wait for the disk would', async () => {
    const store = open("process");
    await store.save(KEY, writeOf("old", null));
    expect(await stateOf(open("process"))).toBe("old at 1000");
    disk.cutPower(() => false);
    expect(await stateOf(open("process"))).toBeNull();
  });

  it("waits for the disk twice in a creation and a change, once in a touch and a deletion, and never for a process", async () => {
    const rounds = async (durability: "power-loss" | "process"): Promise<number[]> => {
      disk = new PowerLossDisk();
      let synced = 0;
      const opened = disk.open.bind(disk);
      // Syncs at the same time count as one wait.
      let isCounted = false;
      disk.open = async (...args) => {
        const file = await opened(...args);
        return {
          ...file,
          async sync() {
            if (!isCounted) synced++;
            isCounted = true;
            setImmediate(() => (isCounted = false));
            await new Promise(setImmediate);
            await file.sync();
          },
        };
      };
      const store = open(durability);
      await store.save(OTHER, writeOf("other", null));
      const counts: number[] = [];
      const count = async (call: () => unknown): Promise<void> => {
        await new Promise(setImmediate);
        synced = 0;
        await call();
        counts.push(synced);
      };
      let version: RecordVersion | "conflict" = "conflict";
      await count(async () => (version = await store.save(KEY, writeOf("old", null))));
      const found = { fields: new Map([["=a", "old"]]), lastSeenAt: 1000, version };
      await count(async () => (version = await store.save(KEY, writeOf("new", found))));
      await count(() => store.save(KEY, writeOf("new", { ...found, fields: new Map([["=a", "new"]]), version })));
      await count(() => store.delete(KEY));
      await count(() => store.load(KEY));
      return counts;
    };
    expect(await rounds("power-loss")).toEqual([2, 2, 1, 1, 0]);
    expect(await rounds("process")).toEqual([0, 0, 0, 0, 0]);
  });
});

/** The same pseudo-random numbers in every run: Lehmer's generator with the constants of Park and Miller. */
function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}
