/** Prints how many bytes of heap a session takes besides its data, after `<updates>` changes of each session. Needs `--expose-gc`. */
import { createHash } from "node:crypto";
import { RecordFields } from "../../src/core/record_fields.ts";
import { memoryStore } from "../../src/stores/memory.ts";

const SESSIONS = 50_000;
const updates = Number(process.argv[2]);
const store = memoryStore();
const instant = 1_800_000_000_000;

function heapUsed(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

const before = heapUsed();
let data = 0;
for (let i = 0; i < SESSIONS; i++) {
  const key = createHash("sha256").update(`${i}`).digest("hex");
  const metadata = JSON.stringify({ format: 1, key: key.slice(0, 16), createdAt: instant, absoluteSince: instant });
  let fields: ReadonlyMap<string, string> = new Map(Object.entries({ "@": metadata, "=visits": "0" }));
  let expected = null;
  for (let n = 0; n <= updates; n++) {
    const changed = new Map([["=visits", String(i + n)]]);
    const next: ReadonlyMap<string, string> = new RecordFields(fields, changed);
    const record = { fields: next, lastSeenAt: instant + n };
    const version = await store.save(key, { id: key, record, changed, expected, expiresAt: instant + 86_400_000 });
    if (version === "conflict") throw new Error("Nothing was stored");
    expected = version;
    // The last state is not read, as with the sessions of most visitors.
    fields = n === updates ? next : ((await store.load(key))?.fields ?? fields);
  }
  for (const [name, value] of fields) data += name.length + value.length;
}
const after = heapUsed();
// Keeps the store alive until here.
if ((await store.prune?.(Infinity)) !== SESSIONS) throw new Error("Sessions are missing");
console.log((after - before - data) / SESSIONS);
