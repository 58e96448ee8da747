import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import type { SessionStore } from "../../../src/core/store.ts";
import { ROOT } from "../../setup/command.ts";
import { storeCases } from "../../../src/testing/store_cases.ts";
import { randomKey, saved, valueOf } from "./steps.ts";

/** The command that runs a worker in each runtime. */
const RUNTIMES: Readonly<Record<string, readonly [string, ...string[]]>> = {
  node: [process.execPath, "--no-warnings"],
  bun: [join(ROOT, "node_modules", ".bin", "bun")],
  deno: [join(ROOT, "node_modules", ".bin", "deno"), "run", "-A", "--quiet"],
};

/** A client, and the runtime it needs. */
export interface Worker {
  readonly client: string;
  readonly runtime?: "node" | "bun" | "deno";
}

/** Runs a worker of this folder, and returns its output. */
export async function work(file: string, { client, runtime = "node" }: Worker, ...args: string[]): Promise<string> {
  const [command, ...options] = RUNTIMES[runtime] ?? ["node"];
  const { stdout } = await promisify(execFile)(command, [...options, join(import.meta.dirname, file), client, ...args]);
  return stdout;
}

/** The number in a record after all workers have added to it at the same time, each this many times. */
export async function countOf(
  workers: readonly Worker[],
  url: string,
  store: SessionStore,
  times: number = 250,
): Promise<number> {
  const key = randomKey();
  await saved(store, key, { a: "0" });
  await Promise.all(workers.map((worker) => work("increments.worker.ts", worker, url, key, String(times))));
  return Number(await valueOf(store, key));
}

/** Runs the kit in another runtime, and expects that each case passes. */
export async function passesKit(worker: Worker, url: string): Promise<void> {
  expect(JSON.parse(await work("kit.worker.ts", worker, url))).toEqual({ passed: storeCases().length, failed: [] });
}
