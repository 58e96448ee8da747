import { deepEqual, equal, rejects } from "node:assert/strict";
import { SessionManager } from "../../mod.ts";
import { type DenoKv, denoKvStore } from "../../src/stores/deno_kv.ts";
import type { Write } from "../../src/core/store.ts";
import { storeCases } from "../../src/testing.ts";

// `deno check` fails here if the real type does not match.
const opened: (path: string) => Promise<DenoKv> = (path) => Deno.openKv(path);

const key = "0123456789abcdef".repeat(4);
const now = Date.now();

function creation(value: string): Write {
  const fields = new Map([["=a", value]]);
  const record = { fields, lastSeenAt: now };
  return { id: crypto.randomUUID(), record, changed: fields, expected: null, expiresAt: now + 60_000 };
}

async function inFolder(step: (file: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await step(`${folder}/sessions.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function closing(kv: Deno.Kv): () => void {
  let isOpen = true;
  return () => {
    if (isOpen) kv.close();
    isOpen = false;
  };
}

async function opening(path: string) {
  const kv = await Deno.openKv(path);
  const close = closing(kv);
  return { store: denoKvStore(kv), neighbour: denoKvStore(kv, { prefix: ["other", 1] }), fail: close, close };
}

for (const { name, run } of storeCases()) {
  Deno.test(`denoKvStore() in memory: ${name}`, () => run(() => opening(":memory:")));
  Deno.test(`denoKvStore() on a file: ${name}`, () => inFolder((file) => run(() => opening(file))));
}

Deno.test("denoKvStore() keeps a record after the database was closed and opened again", () =>
  inFolder(async (file) => {
    const before = await opening(file);
    await before.store.save(key, creation("漢字"));
    before.close();
    const after = await opening(file);
    equal((await after.store.load(key))?.fields.get("=a"), "漢字");
    after.close();
  }));

Deno.test("denoKvStore() stores the largest record that Deno KV takes, and refuses one byte more", async () => {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const sizeOf = async () => {
    const { value } = await kv.get<Uint8Array>(["with-session", key]);
    return value?.length ?? 0;
  };
  await store.save(key, creation(""));
  const room = 65_536 - (await sizeOf());
  await store.delete(key);
  await store.save(key, creation("x".repeat(room)));
  equal(await sizeOf(), 65_536);
  await store.delete(key);
  await rejects(async () => await store.save(key, creation("x".repeat(room + 1))), { code: "ERR_RECORD_TOO_LARGE" });
  equal(await store.load(key), null);
  await rejects(kv.set(["a"], new Uint8Array(65_537)), TypeError);
});

Deno.test("denoKvStore() counts what two processes add to one file", () =>
  inFolder(async (file) => {
    const kv = await opened(file);
    const sessions = new SessionManager<Record<string, number>>({ store: denoKvStore(kv), storeTimeout: 60 });
    const session = sessions.start(new Request("http://localhost/"));
    const id = (await session.create()) ?? "";
    await session.save();
    const worker = new URL("deno_kv_increments.worker.ts", import.meta.url).pathname;
    const args = ["run", "--allow-all", "--unstable-kv", "--no-check", worker, file, id, "100"];
    const processes = [1, 2].map(() => new Deno.Command(Deno.execPath(), { args, stderr: "inherit" }).output());
    deepEqual(
      (await Promise.all(processes)).map(({ code }) => code),
      [0, 0],
    );
    const { count, ...own } = await sessions.open(id).all();
    equal(count, 200);
    equal(Object.keys(own).length, 200);
  }));
