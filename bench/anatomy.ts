/**
 * The time of each step of a read, and the bytes of each part of a visit counter. They show what limits both.
 *
 * @module
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { memoryStore, type Session, SessionManager, withSession } from "../mod.ts";
import { structuredCodec } from "../src/core/codec.ts";
import { cookieTransport } from "../src/core/cookie_transport.ts";
import { readMetadata } from "../src/core/metadata.ts";
import { applyPrivacy } from "../src/core/response.ts";
import { StoreClient } from "../src/core/store_client.ts";
import { SHOP } from "./contender.ts";
import { median } from "./figures.ts";
import { hashOf } from "./own.ts";
import { built } from "./size.ts";

/** The microseconds that one step of a read takes. */
export interface StepCost {
  readonly step: string;
  readonly microseconds: number;
}

/** The minified bytes of a visit counter that come from one part of the library. */
export interface Share {
  readonly part: string;
  readonly minified: number;
}

interface Data {
  readonly n: number;
}

/**
 * Times a request that does not use its session, and each step of a read with the memory store. The time that no step explains is
 * spent on the objects of a session and the calls between them.
 */
export async function measureSteps(rounds: number): Promise<StepCost[]> {
  const store = memoryStore();
  const sessions = new SessionManager<Data>({ store });
  const id = await begun(sessions);
  const key = hashOf(id);
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("Nothing was stored");
  const request = (): Request => new Request(SHOP, { headers: { cookie: `__Host-session=${id}` } });
  const cookies = cookieTransport();
  const page = async (_request: Request): Promise<Response> => new Response("1");
  const untouched = withSession(page, { store });
  const read = withSession<Data>(async (_request, session) => new Response(String(await session.get("n"))), { store });
  const steps: Record<string, () => unknown> = {
    "a handler": () => page(request()),
    "a session around it, untouched": () => untouched(request()),
    "a Request with a cookie, and a Response": () => [request(), new Response("1")],
    "the same, and the cookie found": () => [cookies.read(request(), []), new Response("1")],
    "SHA-256 of the id": () => hashOf(id),
    "the store": () => store.load(key),
    "the store, guarded": () => new StoreClient(store, 5).load(key),
    "the metadata": () => readMetadata(loaded, key),
    "the value": () => structuredCodec.decode(loaded.fields.get("=n") ?? ""),
    "the same Request and Response, with cache headers": () => [request(), applyPrivacy(new Response("1"), ["Cookie"])],
    "all of it": () => read(request()),
  };
  const times = Object.fromEntries(Object.keys(steps).map((step) => [step, [] as number[]]));
  for (let round = -20; round < rounds; round++) {
    for (const [step, run] of Object.entries(steps)) {
      const start = process.cpuUsage();
      for (let time = 0; time < 1000; time++) await run();
      const { user, system } = process.cpuUsage(start);
      if (round >= 0) times[step]?.push((user + system) / 1000);
      // Unused streams are released only between turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return stepsOf((step) => median(times[step] ?? []));
}

/** The time that each step adds. */
function stepsOf(of: (measured: string) => number): StepCost[] {
  const bare = of("a Request with a cookie, and a Response");
  const costs = {
    "the cookie found": of("the same, and the cookie found") - bare,
    "SHA-256 of the id": of("SHA-256 of the id"),
    "the store: a Map, and the record's text": of("the store"),
    "a guard around it: its answer checked": of("the store, guarded") - of("the store"),
    "the metadata: read and checked": of("the metadata"),
    "the value: found and decoded": of("the value"),
    "cache headers on the response": of("the same Request and Response, with cache headers") - bare,
  };
  const sum = Object.values(costs).reduce((left, right) => left + right, 0);
  const handler = of("a handler");
  const all = of("all of it") - handler;
  return [
    {
      step: "untouched: all of it, over the bare handler",
      microseconds: of("a session around it, untouched") - handler,
    },
    ...Object.entries(costs).map(([step, microseconds]) => ({ step, microseconds })),
    { step: "the rest: the session's objects, and the calls from one to the next", microseconds: all - sum },
    { step: "a read: all of it, over the bare handler", microseconds: all },
  ];
}

async function begun(sessions: SessionManager<Data>): Promise<string> {
  const session: Session<Data> = sessions.start(new Request(SHOP));
  session.set("n", 1);
  await session.save();
  return (await session.id()) ?? "";
}

/** The part to which each file belongs. The first match counts. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/value_table|codec|fields|record_text/, "structured values, and the text of a record"],
  [/crypto|session_id|session_token/, "ids, and SHA-256 where the runtime has no hash that answers at once"],
  [
    /store_client|store_resolver|recovery|group_commit|call_queue/,
    "faults: time limits, retries, lost answers, many writers",
  ],
  [/options?|option_checks|policy/, "options, checked"],
  [/cookie|header|transport|loopback|http_token/, "cookie and header"],
  [/repository|record|metadata|expiry|write_names|stores\/memory/, "records, expiry, the memory store"],
  [
    /load|commit|create|update|rotate|working_copy|finish|touch|operation|active_session/,
    "load, merge, commit, regenerate",
  ],
  [/manager|with_session|response|events|nested|runtime|internals|plugin/, "the wrapper and the manager"],
  [/session|values|flash|schema|errors|fresh|prefetch|maybe_promise/, "the session's methods, values, flash, schema"],
];

/** Weighs the parts of a visit counter. */
export async function weighParts(): Promise<Share[]> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const contents = 'import { withSession } from "./mod.ts"; export default withSession;';
  const { metafile } = await built({ absWorkingDir: root, stdin: { contents, resolveDir: root, loader: "ts" } });
  const shares = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(Object.values(metafile?.outputs ?? {})[0]?.inputs ?? {})) {
    const name = relative("src", path);
    const part = PARTS.find(([pattern]) => pattern.test(name))?.[1] ?? "the rest";
    shares.set(part, (shares.get(part) ?? 0) + bytesInOutput);
  }
  return [...shares]
    .map(([part, minified]) => ({ part, minified }))
    .filter(({ minified }) => minified > 0)
    .sort((left, right) => right.minified - left.minified);
}
