/**
 * Where the time of a read and the bytes of a visit counter go: what limits both.
 *
 * @module
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { memoryStore, type Session, SessionManager, withSession } from "../mod.ts";
import { structuredCodec } from "../src/codec.ts";
import { Deadline } from "../src/deadline.ts";
import { readHead } from "../src/record.ts";
import { withPrivacy } from "../src/response.ts";
import { keyOfId } from "../src/session_id.ts";
import { beginSession, finishSession } from "../src/session_manager.ts";
import { cookieTransport } from "../src/transports/cookie.ts";
import { SHOP } from "./contender.ts";
import { median } from "./figures.ts";
import { built } from "./size.ts";

/** Microseconds of a read that go into one step. */
export interface StepCost {
  readonly step: string;
  readonly microseconds: number;
}

/** Minified bytes of a visit counter that come from one part of the library, or from a library that it uses. */
export interface Share {
  readonly part: string;
  readonly minified: number;
}

interface Data {
  readonly n: number;
}

/** Times a request that leaves its session alone, and a read with the memory store step by step: what the steps do not explain is promises and objects between them. */
export async function measureSteps(rounds: number): Promise<StepCost[]> {
  const store = memoryStore();
  const sessions = new SessionManager<Data>({ store });
  const id = await begun(sessions);
  const key = keyOfId(id);
  const loaded = await store.load(key);
  if (loaded === null) throw new Error("Nothing was stored");
  const request = (): Request => new Request(SHOP, { headers: { cookie: `__Host-session=${id}` } });
  const cookies = cookieTransport();
  const page = async (_request: Request): Promise<Response> => new Response("1");
  const untouched = withSession(page, { store });
  const steps: Record<string, () => unknown> = {
    "a handler": () => page(request()),
    "a session around it, untouched": () => untouched(request()),
    "a Request with a cookie, and a Response": () => [request(), new Response("1")],
    "the same, and the cookie found": () => [cookies.read(request()), new Response("1")],
    "SHA-256 of the id": () => keyOfId(id),
    "the store: a Map, and a copy of what it has": () => store.load(key),
    "the same under a deadline": () => new Deadline(5).call("load", () => store.load(key)),
    "the record's head: parsed and checked": () => readHead(loaded, key),
    "the value: decoded": () => structuredCodec.decode("1"),
    "the same Request and Response, and a copy of the latter with cache headers": () => {
      request();
      return withPrivacy(new Response("1"), ["Cookie"]);
    },
    "all of it": async () => {
      const session = beginSession(sessions, request(), [], false);
      return await finishSession(sessions, session, new Response(String(await session.get("n"))), undefined);
    },
  };
  const times = Object.fromEntries(Object.keys(steps).map((step) => [step, [] as number[]]));
  for (let round = -5; round < rounds; round++) {
    for (const [step, run] of Object.entries(steps)) {
      const start = performance.now();
      for (let time = 0; time < 1000; time++) await run();
      if (round >= 0) times[step]?.push(performance.now() - start);
      // Streams that were made are given up between turns of the event loop only.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return stepsOf((step) => median(times[step] ?? []));
}

/** What each step adds. */
function stepsOf(of: (measured: string) => number): StepCost[] {
  const bare = of("a Request with a cookie, and a Response");
  const costs = {
    "the cookie found": of("the same, and the cookie found") - bare,
    "SHA-256 of the id": of("SHA-256 of the id"),
    "the store: a Map, and a copy of what it has": of("the store: a Map, and a copy of what it has"),
    "a deadline around it": of("the same under a deadline") - of("the store: a Map, and a copy of what it has"),
    "the record's head: parsed and checked": of("the record's head: parsed and checked"),
    "the value: decoded": of("the value: decoded"),
    "a copy of the response, and cache headers":
      of("the same Request and Response, and a copy of the latter with cache headers") - bare,
  };
  const sum = Object.values(costs).reduce((left, right) => left + right, 0);
  const all = of("all of it") - bare;
  const handler = of("a handler");
  return [
    {
      step: "untouched: all of it, over the bare handler",
      microseconds: of("a session around it, untouched") - handler,
    },
    ...Object.entries(costs).map(([step, microseconds]) => ({ step, microseconds })),
    { step: "the rest: the session's objects, and promises from layer to layer", microseconds: all - sum },
    { step: "all of it, over the bare handler", microseconds: all },
  ];
}

async function begun(sessions: SessionManager<Data>): Promise<string> {
  const session: Session<Data> = sessions.start(new Request(SHOP));
  session.set("n", 1);
  await session.save();
  return (await session.id()) ?? "";
}

/** Which file belongs to what; the first that fits. */
const PARTS: readonly (readonly [RegExp, string])[] = [
  [/devalue/, "devalue: values that JSON has no text for"],
  [/noble/, "@noble/hashes: SHA-256, HMAC, HKDF"],
  [/roster/, "whose sessions: bind, list, revoke"],
  [/companion/, "read your writes on eventually consistent stores"],
  [/lifecycle|draft|changes|deadline|loading/, "load, merge, commit, regenerate, faults and deadlines"],
  [/options/, "options, checked"],
  [/session_manager|with_session|response|observe/, "the wrapper and the manager"],
  [/transports/, "cookie and header"],
  [/sealing|encryption|signing|csrf|guard|session_id|node_crypto/, "ids, signatures, encryption, CSRF"],
  [/vault|record|expiry|stores\/memory/, "records, expiry, the memory store"],
  [/session|values|flash|codec|schema|errors/, "the session's methods, values, flash, schema"],
];

/** Weighs the parts of a visit counter. */
export async function weighParts(): Promise<Share[]> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { metafile } = await built({ absWorkingDir: root, entryPoints: ["mod.ts"] });
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
