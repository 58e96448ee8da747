import { isDeepStrictEqual } from "node:util";
import { memoryStore, type Session, SessionError, type SessionEvent, SessionManager, withSession } from "../../mod.ts";
import type { SessionStore } from "../../mod.ts";
import { cookieJar, fakeClock, type FaultPlan, faultyStore, type StoreVerb } from "../../src/testing.ts";

/** What the sessions of these tests hold. */
export interface Data {
  n: number;
  name: string;
  note: string;
}

export type Policy = "throw" | "anonymous";

/** One kind of request. */
export interface Kind {
  /** Whether the client comes without a session. */
  readonly isNew?: boolean;
  /** How many seconds after its last request the client comes. Default 0. */
  readonly later?: number;
  /** What the request is to do to the session. */
  readonly does: "read" | "count" | "begin" | "consume" | "regenerate" | "destroy";
  /** Answers what it saw. */
  readonly handle: (session: Session<Data>) => Promise<unknown>;
}

/** What became of one request. */
export interface Outcome {
  /** What the client got, in words. */
  readonly client: string;
  /** What the store held afterwards, in words. */
  readonly store: string;
  /** What `observe` heard, in words. */
  readonly heard: string;
  /** The calls of the store, in their order. */
  readonly calls: readonly StoreVerb[];
  /** The promises that were broken. */
  readonly broken: readonly string[];
}

const SHOP = "https://shop.example/";
const BEGINNING = Date.UTC(2026, 0, 1);
const OTHER: Data = { n: 100, name: "bob", note: "other" };

/**
 * Sends one request of a client with a session to a store that fails as planned, and judges what comes of it.
 *
 * @param releaseAt Before which call, counted from 0, what is late comes; at the end of the request if absent.
 */
export async function perform(kind: Kind, policy: Policy, plan: FaultPlan, releaseAt?: number): Promise<Outcome> {
  const clock = fakeClock(BEGINNING);
  const engine = memoryStore();
  const faulty = faultyStore(engine);
  const calls: StoreVerb[] = [];
  const heard: string[] = [];
  const minted: string[] = [];
  const sound = new SessionManager<Data>({ store: engine, now: clock.now });
  const sessions = new SessionManager<Data>({
    store: watched(faulty, async (verb) => {
      if (calls.push(verb) - 1 === releaseAt) await faulty.release();
    }),
    now: clock.now,
    onStoreError: policy,
    storeTimeout: waits(plan) ? 0.15 : 1,
    observe: (event) => heard.push(inWords(event)),
    generateId: () => {
      minted.push(`an-id-that-everybody-knows-${minted.length}`);
      return minted.at(-1)!;
    },
  });
  const jar = cookieJar({ now: clock.now });
  const visit = (handle: Kind["handle"], client = jar): Promise<Response> => {
    const handler = withSession<Data>(async (_, session) => Response.json({ seen: await handle(session) }), sessions);
    return client.fetch(handler, SHOP);
  };

  await visit(async (session) => session.set(OTHER), cookieJar({ now: clock.now }));
  if (!kind.isNew) {
    await visit(async (session) => {
      session.set({ n: 1, name: "ada" });
      session.flash("note", "hi");
    });
  }
  const [otherId = "", oldId = ""] = minted;
  const cookieBefore = jar.header(SHOP);
  clock.advance(kind.later ?? 0);
  calls.length = heard.length = 0;
  faulty.plan(plan);

  const answer = await visit(kind.handle).catch((error: unknown) => error);
  /** The data under every live id that this client's session may have. */
  const look = async (): Promise<ReadonlyMap<string, Partial<Data>>> => {
    const live = new Map<string, Partial<Data>>();
    for (const id of minted.slice(1)) {
      const data = await dataOf(sound.open(id));
      if (data !== null) live.set(id, data);
    }
    return live;
  };
  const soon = await look();
  await faulty.release();
  const later = await look();

  const response = answer instanceof Response ? answer : undefined;
  const body: { seen?: unknown } = JSON.parse((await response?.text()) ?? "{}");
  const { seen } = body;
  const cookie = response?.headers.getSetCookie()[0];
  const cookieAfter = jar.header(SHOP);
  const hasFailed = heard.some((event) => event.startsWith("failed"));
  // What could not be read was taken for no session, as the contract says: what the request wrote is a new one.
  const isBlind = heard.some((event) => event.startsWith("rejected"));
  const isDone = response !== undefined && (policy === "throw" || !/^(failed|gone)/.test(heard.at(-1) ?? ""));
  const kept = await dataOf(sound.start(new Request(SHOP, { headers: { Cookie: cookieAfter ?? "" } })));
  const keepsId = kind.does !== "regenerate" && kind.does !== "destroy";
  const counts = kind.does === "count" || kind.does === "regenerate";

  const broken = new Set<string>();
  const must = (promise: string, holds: boolean): void => {
    if (!holds) broken.add(promise);
  };
  must("an error is one of the store's", response !== undefined || isOutage(answer));
  must("observe hears of every error", response !== undefined || hasFailed);
  must("anonymous lets the response go out", policy === "throw" || response !== undefined);
  must("nobody sees the data of another", seen !== OTHER.n && seen !== OTHER.note);
  must("the sessions of others stay as they are", isDeepStrictEqual({ ...(await dataOf(sound.open(otherId))) }, OTHER));
  must("a failure leaves the cookie alone", isDone || cookieAfter === cookieBefore);
  must(
    "a cookie is erased only by a logout that was stored",
    !cookie?.includes("Max-Age=0") || kind.does === "destroy",
  );
  if (keepsId && !kind.isNew) must("a session stays alive", soon.has(oldId) && later.has(oldId));
  for (const [id, { n = 0, name }] of [...soon, ...later]) {
    must("update counts at most once", n <= (counts ? 2 : 1));
    must("no record has less than before", name === "ada" || (isBlind && id !== oldId));
  }
  if (isDone && kind.does === "destroy") must("an acknowledged logout stays", soon.size === 0 && later.size === 0);
  if (isDone && kind.does === "regenerate" && !isBlind) {
    must("the old id is dead once a new one is acknowledged", !soon.has(oldId) && !later.has(oldId));
  }
  if (isDone && (counts || kind.does === "begin") && seen !== undefined) {
    must("an acknowledged write is there", kept?.n === seen);
  }
  if (isDone && kind.does === "consume" && !isBlind) must("a flash value is seen once", kept?.note === undefined);
  if (!hasFailed && !isBlind && kind.does === "read") must("a reader sees what is stored", seen === 1);
  if (heard.includes("touched")) {
    must("an acknowledged touch is stored", (await sound.open(oldId).info()).lastSeenAt === clock.now());
  }
  // Nobody can take back a creation that comes after everything else; nobody knows its id either.
  const mayLinger = [plan.create].flat().includes("does it late");
  if (kind.does === "regenerate" && !isBlind) {
    must("a session has one live id", later.size === 1 || (mayLinger && later.size === 2));
  }
  const [held, heldLater] = [inWordsOfStore(soon, oldId), inWordsOfStore(later, oldId)];
  return {
    client: response === undefined ? codeOf(answer) : inWordsOfClient(seen, cookie, cookieBefore),
    store: held === heldLater ? held : `${held}; later ${heldLater}`,
    heard: heard.join(", "),
    calls,
    broken: [...broken],
  };
}

/** Whether a call will get no answer in time. What fails at once needs no haste, however busy the machine is. */
function waits(plan: FaultPlan): boolean {
  return Object.values(plan)
    .flat()
    .some((fault) => ["hangs", "answers late", "does it late"].includes(fault));
}

async function dataOf(session: Session<Data>): Promise<Partial<Data> | null> {
  return (await session.id()) === null ? null : await session.all();
}

function codeOf(error: unknown): string {
  return error instanceof SessionError ? error.code : String(error);
}

function isOutage(error: unknown): boolean {
  return ["ERR_STORE", "ERR_STORE_TIMEOUT", "ERR_CONFLICT"].includes(codeOf(error));
}

/** The same store, with something that happens before each call. */
function watched(store: SessionStore, before: (verb: StoreVerb) => Promise<void>): SessionStore {
  const watch =
    <Args extends unknown[], Answer>(verb: StoreVerb, call: (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      await before(verb);
      return await call(...args);
    };
  return {
    traits: store.traits,
    load: watch("load", store.load),
    create: watch("create", store.create),
    change: watch("change", store.change),
    touch: watch("touch", store.touch),
    delete: watch("delete", store.delete),
  };
}

function inWords(event: SessionEvent): string {
  switch (event.type) {
    case "failed":
      return `failed (${event.during}, ${event.error.code})`;
    case "rejected":
      return `rejected (${event.reason})`;
    default:
      return event.type;
  }
}

function inWordsOfClient(seen: unknown, cookie: string | undefined, before: string | null): string {
  const sees = seen === undefined ? "200" : `200, sees ${JSON.stringify(seen)}`;
  if (cookie === undefined) return sees;
  if (cookie.includes("Max-Age=0")) return `${sees}, cookie expired`;
  return `${sees}, ${cookie.startsWith(`${before};`) ? "cookie renewed" : "cookie with a new id"}`;
}

function inWordsOfStore(live: ReadonlyMap<string, Partial<Data>>, oldId: string): string {
  if (live.size === 0) return "no session";
  const sessions = Array.from(
    live,
    ([id, { n, note }]) => `${id === oldId ? "old" : "new"} id: n = ${n}${note === undefined ? "" : ", flash"}`,
  );
  return sessions.join("; ");
}
