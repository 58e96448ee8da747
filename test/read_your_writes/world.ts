import { type Session, type SessionEvent, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import {
  type CookieJar,
  cookieJar,
  type FakeClock,
  fakeClock,
  type KvSimulator,
  kvSimulator,
  type KvSimulatorOptions,
} from "../../src/testing.ts";

export const SHOP = "https://shop.example/";
export const secrets: readonly string[] = ["a secret of at least thirty-two bytes"];
export const PLACES = ["Paris", "Tokyo", "Lima"] as const;
export type Place = (typeof PLACES)[number];
export type Data = Record<string, number | string>;
export type Options = SessionOptions<Data>;

/** How far the clock of each place is ahead, in seconds. */
export type Skews = Readonly<Record<Place, number>>;
export const NO_SKEW: Skews = { Paris: 0, Tokyo: 0, Lima: 0 };

/** One browser, and one site in several places. */
export interface World {
  readonly clock: FakeClock;
  readonly kv: KvSimulator;
  readonly jar: CookieJar;
  readonly events: SessionEvent[];
  readonly skews: Skews;
  readonly at: (place: Place) => SessionManager<Data>;
}

export interface WorldSettings {
  readonly options?: Options;
  readonly simulated?: KvSimulatorOptions;
  readonly skews?: Skews;
  /** Whether the site has the plugin. Default true. */
  readonly isOn?: boolean;
}

export function openWorld({ options = {}, simulated = {}, skews = NO_SKEW, isOn = true }: WorldSettings = {}): World {
  const clock = fakeClock(1_800_000_000_000);
  const kv = kvSimulator({ now: clock.now, writeInterval: 0, ...simulated });
  const events: SessionEvent[] = [];
  const managers = new Map<Place, SessionManager<Data>>();
  const world: World = {
    clock,
    kv,
    events,
    skews,
    jar: cookieJar({ now: clock.now }),
    at(place) {
      const manager = managers.get(place) ?? managerIn(world, place, isOn ? options : { plugins: [], ...options });
      managers.set(place, manager);
      return manager;
    },
  };
  return world;
}

/** The sessions of the site in one place. `options` can replace any of the defaults. */
export function managerIn(
  { kv, clock, events, skews }: World,
  place: Place,
  options: Options = {},
): SessionManager<Data> {
  return new SessionManager<Data>({
    store: cloudflareKvStore(kv.at(place)),
    plugins: [readYourWrites({ secrets })],
    now: () => clock.now() + skews[place] * 1000,
    onEvent: (event) => events.push(event),
    ...options,
  });
}

export type Use<Result> = (session: Session<Data>) => Result | Promise<Result>;

/** Sends one request of the browser to one place. */
export async function visit<Result>(world: World, place: Place, use: Use<Result>): Promise<Result> {
  const { result, response } = await answer(world, place, use);
  world.jar.store(SHOP, response);
  return result;
}

/** The same, but the browser has not received the response yet. */
export async function answer<Result>(
  world: World,
  place: Place,
  use: Use<Result>,
): Promise<{ readonly result: Result; readonly response: Response }> {
  const results: Result[] = [];
  const handle = withSession<Data>(async (_request, session) => {
    results.push(await use(session));
    return new Response("Hello");
  }, world.at(place));
  const cookies = world.jar.header(SHOP);
  const response = await handle(new Request(SHOP, cookies === null ? {} : { headers: { Cookie: cookies } }));
  return { result: results[0]!, response };
}

export const everything: Use<Data> = async (session) => ({ ...(await session.all()) }) as Data;
export const set =
  (name: string, value: Data[string]): Use<void> =>
  (session) =>
    session.set(name, value);
export const get =
  (name: string): Use<Data[string] | undefined> =>
  (session) =>
    session.get(name);
export const id: Use<string | null> = (session) => session.id();
export const logOut: Use<void> = (session) => session.destroy();

/** The browser's recent-writes cookies, by name. */
export function recentWrites({ jar }: World): Map<string, string> {
  return new Map(jar.cookies().flatMap(({ name, value }) => (name.includes("~") ? [[name, value] as const] : [])));
}

/** Puts cookies into a browser, as a script or another program of the same user could. */
export function plant({ jar }: World, cookies: Iterable<readonly [string, string]>): void {
  const headers = new Headers();
  for (const [name, value] of cookies) headers.append("Set-Cookie", `${name}=${value}; Path=/; Secure; Max-Age=600`);
  jar.store(SHOP, { headers });
}

/** The pairs of a Cookie header. */
export function pairs(header: string | null): [string, string][] {
  return (header ?? "").split("; ").map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}

/** The types of the events so far. */
export function typesOf({ events }: World): string[] {
  return events.map(({ type }) => type);
}
