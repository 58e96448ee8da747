import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Session, SessionManager, type SessionStore } from "../mod.ts";
import { exclusive } from "../src/exclusive.ts";
import { engines as sharedEngines, openStore as openEngine } from "./linearizability/engines.ts";
import { PATIENCE } from "./setup/sessions.ts";
import { type Engine, engines } from "./user_sessions/engines.ts";

interface Data {
  tokens?: { readonly refresh: number } | undefined;
}

/** A session that several requests open. */
async function shared(store: SessionStore): Promise<{ readonly open: () => Session<Data> }> {
  const sessions = new SessionManager<Data>({ storeTimeout: PATIENCE, store });
  const session = sessions.open("");
  session.set("tokens", { refresh: 1 });
  await session.save();
  const id = String(await session.id());
  return { open: () => sessions.open(id) };
}

const next = (tokens: Data["tokens"]): Data["tokens"] => ({ refresh: (tokens?.refresh ?? 0) + 1 });

const SHARED = [
  "memory",
  "file",
  "SQLite",
  "PostgreSQL",
  "Redis, one value",
  "Redis, a hash",
  "Upstash",
  "Deno KV",
  "Durable Objects",
];

describe.each(SHARED)("exclusive(), in %s:", (name) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await engines[name]!();
  });
  afterAll(() => engine.stop());

  test("50 requests make one exchange", async () => {
    const { open } = await shared(engine.store);
    let exchanges = 0;
    const sessions = Array.from({ length: 50 }, open);
    // All requests have seen the old token before one of them exchanges it.
    await Promise.all(sessions.map((session) => session.get("tokens")));
    const exchange = (tokens: Data["tokens"]): Data["tokens"] => (exchanges++, next(tokens));
    const results = await Promise.all(
      sessions.map((session) => exclusive(session, "tokens", exchange, { lease: 600 })),
    );
    expect(exchanges).toBe(1);
    expect(results.every((tokens) => tokens?.refresh === 2)).toBe(true);
  });
});

/** Engines that several processes can share; SQLite is a file on a disk, and Durable Objects run in workerd. */
const KILLED = ["file", "sqlite", "redis", "redis hash", "deno kv", "durable object"] as const;

describe.each(KILLED)("exclusive(), in processes that are killed, in %s:", (name) => {
  test("fifty requests of two processes make one exchange, after the process that held the lease was killed", async () => {
    const { address, stop } = await sharedEngines[name]();
    onTestFinished(stop);
    const { store, close } = await openEngine(name, address);
    onTestFinished(close);
    const { open } = await shared(store);
    const id = String(await open().id());
    const start = (requests: number, mode: string): ChildProcess =>
      fork(new URL("./exclusive.worker.ts", import.meta.url), [name, address, id, String(requests), mode], {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      });
    const victim = start(1, "hang");
    const [holding] = await once(victim, "message");
    expect(holding).toBe("holds the lease");
    const others = [start(25, "exchange"), start(25, "exchange")];
    const said = (): Promise<unknown[]> => Promise.all(others.map(async (child) => (await once(child, "message"))[0]));
    const exits = Promise.all(others.map((child) => once(child, "exit")));
    // A process that starts later must not load the result of the exchange.
    expect(await said()).toEqual(["has loaded the sessions", "has loaded the sessions"]);
    victim.kill("SIGKILL");
    const answers = said();
    for (const child of others) child.send("exchange");
    const results = (await answers) as { readonly runs: number; readonly told: number[] }[];
    expect(results.reduce((sum, { runs }) => sum + runs, 0)).toBe(1);
    expect(results.flatMap(({ told }) => told)).toEqual(Array.from({ length: 50 }, () => 2));
    expect(await open().get("tokens")).toEqual({ refresh: 2 });
    await exits;
  });
});
