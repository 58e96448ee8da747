/**
 * The cost of `readYourWrites()`: the size of its cookie of recent writes over the visits of shoppers, and the time of a
 * request with and without it. Both variants take turns. `node bench/recent_writes.ts` prints both.
 *
 * @module
 */
import { memoryStore, type Session, SessionManager, withSession } from "../mod.ts";
import { readYourWrites } from "../src/read_your_writes.ts";
import { cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import { cookieJar, fakeClock, kvSimulator } from "../src/testing.ts";
import { median, percentile } from "./figures.ts";

interface Shop {
  visits: number;
  basket: { sku: string; name: string; quantity: number; cents: number }[];
  seen: string[];
  user: { name: string; mail: string; since: Date };
  notice: string;
  theme: string;
  address: { name: string; street: string; city: string; postcode: string };
}

/** Sizes in octets of name and value, as browsers count them. */
export interface CookieSizes {
  readonly cookies: number;
  readonly median: number;
  readonly p95: number;
  readonly largest: number;
  /** The average over all requests, including the many that carry nothing. */
  readonly meanPerRequest: number;
  readonly requestsWith: number;
  readonly requests: number;
}

const SHOP = "https://shop.example/";
const secrets = ["a secret of at least thirty-two bytes"];
const PLACES = ["Paris", "Tokyo", "Lima"];

/** Simulates shoppers who look around, fill baskets, log in and order. Each shopper changes place now and then. */
export async function measureSizes(shoppers: number, random: () => number): Promise<CookieSizes> {
  const clock = fakeClock(1_800_000_000_000);
  const kv = kvSimulator({ now: clock.now, delay: 5, writeInterval: 0 });
  const managers = PLACES.map(
    (place) =>
      new SessionManager<Shop>({
        store: cloudflareKvStore(kv.at(place)),
        plugins: [readYourWrites({ secrets })],
        now: clock.now,
      }),
  );
  const sizes: number[] = [];
  let carried = 0;
  let requestsWith = 0;
  let requests = 0;
  for (let shopper = 0; shopper < shoppers; shopper++) {
    const jar = cookieJar({ now: clock.now });
    let place = 0;
    for (const step of stepsOf(random)) {
      // People read a page for about twenty seconds, and sometimes leave for minutes.
      clock.advance(random() < 0.1 ? 60 + random() * 600 : 1 - 20 * Math.log(1 - random()));
      if (random() < 0.1) place = Math.floor(random() * PLACES.length);
      const beside = jar.cookies().filter(({ name }) => name.includes("~"));
      for (const { name, value } of beside) carried += name.length + value.length;
      requestsWith += beside.length > 0 ? 1 : 0;
      requests++;
      const handle = withSession<Shop>(async (_request, session) => {
        await step(session);
        return new Response();
      }, managers[place]!);
      const response = await jar.fetch(handle, SHOP);
      for (const line of response.headers.getSetCookie()) {
        const [pair = ""] = line.split(";");
        if (pair.includes("~") && !line.includes("Max-Age=0")) sizes.push(pair.length - 1);
      }
    }
  }
  return {
    cookies: sizes.length,
    median: median(sizes),
    p95: percentile(sizes, 95),
    largest: Math.max(...sizes),
    meanPerRequest: carried / requests,
    requestsWith,
    requests,
  };
}

type Step = (session: Session<Shop>) => unknown;

function* stepsOf(random: () => number): Generator<Step> {
  const sku = (): string => Math.floor(random() * 1e6).toString();
  const look: Step = async (session) => {
    await session.update("visits", (n = 0) => n + 1);
    await session.update("seen", (seen = []) => [sku(), ...seen].slice(0, 20));
  };
  const read: Step = async (session) => [
    await session.get("user"),
    await session.get("basket"),
    await session.get("notice"),
  ];
  const put: Step = async (session) => {
    const item = { sku: sku(), name: "A warm woollen jumper, dark green", quantity: 1, cents: 4990 };
    await session.update("basket", (basket = []) => [...basket, item]);
    session.flash("notice", "It is in your basket");
  };
  const paint: Step = (session) => session.set("theme", "dark");
  for (let page = 0; page < 4 + random() * 16; page++) {
    const dice = random();
    yield dice < 0.4 ? read : dice < 0.75 ? look : dice < 0.95 ? put : paint;
  }
  if (random() < 0.5) return;
  yield async (session) => {
    await session.regenerate({ reauthenticated: true });
    session.set("user", { name: "Ada Lovelace", mail: "ada@shop.example", since: new Date(0) });
  };
  yield read;
  yield (session) =>
    session.set("address", {
      name: "Ada Lovelace",
      street: "12 St James's Square",
      city: "London",
      postcode: "SW1Y 4JH",
    });
  yield (session) => session.delete("basket");
  if (random() < 0.5) yield (session) => session.destroy();
}

/** Microseconds for each request: medians of rounds in which both variants take turns. */
export async function measureTimes(rounds: number): Promise<Record<string, { without: number; with: number }>> {
  const kinds: Record<string, { use: Step; brings: boolean }> = {
    "read, long after the last write": { use: (session) => session.get("visits"), brings: false },
    "read, with recent writes": { use: (session) => session.get("visits"), brings: true },
    "write, with recent writes": { use: (session) => session.update("visits", (n = 0) => n + 1), brings: true },
  };
  const results: Record<string, { without: number; with: number }> = {};
  for (const [name, { use, brings }] of Object.entries(kinds)) {
    const lanes = await Promise.all([false, true].map((isOn) => openLane(isOn, brings, use)));
    const times: number[][] = [[], []];
    for (let round = -5; round < rounds; round++) {
      for (const [index, lane] of lanes.entries()) {
        const start = performance.now();
        for (let at = 0; at < REQUESTS; at++) await lane();
        if (round >= 0) times[index]?.push(((performance.now() - start) / REQUESTS) * 1000);
      }
    }
    results[name] = { without: median(times[0] ?? []), with: median(times[1] ?? []) };
  }
  return results;
}

const REQUESTS = 100;

async function openLane(isOn: boolean, brings: boolean, use: Step): Promise<() => Promise<unknown>> {
  const clock = fakeClock();
  const memory = memoryStore();
  const store = { ...memory, traits: { ...memory.traits, consistency: "eventual" as const } };
  const plugins = isOn ? [readYourWrites({ secrets })] : [];
  const sessions = new SessionManager<Shop>({ store, plugins, now: clock.now });
  const jar = cookieJar({ now: clock.now });
  const answer = (step: Step): ((request: Request) => Promise<Response>) =>
    withSession<Shop>(async (_request, session) => {
      await step(session);
      return new Response();
    }, sessions);
  await jar.fetch(
    answer((session) => session.set({ visits: 1, theme: "dark" })),
    SHOP,
  );
  if (!brings) clock.advance(300);
  const Cookie = jar.header(SHOP) ?? "";
  if (Cookie.includes("~") !== (isOn && brings)) throw new Error("The cookie of recent writes is not as it should be");
  const handle = answer(use);
  return () => handle(new Request(SHOP, { headers: { Cookie } }));
}

/** The same pseudo-random numbers each time, so that sizes can be compared (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

if (process.argv[1]?.endsWith("recent_writes.ts")) {
  console.log(await measureSizes(500, seeded(1)));
  console.table(await measureTimes(60));
}
