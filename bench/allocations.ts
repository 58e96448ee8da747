/**
 * `node bench/allocations.ts`: the promises that a request makes, and the bytes that it allocates, in addition to those of a bare handler. Unlike times,
 * both hardly differ from run to run, so that one run shows what a change of the code has saved.
 *
 * @module
 */
import { createHook } from "node:async_hooks";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { memoryStore, type Session, type SessionStore, withSession } from "../mod.ts";
import { type Handler, SHOP } from "./contender.ts";
import { median } from "./figures.ts";

interface Data {
  n: number;
  user: string;
}

type Page = (session: Session<Data>) => unknown;

/** What each request does with its session. */
const PAGES = {
  read: (session) => session.get("n"),
  write: (session) => session.set("n", Math.random()),
  update: (session) => session.update("n", (n = 0) => n + 1),
  create: (session) => session.set("n", 1),
  login: async (session) => {
    await session.regenerate();
    session.set("user", "ada");
  },
} satisfies Record<string, Page>;

const STORES = { "memory": memoryStore, "by promise": promisingStore };

/** The requests of a round. What they allocate must fit into the young generation, so that no collection runs meanwhile. */
const REQUESTS = 2000;
const ROUNDS = 5;
/** The rounds after which the code is compiled. */
const WARM_UP = 12;
/** The requests whose promises are counted. */
const COUNTED = 100;
/** In megabytes. */
const YOUNG_GENERATION = 512;

const collect: (() => void) | undefined = globalThis.gc;
if (collect === undefined) restart();
else await measureAll(collect);

/** Runs this file again, with an interface to the garbage collector and a large young generation. */
function restart(): void {
  const size = (end: string): string => `--${end}-semi-space-size=${YOUNG_GENERATION}`;
  const file = fileURLToPath(import.meta.url);
  const { status } = spawnSync(process.execPath, ["--expose-gc", size("min"), size("max"), file], { stdio: "inherit" });
  process.exitCode = status ?? 1;
}

/** One kind of request to one handler. */
type Visit = () => Promise<void>;

async function measureAll(gc: () => void): Promise<void> {
  const bare = visitor(async () => new Response("1"));
  const visits: Record<string, Visit> = {};
  for (const [storeName, open] of Object.entries(STORES))
    for (const [name, use] of Object.entries(PAGES)) visits[`${name}, ${storeName}`] = await visitorOf(use, open());
  const bytes = await bytesOf(bare, gc);
  const added: Record<string, number> = {};
  for (const [name, visit] of Object.entries(visits)) added[name] = (await bytesOf(visit, gc)) - bytes;
  // The promises come last: while they are counted, compiled code is thrown away.
  const promises = await promisesOf(bare);
  console.log("case, store               promises    bytes");
  for (const [name, visit] of Object.entries(visits)) {
    const figures = [(await promisesOf(visit)) - promises, added[name] ?? Number.NaN];
    console.log(name.padEnd(24) + figures.map((figure) => figure.toFixed(0).padStart(9)).join(""));
  }
}

/** Requests to a page with a session. Their session has a value already, unless the page creates one. */
async function visitorOf(use: Page, store: SessionStore): Promise<Visit> {
  const answer = async (_request: Request, session: Session<Data>): Promise<Response> => {
    await use(session);
    return new Response("1");
  };
  const begun = await withSession<Data>(
    (_request, session) => {
      session.set("n", 1);
      return new Response("1");
    },
    { store },
  )(new Request(SHOP));
  return visitor(withSession<Data>(answer, { store }), use === PAGES.create ? undefined : cookieOf(begun));
}

function visitor(handler: Handler, begun?: string): Visit {
  let cookie = begun;
  return async () => {
    const response = await handler(new Request(SHOP, { headers: { cookie: cookie ?? "" } }));
    if (begun !== undefined) cookie = cookieOf(response) ?? cookie;
  };
}

function cookieOf(response: Response): string | undefined {
  return response.headers.getSetCookie()[0]?.split(";", 1)[0];
}

async function bytesOf(visit: Visit, gc: () => void): Promise<number> {
  const used: number[] = [];
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    if (round >= 0) gc();
    const before = process.memoryUsage().heapUsed;
    for (let visits = 0; visits < REQUESTS; visits++) await visit();
    if (round >= 0) used.push((process.memoryUsage().heapUsed - before) / REQUESTS);
    // Unused streams are released only between turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return median(used);
}

async function promisesOf(visit: Visit): Promise<number> {
  let made = 0;
  const hook = createHook({
    init(_id, type) {
      if (type === "PROMISE") made++;
    },
  }).enable();
  for (let visits = 0; visits < COUNTED; visits++) await visit();
  hook.disable();
  return made / COUNTED;
}

/** A store in memory that answers by promise, as each engine does. */
function promisingStore(): SessionStore {
  const { traits, load, save, delete: end } = memoryStore();
  return {
    traits,
    load: async (key) => load(key),
    save: async (key, write) => save(key, write),
    delete: async (key, expected) => end(key, expected),
  };
}
