import {
  type Plugin,
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { fakeClock } from "../../src/testing.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { RIGHT, serverClock } from "../setup/clocks.ts";
import { type Process, quiet, passTime, seededRandom, startProcess, takeOverTime, within } from "../setup/processes.ts";
import { type RecordingEngine, recordingEngine } from "../setup/recording_engine.ts";
import type { Act, Decision, HistoryProgram, HistoryRequest } from "./history_program.ts";
import { GRACE, IDLE, TOUCH } from "./history_program.ts";
import { type Fate, Stage, stagedStore } from "./stage.ts";

/** The data of a session, with a key for each call that sets one. */
export interface Data {
  /** The name of the session as long as it lives, whatever its id is. */
  birth: string;
  log: string[];
  flag: "on" | "off";
  [own: `own ${string}`]: true;
}

export const USER = "ada";
const SHOP = "https://shop.example/";
/** The error that a handler throws on purpose. */
export const ON_PURPOSE = "The handler fails";

/** A change that later readers must find if it was acknowledged. Instants are numbers of events, not times. */
export interface Deed {
  readonly does: "append" | "set" | "flag" | "bind" | "unbind";
  readonly value: string;
  readonly birth: string;
  readonly begunAt: number;
  /** The value that `update` returned. */
  readonly list?: readonly string[];
  /** When the call, `save()` or the end of the request acknowledged it; undefined if nothing did. */
  ackedAt?: number;
}

/** A request's call for a new id. */
export interface Renewal {
  readonly from: string | null;
  readonly hasGrace: boolean;
  readonly askedAt: number;
}

/** One request, and its result. */
export interface Sent extends HistoryRequest {
  readonly who: string;
  presented: string | null;
  begunAt: number;
  /** The true time at its beginning and at its end, in epoch milliseconds. */
  begunTime: number;
  endedTime: number;
  outcome: "under way" | "answered" | "failed on purpose" | "failed" | "crashed";
  error?: unknown;
  /** The name of the session that it found, or null; undefined if it could not look. */
  found?: string | null;
  /** The lists that it read, each with the name of the session. */
  readonly reads: { readonly birth: string; readonly list: readonly string[] }[];
  readonly deeds: Deed[];
  readonly renewals: Renewal[];
  readonly minted: string[];
  readonly events: { readonly type: SessionEvent["type"]; readonly at: number; readonly reason?: string }[];
  /** The names of the sessions that it has destroyed (null if it does not know the name), and when that was acknowledged. */
  readonly ended: { readonly birth: string | null; ackedAt?: number }[];
  /** When it began to end all sessions of the user, and the session that had to stay. */
  readonly revocations: { readonly begunAt: number; readonly spares: string | null; ackedAt?: number }[];
  told: string | "over" | null;
  /** When the server had finished it. */
  endedAt?: number;
  /** How many calls of its process failed during the request. */
  faults: number;
}

/** What a reader sees of a session at the end, if it presents an id. */
export interface Seen {
  readonly server: number;
  readonly presented: string;
  readonly id: string;
  readonly birth: string | null;
  readonly keys: readonly string[];
  readonly log: readonly string[];
  readonly flag: string | undefined;
  readonly handle: string | null;
}

/** What each server finds when no request is running. */
export interface Audit {
  /** Its event number, and its true time in epoch milliseconds. */
  readonly at: number;
  readonly time: number;
  readonly seen: readonly Seen[];
  /** The handles that each server lists. */
  readonly listed: readonly (readonly string[])[];
}

/** One history as it was played. */
export interface History {
  readonly program: HistoryProgram;
  readonly sent: readonly Sent[];
  readonly engine: RecordingEngine;
  readonly audits: readonly Audit[];
  /** For each client, the cookie that it holds in the end, and its first id. */
  readonly clients: readonly { readonly cookie: string | null; readonly first: string | null }[];
  readonly ids: readonly string[];
  readonly trace: readonly string[];
  /** The requests that never ended. */
  readonly stuck: readonly string[];
  readonly calls: number;
  readonly faults: number;
  readonly crashes: number;
  readonly conflicts: number;
  /** How many requests the library has stored together with others. */
  readonly grouped: number;
}

interface Server {
  process: Process;
  sessions: SessionManager<Data>;
  users: UserSessions;
  faults: number;
}

/** Parts that a test replaces, most of them by broken ones, to prove that the verdict notices. */
export interface Breaking {
  /** Whether the sessions begin in another engine, from which `migratingStore` moves them. */
  readonly migrates?: boolean;
  readonly store?: (store: SessionStore) => SessionStore;
  readonly plugin?: () => Plugin;
}

/** A running request, and the process that serves it. */
interface Met {
  readonly sent: Sent;
  process: Process | undefined;
  isOver: boolean;
}

/** The state of one history while it is played. */
class Player {
  readonly program: HistoryProgram;
  readonly clock = fakeClock(1_800_000_000_000);
  readonly engine: RecordingEngine;
  /** The engine in which the sessions begin. */
  readonly first: RecordingEngine;
  readonly clocks: readonly (() => number)[];
  readonly network = startProcess();
  readonly stage: Stage;
  readonly servers: Server[];
  readonly clients: { cookie: string | null; first: string | null }[] = [
    { cookie: null, first: null },
    { cookie: null, first: null },
  ];
  readonly sent: Sent[] = [];
  readonly requests = new Map<Request, Sent>();
  readonly ids: string[] = [];
  readonly trace: string[] = [];
  readonly audits: Audit[] = [];
  /** Managers for the audits, one with the clock of each server. Their calls do not wait on the stage. */
  readonly #auditors: readonly ReturnType<Player["manager"]>[];
  readonly #breaking: Breaking;
  readonly #store: SessionStore;
  #instant = 0;
  #decisions = 0;
  calls = 0;
  faults = 0;
  crashes = 0;
  conflicts = 0;

  constructor(program: HistoryProgram, breaking: Breaking) {
    this.program = program;
    this.#breaking = breaking;
    const { clocks, engineClock, sweeping } = program;
    this.engine = recordingEngine(serverClock(this.clock.now, engineClock), sweeping);
    this.first =
      breaking.migrates === true ? recordingEngine(serverClock(this.clock.now, engineClock), sweeping) : this.engine;
    this.#store = breaking.store?.(this.engine.store) ?? this.engine.store;
    this.clocks = clocks.map((plan) => serverClock(this.clock.now, plan));
    this.stage = new Stage({ onCrash: (process) => this.#restart(process), hear: (line) => this.trace.push(line) });
    this.servers = clocks.map((_, at) => this.#start(at));
    this.#auditors = clocks.map((_, at) => this.manager(at));
  }

  instant(): number {
    return ++this.#instant;
  }

  /** The store of a server. Without a process, its calls do not wait on the stage. An audit reads the engine itself, not the broken store. */
  #storeOf(at: number, now: () => number, process: Process | undefined): SessionStore {
    const { migrates = false } = this.#breaking;
    const staged = (store: SessionStore, place = ""): SessionStore =>
      process === undefined ? store : stagedStore(this.stage, process, store, `server ${at} ${place}`);
    const to = process === undefined ? this.engine.store : this.#store;
    return migrates ? migratingStore(staged(this.first.store, "old "), staged(to, "new "), { now }) : staged(to);
  }

  /** The manager of a process. Without a process, its calls do not wait on the stage. `begins` is for the sessions' first requests. */
  manager(at: number, process?: Process, begins = false): { sessions: SessionManager<Data>; users: UserSessions } {
    const users = userSessions();
    const plugin = process === undefined ? undefined : this.#breaking.plugin?.();
    const now = this.clocks[at] ?? serverClock(this.clock.now, RIGHT);
    const options: SessionOptions<Data> = {
      store: begins ? this.first.store : this.#storeOf(at, now, process),
      now,
      idleTimeout: IDLE,
      touchInterval: TOUCH,
      storeTimeout: 60,
      plugins: plugin === undefined ? [users] : [plugin, users],
      generateId: (request) => this.#mint(request),
      onEvent: (event) => this.#hear(event),
    };
    return { sessions: new SessionManager<Data>(options), users };
  }

  #start(at: number): Server {
    const process = startProcess();
    return { process, ...within(process, () => this.manager(at, process)), faults: 0 };
  }

  #restart(process: Process): void {
    this.crashes++;
    const at = this.servers.findIndex((each) => each.process === process);
    const server = this.servers[at];
    if (server === undefined) return;
    for (const each of this.sent) {
      if (each.server !== at || each.outcome !== "under way" || each.begunAt === 0) continue;
      each.outcome = "crashed";
      each.endedTime = this.clock.now();
    }
    const { faults } = server;
    this.servers[at] = { ...this.#start(at), faults: faults + 1 };
  }

  #mint(request: Request | undefined): string {
    const id = `${this.ids.length}`.padStart(22, "0");
    this.ids.push(id);
    if (request !== undefined) this.requests.get(request)?.minted.push(id);
    return id;
  }

  #hear(event: SessionEvent): void {
    const sent = event.request && this.requests.get(event.request);
    if (event.type === "conflict") this.conflicts++;
    const reason = event.type === "rejected" ? { reason: event.reason } : {};
    sent?.events.push({ type: event.type, at: this.instant(), ...reason });
    if (sent !== undefined)
      this.trace.push(`    ${sent.who} hears ${event.type}${"reason" in event ? ` (${String(event.reason)})` : ""}`);
  }

  /** Plays requests that meet, until all are answered. Returns the requests that never ended. */
  async meet(requests: readonly HistoryRequest[], round: number): Promise<string[]> {
    const met = requests.map((each, index) => this.#send(each, `${round}${"abcdefghij"[index]}`));
    for (;;) {
      await quiet();
      const { waiting } = this.stage;
      if (waiting.length === 0) {
        const late = met.filter(({ isOver, process }) => !isOver && process?.isAlive !== false);
        if (late.length === 0) return [];
        // The requests wait for nothing but a time limit.
        if (late.every(({ process }) => !passTime(process ?? this.network))) return late.map(({ sent }) => sent.who);
        continue;
      }
      const { who, fate }: Decision = this.program.decisions[this.#decisions++] ?? { who: 0, fate: "done" };
      const next = waiting[who % waiting.length];
      if (next === undefined) continue;
      const isNetwork = next.process === this.network;
      const server = this.servers.find(({ process }) => process === next.process);
      if (!isNetwork) this.calls++;
      if (!isNetwork && !HARMLESS.has(fate)) {
        this.faults++;
        if (server !== undefined) server.faults++;
      }
      await this.stage.step(next, isNetwork ? "done" : fate);
    }
  }

  #send(request: HistoryRequest, who: string): Met {
    const sent: Sent = {
      ...request,
      who,
      presented: null,
      begunAt: 0,
      begunTime: 0,
      endedTime: 0,
      outcome: "under way",
      reads: [],
      deeds: [],
      renewals: [],
      minted: [],
      events: [],
      ended: [],
      revocations: [],
      told: null,
      faults: 0,
    };
    this.sent.push(sent);
    const met: Met = { sent, process: undefined, isOver: false };
    void this.#serve(met).finally(() => (met.isOver = true));
    return met;
  }

  async #serve(met: Met): Promise<void> {
    const { sent } = met;
    const { who, server: at, client, presents, acts } = sent;
    await this.stage.call(this.network, `${who} begins`, () => {});
    const server = this.servers[at];
    const jar = this.clients[client];
    if (server === undefined || jar === undefined) throw new Error("There is no such server or client");
    const { process, sessions, users, faults } = server;
    met.process = process;
    sent.begunAt = this.instant();
    sent.begunTime = this.clock.now();
    sent.presented = presents === "cookie" ? jar.cookie : jar.first;
    this.trace.push(`${who} presents ${sent.presented} to server ${at}: ${acts.join(", ")}`);
    const request = new Request(
      SHOP,
      sent.presented === null ? {} : { headers: { Cookie: `__Host-session=${sent.presented}` } },
    );
    this.requests.set(request, sent);
    const visit = new Visit(this, sent, users);
    const handle = withSession<Data>(async (_request, session) => {
      await visit.handle(session);
      return new Response();
    }, sessions);
    await within(process, async () => {
      try {
        const response = await handle(request);
        sent.told = toldBy(response);
        visit.acknowledge();
        sent.outcome = "answered";
      } catch (error) {
        sent.error = error;
        sent.outcome = error instanceof Error && error.message === ON_PURPOSE ? "failed on purpose" : "failed";
      }
      sent.endedTime = this.clock.now();
      sent.endedAt = this.instant();
      sent.faults = (this.servers[at]?.faults ?? 0) - faults;
      this.trace.push(
        `${who} is over: ${sent.outcome}${sent.outcome === "failed" ? ` (${String(sent.error)})` : ""}, told ${sent.told}`,
      );
      const { answered } = { answered: this.#answer(sent, jar) };
      await visit.goOnLate();
      await answered;
    });
  }

  async #answer(sent: Sent, jar: { cookie: string | null; first: string | null }): Promise<void> {
    await this.stage.call(this.network, `${sent.who} is answered`, () => {});
    // The browser with a planted id is another one than the client's, so the client's cookie stays.
    if (sent.told === null || sent.presents === "first id") return;
    jar.cookie = sent.told === "over" ? null : sent.told;
    jar.first ??= jar.cookie;
  }

  /** Opens every id on every server, and records what is found. */
  async audit(): Promise<void> {
    const seen: Seen[] = [];
    const listed: string[][] = [];
    for (const [at, { sessions, users }] of this.#auditors.entries()) {
      for (const presented of this.ids) {
        const session = sessions.open(presented);
        const id = await session.id();
        if (id === null) continue;
        const all = await session.all();
        const { birth = null, log = [], flag } = all;
        seen.push({
          server: at,
          presented,
          id,
          birth,
          keys: Object.keys(all),
          log,
          flag,
          handle: await users.handle(session),
        });
      }
      listed.push((await users.list(USER)).map(({ handle }) => handle));
    }
    this.audits.push({ at: this.instant(), time: this.clock.now(), seen, listed });
  }
}

const HARMLESS: ReadonlySet<Fate> = new Set(["done", "done, answered later"]);

/** The calls of one handler. */
class Visit {
  readonly #player: Player;
  readonly #sent: Sent;
  readonly #users: UserSessions;
  #session: Session<Data> | undefined;
  #birth: string | null = null;
  /** Whether the session is in the store, as far as this request knows. */
  #isStored = false;
  #isRenewing = false;
  #births = 0;
  #waiting: (Deed | Sent["ended"][number])[] = [];

  constructor(player: Player, sent: Sent, users: UserSessions) {
    this.#player = player;
    this.#sent = sent;
    this.#users = users;
  }

  async handle(session: Session<Data>): Promise<void> {
    const { acts, who } = this.#sent;
    this.#session = session;
    this.#birth = (await session.get("birth")) ?? null;
    this.#sent.found = this.#birth;
    this.#isStored = this.#birth !== null;
    this.#player.trace.push(`    ${who} finds ${this.#birth}`);
    try {
      for (const [index, act] of acts.entries())
        if (act !== "append late") await this.#act(session, act, `${who}.${index}`);
    } catch (error) {
      // Another request has ended the session, so this one has nothing left to do.
      if (!(error instanceof SessionError && error.code === "ERR_SESSION_GONE")) throw error;
      this.#waiting = this.#waiting.filter((each) => !("does" in each));
    }
  }

  /** Marks all pending changes as acknowledged. */
  acknowledge(): void {
    const isGone = this.#sent.events.some(({ type }) => type === "gone");
    const now = this.#player.instant();
    for (const each of this.#waiting) if (!isGone || !("does" in each)) each.ackedAt = now;
    this.#waiting = [];
    this.#isStored = this.#birth !== null;
    this.#isRenewing = false;
  }

  /** The calls after the response. */
  async goOnLate(): Promise<void> {
    const { acts, who, outcome } = this.#sent;
    for (const [index, act] of acts.entries()) {
      if (act !== "append late" || outcome !== "answered" || this.#session === undefined || this.#birth === null)
        continue;
      await this.#append(this.#session, this.#birth, `${who}.${index}`).catch((error: unknown) => {
        if (!(error instanceof SessionError)) throw error;
      });
    }
  }

  async #act(session: Session<Data>, act: Act, tag: string): Promise<void> {
    const { renewals, revocations, ended, reads } = this.#sent;
    const player = this.#player;
    switch (act) {
      case "read": {
        const list = await session.get("log");
        if (this.#birth !== null && this.#isStored) reads.push({ birth: this.#birth, list: [...(list ?? [])] });
        return;
      }
      case "append":
        return await this.#append(session, this.#begin(session), tag);
      case "set":
        this.#note("set", `own ${tag}`, session);
        return session.set(`own ${tag}`, true);
      case "on":
      case "off":
        this.#note("flag", act, session);
        return session.set("flag", act);
      case "touch":
        return session.touch();
      case "save":
        await session.save();
        return this.acknowledge();
      case "regenerate":
      case "regenerate with a grace": {
        const hasGrace = act === "regenerate with a grace";
        const from = this.#isStored && !this.#isRenewing ? await session.id() : (renewals.at(-1)?.from ?? null);
        renewals.push({ from, hasGrace, askedAt: player.instant() });
        this.#isRenewing = this.#isStored;
        return await session.regenerate(hasGrace ? { grace: GRACE } : {});
      }
      case "destroy": {
        await session.destroy();
        const end = { birth: this.#birth };
        ended.push(end);
        this.#waiting = [end];
        this.#birth = null;
        this.#isStored = this.#isRenewing = false;
        return;
      }
      case "bind":
        this.#note("bind", USER, session);
        return await this.#users.bind(session, USER);
      case "unbind":
        if (this.#birth !== null) this.#note("unbind", USER, session);
        return await this.#users.unbind(session);
      case "revokeAll":
      case "revokeAll but this": {
        const sparesOwn = act === "revokeAll but this";
        const revocation: Sent["revocations"][number] = {
          begunAt: player.instant(),
          spares: sparesOwn ? this.#birth : null,
        };
        revocations.push(revocation);
        await this.#users.revokeAll(USER, sparesOwn ? { except: session } : {});
        revocation.ackedAt = player.instant();
        return;
      }
      case "fail":
        throw new Error(ON_PURPOSE);
      case "append late":
        return;
    }
  }

  async #append(session: Session<Data>, birth: string, tag: string): Promise<void> {
    const begunAt = this.#player.instant();
    // An update that never returns may still have been done.
    const unanswered: Deed = { does: "append", value: tag, birth, begunAt };
    const at = this.#sent.deeds.push(unanswered) - 1;
    const list = [...(await session.update("log", (log = []) => [...log, tag]))];
    const deed: Deed = { ...unanswered, list };
    this.#sent.deeds[at] = deed;
    this.#player.trace.push(`    ${tag} → ${list.join(" ")}`);
    if (this.#isStored && !this.#isRenewing) deed.ackedAt = this.#player.instant();
    else this.#waiting.push(deed);
    // With a new id, all changes are stored at once.
    if (this.#isRenewing) this.acknowledge();
  }

  #note(does: Deed["does"], value: string, session: Session<Data>): void {
    const deed: Deed = { does, value, birth: this.#begin(session), begunAt: this.#player.instant() };
    this.#sent.deeds.push(deed);
    this.#waiting.push(deed);
  }

  /** Gives the session a name if it begins here. */
  #begin(session: Session<Data>): string {
    if (this.#birth !== null) return this.#birth;
    this.#birth = `${this.#sent.who}${"'".repeat(this.#births++)}`;
    session.set("birth", this.#birth);
    return this.#birth;
  }
}

/** Plays a history. Meanwhile it replaces the timers, `performance.now` and `Math.random` of this process. */
export async function playHistory(program: HistoryProgram, breaking: Breaking = {}): Promise<History> {
  const giveBack = takeOverTime(seededRandom(program.seed));
  try {
    const player = new Player(program, breaking);
    await begin(player, program.isBound);
    const stuck: string[] = [];
    for (const [round, { later, requests }] of program.rounds.entries()) {
      player.clock.advance(later);
      if (later > 0) player.trace.push(`${later} s later`);
      stuck.push(...(await player.meet(requests, round)));
      await player.audit();
    }
    const { sent, engine, audits, clients, ids, trace, calls, faults, crashes, conflicts } = player;
    return { program, sent, engine, audits, clients, ids, trace, stuck, calls, faults, crashes, conflicts, grouped: 0 };
  } finally {
    giveBack();
  }
}

/** Each client begins a session. */
async function begin(player: Player, isBound: boolean): Promise<void> {
  for (const [at, client] of player.clients.entries()) {
    const { sessions, users } = player.manager(0, undefined, true);
    const session = sessions.start(new Request(SHOP));
    session.set({ birth: `client ${at}`, log: [], flag: "off" });
    if (isBound) await users.bind(session, USER);
    await session.save();
    client.cookie = client.first = await session.id();
  }
}

function toldBy(response: Response): Sent["told"] {
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 1) throw new Error(`There are ${cookies.length} cookies`);
  const [cookie] = cookies;
  if (cookie === undefined) return null;
  if (/; Max-Age=0(;|$)/.test(cookie)) return "over";
  return /^__Host-session=([^;]*)/.exec(cookie)?.[1] ?? null;
}
