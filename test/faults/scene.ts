import { isDeepStrictEqual } from "node:util";
import {
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { cookieJar, faultyStore, type RecordFault, type StoreFault } from "../../src/testing.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { type ClockPlan, serverClock } from "../setup/clocks.ts";
import { keyOf, kindOf } from "../setup/sessions.ts";
import { isPage } from "../user_sessions/devices.ts";
import type { Stores } from "./engines.ts";
import { outside, SceneTime } from "./time.ts";

/** The data of the sessions in these tests. */
export interface Data {
  n: number;
  name: string;
  note: string;
  color: string;
}

export type Policy = "throw" | "anonymous";

/** One kind of request. */
export interface Kind {
  /** The request's purpose. */
  readonly does:
    | "read"
    | "set"
    | "count"
    | "begin"
    | "flash"
    | "consume"
    | "touch"
    | "regenerate"
    | "keep"
    | "destroy"
    | "bind"
    | "revoke";
  /** Returns what it read. */
  readonly handle: (session: Session<Data>, users: UserSessions) => Promise<unknown>;
  /** Whether the client has no session before the request. */
  readonly isNew?: boolean;
  /** Whether its session is bound to a user who has a second session. */
  readonly isBound?: boolean;
  /** How many seconds the request comes after the client's last one. Default 700, which is later by every clock. */
  readonly later?: number;
}

/** A call of the store, by its purpose. */
export type Call =
  | "load"
  | "create"
  | "change"
  | "touch"
  | "retire"
  | "end"
  | "delete"
  | "load a list"
  | "save a list"
  | "delete a list";

/** A fault in one call. */
export interface PlannedFault {
  readonly call: Call;
  /** Which of the calls of this kind, counted from 0. If it is absent, all of them. */
  readonly nth?: number;
  readonly fault: StoreFault | RecordFault;
}

export interface Plan {
  readonly faults: readonly PlannedFault[];
  /**
   * When a delayed call takes effect: before the call with this number, at the end of the request, or at the end of the client's next
   * request.
   */
  readonly release?: number | "before the retry" | "after the retry";
  /** The clocks of three servers: where the session begins, where the request arrives, and where the client tries again. */
  readonly clocks: readonly [ClockPlan, ClockPlan, ClockPlan];
}

/** The outcome of one request. */
export interface Outcome {
  /** What the client received, in words. */
  readonly client: string;
  /** What the store held after the request, in words. */
  readonly store: string;
  /** The events that `onEvent` received, in words. */
  readonly heard: string;
  /** What the client received when it tried again, and what the store held in the end. Empty if the first attempt was done. */
  readonly retry: string;
  /** The calls of the store, in order. */
  readonly calls: readonly Call[];
  /** The promises that were broken. */
  readonly broken: readonly string[];
}

/** Faults after which the caller must wait for its time limit. */
const SILENT: ReadonlySet<string> = new Set(["hangs", "answers late", "does it late"]);

const SHOP = "https://shop.example/";
const BEGINNING = Date.UTC(2026, 0, 1);
const OTHER: Omit<Data, "color"> = { n: 100, name: "bob", note: "other" };
const ADA = "user-1815";
const BOB = "user-1791";
let scenes = 0;

/**
 * Sends one request of a client with a session to a store that fails as planned. Then the client tries again if needed. Judges the results.
 */
export async function perform(
  kind: Kind,
  policy: Policy,
  open: (now: () => number) => Stores,
  plan: Plan,
): Promise<Outcome> {
  const time = new SceneTime();
  return await time.within(() => new Scene(kind, policy, open, plan, time).play());
}

/** One server, with its own clock. */
interface Server {
  readonly sessions: SessionManager<Data>;
  readonly users: UserSessions;
  readonly now: () => number;
}

/** What can be found in the store: the data under each live id of the client, and the state of the other sessions. */
interface View {
  readonly live: ReadonlyMap<string, Partial<Data>>;
  /** The present id of the session that each id gives. */
  readonly leads: ReadonlyMap<string, string>;
  /** The data that the client finds with its cookie; null for no session. */
  readonly kept: Partial<Data> | null;
  readonly lastSeenAt: number;
  /** How many sessions the user's list has, and whether it contains the client's session. */
  readonly listed: number;
  readonly isListed: boolean;
  /** Whether the user's other session still exists. */
  readonly isOtherDeviceLive: boolean;
}

class Scene {
  readonly #kind: Kind;
  readonly #policy: Policy;
  readonly #plan: Plan;
  readonly #time: SceneTime;
  readonly #stores: Stores;
  readonly #clocks: readonly (() => number)[];
  readonly #jar = cookieJar({ now: () => this.#now() });
  readonly #heard: string[] = [];
  readonly #calls: Call[] = [];
  readonly #broken = new Set<string>();
  readonly #name = `scene${String(++scenes).padStart(7, "0")}`;
  readonly #minted: string[] = [];
  readonly #keys = new Set<string>();
  readonly #user: string;
  #looking: readonly Server[] | undefined;
  #isWatching = false;
  #underWay: Promise<unknown> = Promise.resolve();
  #touchedAt: number | undefined;
  #attempts = 0;

  constructor(kind: Kind, policy: Policy, open: (now: () => number) => Stores, plan: Plan, time: SceneTime) {
    this.#kind = kind;
    this.#policy = policy;
    this.#plan = plan;
    this.#time = time;
    const { here, elsewhere } = outside(() => open(() => this.#now()));
    this.#stores = { here: this.#apart(here), elsewhere: this.#apart(elsewhere) };
    this.#clocks = plan.clocks.map((each) => serverClock(() => this.#now(), each));
    this.#user = `${ADA} of ${this.#name}`;
  }

  async play(): Promise<Outcome> {
    const { does, isNew = false, isBound = false, later = 700 } = this.#kind;
    const faulty = faultyStore(this.#stores.here);
    const failing = this.#failing(faulty);
    const [first, second, third] = [0, 1, 2].map((at) =>
      this.#server(at, at === 1 ? failing : faulty, at === 1 ? this.#policy : "throw"),
    );
    if (first === undefined || second === undefined || third === undefined) throw new Error("There are three servers");

    // First another user and another device of the client's user begin their sessions, then the client.
    const strangers = cookieJar({ now: () => this.#now() });
    const devices = cookieJar({ now: () => this.#now() });
    await visit(first, strangers, async (session, users) => {
      session.set(OTHER);
      if (isBound) await users.bind(session, `${BOB} of ${this.#name}`);
    });
    if (isBound) await visit(first, devices, (session, users) => users.bind(session, this.#user));
    const strangeIds = this.#minted.length;
    if (!isNew) {
      await visit(first, this.#jar, async (session, users) => {
        session.set({ n: 1, name: "ada" });
        session.flash("note", "hi");
        if (isBound && does !== "bind") await users.bind(session, this.#user);
      });
    }
    const oldId = this.#minted[strangeIds] ?? "";
    const cookieBefore = this.#jar.header(SHOP);
    this.#time.advance(later);

    this.#touchedAt = second.now();
    this.#isWatching = true;
    const answer = await visit(second, this.#jar, (session, users) => this.#handle(session, users)).catch(
      (error: unknown) => error,
    );
    this.#isWatching = false;
    this.#time.advance(2);
    const look = (): Promise<View> => this.#look(strangeIds, devices, strangers);
    const soon = await look();
    const { release = "before the retry" } = this.#plan;
    if (release !== "after the retry") await faulty.release();
    const afterwards = await look();

    const response = answer instanceof Response ? answer : undefined;
    const { seen } = JSON.parse((await response?.text()) ?? "{}") as { seen?: unknown };
    const cookie = response?.headers.getSetCookie()[0];
    const cookieAfter = this.#jar.header(SHOP);
    const failures = this.#heard.filter((event) => event.startsWith("failed"));
    // An unreadable record counts as no session, as the contract says. What the request wrote is then in a new session.
    const isBlind = this.#heard.some((event) => event.startsWith("rejected"));
    const isDone =
      response !== undefined && (this.#policy === "throw" || !/^(failed|gone)/.test(this.#heard.at(-1) ?? ""));
    const heard = this.#heard.join(", ");

    this.#must("an error is one of the store's", response !== undefined || isOutage(answer));
    this.#must("onEvent hears of every error", response !== undefined || failures.length > 0 || does === "revoke");
    // These calls commit at once, so their caller gets the error at once.
    const isHeard = does === "revoke" || does === "count";
    this.#must("anonymous lets the response go out", this.#policy === "throw" || response !== undefined || isHeard);
    this.#must("nobody sees the data of another", seen !== OTHER.n && seen !== OTHER.note);
    this.#must("a failure leaves the cookie alone", isDone || cookieAfter === cookieBefore);
    this.#must("a cookie is erased only by a logout", !cookie?.includes("Max-Age=0") || does === "destroy");
    for (const view of [soon, afterwards]) this.#judge(view, oldId, { isDone, isBlind, seen, isRetried: false });
    if (failures.length === 0 && !isBlind && does === "read") this.#must("a reader sees what is stored", seen === 1);

    let retry = "";
    if (!isDone && !isBlind) {
      const again = await visit(third, this.#jar, (session, users) => this.#handle(session, users)).catch(
        (error: unknown) => error,
      );
      this.#must(`the client can try again, which is ${codeOf(again)}`, again instanceof Response);
      if (again instanceof Response) {
        const { seen: seenAgain } = (await again.json()) as { seen?: unknown };
        this.#time.advance(2);
        if (release === "after the retry") await faulty.release();
        const end = await look();
        this.#judge(end, oldId, { isDone: true, isBlind, seen: seenAgain, isRetried: true });
        retry = `${this.#inWordsOfClient(seenAgain, again.headers.getSetCookie()[0], cookieAfter)}; ${inWordsOfStore(end, oldId)}`;
      }
    } else if (release === "after the retry") {
      await faulty.release();
    }
    this.#time.advance(120);
    await this.#judgeElsewhere(does, isBlind);
    const [held, heldLater] = [inWordsOfStore(soon, oldId), inWordsOfStore(afterwards, oldId)];
    return {
      client: response === undefined ? codeOf(answer) : this.#inWordsOfClient(seen, cookie, cookieBefore),
      store: held === heldLater ? held : `${held}; later ${heldLater}`,
      heard,
      retry,
      calls: this.#calls,
      broken: [...this.#broken],
    };
  }

  async #handle(session: Session<Data>, users: UserSessions): Promise<unknown> {
    this.#attempts++;
    return await this.#kind.handle(session, withUser(users, this.#user));
  }

  #now(): number {
    return BEGINNING + this.#time.elapsed;
  }

  #must(promise: string, holds: boolean): void {
    if (!holds) this.#broken.add(promise);
  }

  #server(at: number, store: SessionStore, onStoreError: Policy): Server {
    const users = userSessions();
    const now = this.#clocks[at] ?? (() => this.#now());
    const sessions = new SessionManager<Data>({
      store,
      now,
      onStoreError,
      storeTimeout: 60,
      plugins: this.#kind.isBound === true ? [users] : [],
      onEvent: (event) => {
        if (this.#isWatching) this.#heard.push(inWords(event));
      },
      generateId: () => {
        const id = `${this.#name}-everybody-knows-${String(this.#minted.length).padStart(2, "0")}`;
        this.#minted.push(id);
        this.#keys.add(keyOf(id));
        return id;
      },
    });
    return { sessions, users, now };
  }

  /** A store that is called outside of the scene's time, because its client has timers of its own. */
  #apart(store: SessionStore): SessionStore {
    const call = <Answer>(run: () => Answer | Promise<Answer>): Answer | Promise<Answer> => {
      const answer = outside(run);
      this.#underWay = Promise.resolve(answer).catch(() => {});
      return answer;
    };
    return {
      traits: store.traits,
      load: (key) => call(() => store.load(key)),
      save: (key, write) => call(() => store.save(key, write)),
      delete: (key, expected) => call(() => store.delete(key, expected)),
    };
  }

  /** A store that records the purpose of each call, and fails as planned. */
  #failing(faulty: ReturnType<typeof faultyStore>): SessionStore {
    const sound = this.#stores.here;
    const call = async <Answer>(
      what: Call,
      run: (store: SessionStore) => Answer | Promise<Answer>,
    ): Promise<Answer> => {
      if (!this.#isWatching) return await run(sound);
      const nth = this.#calls.filter((each) => each === what).length;
      this.#calls.push(what);
      if (this.#calls.length - 1 === this.#plan.release) await faulty.release();
      const planned = this.#plan.faults.find((each) => each.call === what && (each.nth ?? nth) === nth);
      if (planned === undefined) return await run(sound);
      const { fault } = planned;
      faulty.plan(isOfRecords(fault) ? { load: fault } : { load: fault, save: fault, delete: fault });
      let answer: Answer | Promise<Answer>;
      try {
        answer = run(faulty);
      } finally {
        faulty.plan({});
      }
      // A caller that gets no answer waits until the engine is done with the call, if the engine does it. Then its time limit passes.
      if (SILENT.has(fault)) void this.#underWay.then(() => this.#time.expire());
      return await answer;
    };
    const isList = (key: string): boolean => !this.#keys.has(key);
    return {
      traits: faulty.traits,
      load: (key) => call(isList(key) ? "load a list" : "load", (store) => store.load(key)),
      save: (key, write) => {
        const { fields } = write.record;
        const isRetired = fields.get("@")?.includes('"successor"') === true;
        const what = isPage(write.record)
          ? "save a list"
          : fields.size === 0
            ? "end"
            : isRetired && write.changed.size > 0
              ? "retire"
              : kindOf(write);
        return call(what, (store) => store.save(key, write));
      },
      delete: (key, expected) => call(isList(key) ? "delete a list" : "delete", (store) => store.delete(key, expected)),
    };
  }

  /** Servers on the same store without faults, one for each clock. */
  get #onlookers(): readonly Server[] {
    return (this.#looking ??= this.#plan.clocks
      .filter((plan, at) => this.#plan.clocks.indexOf(plan) === at)
      .map((plan) => this.#server(this.#plan.clocks.indexOf(plan), this.#stores.here, "throw")));
  }

  /** Reads what the store holds. All servers must find the same. */
  async #look(strangeIds: number, devices: Jar, strangers: Jar): Promise<View> {
    const views = await Promise.all(
      this.#onlookers.map(async ({ sessions, users }) => {
        const live = new Map<string, Partial<Data>>();
        const leads = new Map<string, string>();
        for (const id of this.#minted.slice(strangeIds)) {
          const session = sessions.open(id);
          const current = await session.id();
          if (current === null) continue;
          live.set(current, { ...(await session.all()) });
          leads.set(id, current);
        }
        const find = async (jar: Jar): Promise<Session<Data> | null> => {
          const session = sessions.start(new Request(SHOP, { headers: { Cookie: jar.header(SHOP) ?? "" } }));
          return (await session.id()) === null ? null : session;
        };
        const own = await find(this.#jar);
        const stranger = await (await find(strangers))?.all();
        this.#must("the sessions of others stay as they are", isDeepStrictEqual({ ...stranger }, OTHER));
        const isBound = this.#kind.isBound === true;
        const listed = isBound ? await users.list(this.#user) : [];
        const handle = isBound && own !== null ? await users.handle(own) : null;
        return {
          live,
          leads,
          kept: own === null ? null : { ...(await own.all()) },
          lastSeenAt: (await own?.info())?.lastSeenAt ?? 0,
          listed: listed.length,
          isListed: listed.some((each) => each.handle === handle),
          isOtherDeviceLive: (await find(devices)) !== null,
        } satisfies View;
      }),
    );
    const [view] = views;
    if (view === undefined) throw new Error("There is no server");
    this.#must(
      "all servers find the same",
      views.every((each) => isDeepStrictEqual(each, view)),
    );
    return view;
  }

  /** Checks what the store holds after one attempt, or after two. */
  #judge(
    { live, leads, kept, lastSeenAt, listed, isListed, isOtherDeviceLive }: View,
    oldId: string,
    { isDone, isBlind, seen, isRetried }: { isDone: boolean; isBlind: boolean; seen: unknown; isRetried: boolean },
  ): void {
    const { does, isNew = false, isBound = false } = this.#kind;
    // Where the last write wins, a delayed write wins too.
    if (!this.#stores.here.traits.compareAndSet && this.#plan.faults.some(({ fault }) => fault === "does it late"))
      return;
    const when = isRetried ? ", also after another try" : "";
    const must = (promise: string, holds: boolean): void => this.#must(`${promise}${when}`, holds);
    const renews = does === "regenerate" || does === "keep";
    if (isBlind) {
      if (does !== "destroy" && does !== "revoke")
        must("what cannot be read is left alone", live.has(oldId) && live.get(oldId)?.n === 1);
      return;
    }
    for (const { n = 0, name } of live.values()) {
      must("no attempt counts twice", n <= 1 + this.#attempts);
      must("no record has less than before", name === "ada" || does === "begin");
    }
    if (does !== "destroy" && !isNew) must("the client has its session", kept?.name === "ada");
    if (!renews && does !== "destroy" && !isNew) must("a session stays alive under its id", live.has(oldId));
    // A second live id may remain, which nobody knows: from a creation without an answer, or from a rotation with grace on a store
    // without compare-and-set.
    const mayLinger =
      this.#plan.faults.some(({ call, fault }) => call === "create" && SILENT.has(fault)) ||
      (does === "keep" && !this.#stores.here.traits.compareAndSet);
    if (renews) must("a session has one live id", live.size === 1 || (mayLinger && live.size === 2));
    if (!isDone) return;
    if (does === "destroy") must("an acknowledged logout stays", live.size === 0 && kept === null);
    if (does === "regenerate") must("the old id is dead once a new one is acknowledged", !leads.has(oldId));
    if (does === "keep")
      must(
        "the old id leads on for the time of its grace",
        leads.get(oldId) !== undefined && leads.get(oldId) !== oldId,
      );
    if (does === "count" && seen !== undefined) must("the value that was told is stored", kept?.n === seen);
    if (does === "set" || does === "regenerate") must("what was set is there", kept?.color === "red");
    if (does === "begin") must("a session has begun", kept !== null && (kept.n ?? 1) === 1);
    if (does === "flash") must("a flash value waits", kept?.note === "news");
    if (does === "consume") must("a flash value is seen once", kept?.note === undefined);
    // If the store was busy, this touch is not stored. The next request touches the session again.
    const isDropped = this.#plan.faults.some(({ call, fault }) => call === "touch" && fault === "is busy");
    if (does === "touch" && !isRetried && !isDropped)
      must("a touch is stored", lastSeenAt >= (this.#touchedAt ?? Infinity));
    if (isBound && does !== "destroy") must("the user's list has the session", isListed);
    if (does === "revoke") must("the user's other session has ended", !isOtherDeviceLive && listed === 1);
    else if (isBound) must("the user's other session lives", isOtherDeviceLive);
  }

  /** Checks what servers in another place find once everything has arrived there. */
  async #judgeElsewhere(does: Kind["does"], isBlind: boolean): Promise<void> {
    const { sessions } = this.#server(0, this.#stores.elsewhere, "throw");
    const presented = this.#jar.header(SHOP);
    const session = sessions.start(new Request(SHOP, { headers: { Cookie: presented ?? "" } }));
    const isThere = (await session.id()) !== null;
    const isOverwritten =
      !this.#stores.here.traits.compareAndSet && this.#plan.faults.some(({ fault }) => fault === "does it late");
    if (!isBlind && !isOverwritten)
      this.#must("another place finds what the client has", isThere === (does !== "destroy"));
  }

  #inWordsOfClient(seen: unknown, cookie: string | undefined, before: string | null): string {
    const sees = seen === undefined || seen === null ? "200" : `200, sees ${JSON.stringify(seen)}`;
    if (cookie === undefined) return sees;
    if (cookie.includes("Max-Age=0")) return `${sees}, cookie expired`;
    return `${sees}, ${cookie.startsWith(`${before};`) ? "cookie renewed" : "cookie with a new id"}`;
  }
}

type Jar = ReturnType<typeof cookieJar>;

/** Sends a request. The response carries what the handler read. */
function visit({ sessions, users }: Server, jar: Jar, handle: Kind["handle"]): Promise<Response> {
  const handler = withSession<Data>(
    async (_, session) => Response.json({ seen: await handle(session, users) }),
    sessions,
  );
  return jar.fetch(handler, SHOP);
}

/** The same functions, but always for the user of this scene, whatever user the handler names. */
function withUser(users: UserSessions, user: string): UserSessions {
  return {
    ...users,
    bind: (session, _user, ...metadata) => users.bind(session, user, ...metadata),
    revokeAll: (_user, ...rest) => users.revokeAll(user, ...rest),
  };
}

export function codeOf(error: unknown): string {
  return error instanceof SessionError ? error.code : String(error);
}

function isOutage(error: unknown): boolean {
  return ["ERR_STORE", "ERR_STORE_TIMEOUT", "ERR_CONFLICT"].includes(codeOf(error));
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

function inWordsOfStore({ live }: View, oldId: string): string {
  if (live.size === 0) return "no session";
  const sessions = Array.from(live, ([id, { n, note, color }]) => {
    const contents = [
      ...(n === undefined ? [] : [`n = ${n}`]),
      ...(color === undefined ? [] : [color]),
      ...(note === undefined ? [] : [`flash "${note}"`]),
    ];
    return `${id === oldId ? "old" : "new"} id: ${contents.join(", ") || "empty"}`;
  });
  return sessions.join("; ");
}

/** Whether a fault concerns the answer of a load, so that other calls cannot have it. */
function isOfRecords(fault: StoreFault | RecordFault): fault is RecordFault {
  return fault === "truncated" || fault === "another key's" || fault === "newer schema" || fault === "future times";
}
