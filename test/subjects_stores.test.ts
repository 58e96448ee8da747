import type { Miniflare } from "miniflare";
import { createStorage } from "unstorage";
import { afterAll, beforeAll, describe, test } from "vitest";
import type { SessionStore } from "../mod.ts";
import { memoryStore } from "../src/stores/memory.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import { unstorageStore } from "../src/stores/unstorage.ts";
import { type Engine, engines, type EngineName, type OpenedStore, openStore } from "./linearizability/engines.ts";
import { subjectCases } from "./setup/subject_cases.ts";
import { startWorker } from "./setup/workerd.ts";

const shared: readonly EngineName[] = [
  "file",
  "redis",
  "redis hash",
  "upstash",
  "upstash hash",
  "deno kv",
  "durable object",
];

describe.each(shared)("whose sessions, on %s:", (name) => {
  let engine: Engine;
  let opened: OpenedStore;
  beforeAll(async () => {
    engine = await engines[name]();
    opened = await openStore(name, engine.address);
  });
  afterAll(async () => {
    opened.close();
    await engine.stop();
  });
  runCases(() => opened.store);
});

describe("whose sessions, on Workers KV in workerd:", () => {
  let worker: Miniflare;
  let store: SessionStore;
  beforeAll(async () => {
    worker = await startWorker(new URL("./stores/cloudflare.worker.ts", import.meta.url), { kvNamespaces: ["KV"] });
    store = cloudflareKvStore((await worker.getBindings<{ KV: CloudflareKvNamespace }>()).KV);
  });
  afterAll(() => worker.dispose());
  runCases(() => store);
});

describe("whose sessions, in memory:", () => {
  runCases(() => memoryStore());
});
describe("whose sessions, in unstorage:", () => {
  runCases(() => unstorageStore(createStorage()));
});

function runCases(store: () => SessionStore): void {
  for (const { name, run } of subjectCases()) test(name, () => run(store()));
}
