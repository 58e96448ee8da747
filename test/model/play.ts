import {
  type Plugin,
  type Session,
  SessionError,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { Stage, stagedStore } from "../interleavings/stage.ts";
import type { Operation } from "../linearizability/checker.ts";
import { serverClock } from "../setup/clocks.ts";
import { type Process, quiet, startProcess, takeOverTime, within } from "../setup/processes.ts";
import { textOf } from "./contents.ts";
import { ABSOLUTE, type Call, IDLE, type Program, TOUCH, type Visit } from "./program.ts";
import type { Observed } from "./view.ts";
import {
  answer,
  editOf,
  fail,
  inspect,
  look,
  type Outcome,
  type Promised,
  store,
  type Told,
  update,
  type World,
} from "./world.ts";

/** The result of a program: its history, which the model must explain. */
export interface Played {
  readonly history: readonly Operation<World>[];
  /** What happened, in order. It helps to find the cause of a fault. */
  readonly trace: readonly string[];
  readonly requests: number;
  readonly conflicts: number;
}

/** A store, and whether the requests of a server share a process. Requests in one process store their changes together. */
export interface Engine {
  readonly store: SessionStore;
  readonly isShared: boolean;
  /** A capability that breaks its contract, made for each server. */
  readonly plugin?: () => Plugin;
}

interface Data {
  a: string;
  b: string;
  note: string;
  n: number;
  list: string[];
  box: string[];
}

/** What a browser knows about its cookie. */
interface Browser {
  cookie: string | null;
  first: string | null;
}

/** A process of a server. */
interface Server {
  readonly process: Process;
  readonly sessions: SessionManager<Data>;
}

/** A request that is being served. */
interface Guest {
  readonly who: string;
  readonly ids: string[];
  isGone: boolean;
}

const SHOP = "https://shop.example/";
const MADE_UP = "M".repeat(22);
const ON_PURPOSE = "The handler fails";

/**
 * Plays a program with the real library. Each request waits before it begins and before each call of the store, until
 * it is its turn.
 */
export async function play(program: Program, engine: Engine): Promise<Played> {
  const giveBack = takeOverTime(() => 0);
  try {
    const player = new Player(program, engine);
    for (const round of program.rounds.keys()) await player.playRound(round);
    await player.audit();
    player.advance(31);
    await player.audit();
    const { history, trace, requests, conflicts } = player;
    return { history, trace, requests, conflicts };
  } finally {
    giveBack();
  }
}

class Player {
  readonly history: Operation<World>[] = [];
  readonly trace: string[] = [];
  requests = 0;
  conflicts = 0;
  readonly #program: Program;
  readonly #engine: Engine;
  readonly #promised: Promised;
  readonly #clock = fakeClock(1_800_000_000_000);
  readonly #clocks: readonly (() => number)[];
  /** The times that the clocks showed, and the stamp from which on they showed them. */
  readonly #shown: { from: number; times: number[] }[];
  readonly #network = startProcess();
  readonly #stage = new Stage({ hear: (line) => void this.trace.push(line) });
  readonly #servers: readonly Server[];
  readonly #guests = new Map<Request, Guest>();
  readonly #issued: string[] = [];
  readonly #browsers: Browser[] = [
    { cookie: null, first: null },
    { cookie: null, first: null },
  ];
  #stamps = 0;
  #turns = 0;

  constructor(program: Program, engine: Engine) {
    this.#program = program;
    this.#engine = engine;
    this.#promised = { merges: engine.store.traits.compareAndSet };
    this.#clocks = program.clocks.map((plan) => serverClock(this.#clock.now, plan));
    this.#shown = [{ from: 0, times: this.#clocks.map((now) => now()) }];
    this.#servers = this.#clocks.map((_, at) => this.#start(at));
  }

  advance(seconds: number): void {
    if (seconds === 0) return;
    this.#clock.advance(seconds);
    this.#shown.push({ from: this.#stamp(), times: this.#clocks.map((now) => now()) });
    this.trace.push(`${seconds} s later`);
  }

  async playRound(round: number): Promise<void> {
    const { later = 0, meanwhile = 0, visits = [] } = this.#program.rounds[round] ?? {};
    this.advance(later);
    let underWay = visits.length;
    const enter = async (visit: Visit, who: string): Promise<void> => {
      await this.#stage.call(this.#network, `${who} begins`, () => {});
      await this.#visit(visit, who);
      underWay--;
    };
    const failures: unknown[] = [];
    for (const [index, each] of visits.entries())
      enter(each, `${round}${"abc"[index]}`).catch((error) => failures.push(error));
    if (meanwhile > 0) void this.#stage.call(this.#network, "time passes", () => this.advance(meanwhile));
    for (;;) {
      await quiet();
      if (failures.length > 0) throw failures[0];
      const { waiting } = this.#stage;
      if (waiting.length === 0) break;
      const turn = this.#program.turns[this.#turns++] ?? 0;
      const next = waiting[turn % waiting.length];
      // An odd turn delays the answer of the call.
      if (next !== undefined)
        await this.#stage.step(
          next,
          next.process !== this.#network && turn % 2 === 1 ? "done, answered later" : "done",
        );
    }
    if (underWay > 0) throw failures[0] ?? new Error("A request never ends");
  }

  /** Opens every id that was ever issued, by the clock of each server, and adds what it finds to the history. */
  async audit(): Promise<void> {
    for (const now of this.#clocks) {
      const sessions = new SessionManager({ ...this.#options(now), store: this.#engine.store });
      for (const id of [...this.#issued, MADE_UP]) {
        const session = sessions.open(id);
        const found = await session.id();
        const { lastSeenAt } = await session.info();
        const seen = found === null ? null : { id: found, contents: await session.all(), lastSeenAt };
        const [at, text, time] = [this.#stamp(), textOf(seen), now()];
        const apply = (world: World): World[] => (textOf(inspect(world, id, time)) === text ? [world] : []);
        this.history.push({
          process: `audit ${at}`,
          invoked: at,
          returned: at,
          label: `in the end ${id} leads to ${text}`,
          apply,
        });
      }
    }
  }

  #options(now: () => number): SessionOptions<Data> {
    const generateId = (request?: Request): string => this.#mint(request);
    return { idleTimeout: IDLE, touchInterval: TOUCH, absoluteTimeout: ABSOLUTE, storeTimeout: 60, now, generateId };
  }

  #start(at: number): Server {
    const process = startProcess();
    const options: SessionOptions<Data> = {
      ...this.#options(this.#clocks[at] ?? this.#clock.now),
      store: stagedStore(this.#stage, process, this.#engine.store, `server ${at} `),
      plugins: this.#engine.plugin === undefined ? [] : [this.#engine.plugin()],
      onEvent: ({ type, request }) => {
        const guest = request && this.#guests.get(request);
        if (guest !== undefined && type === "gone") guest.isGone = true;
        if (type === "conflict") this.conflicts++;
      },
    };
    return { process, sessions: within(process, () => new SessionManager<Data>(options)) };
  }

  #mint(request: Request | undefined): string {
    const id = `${this.#issued.length}`.padStart(22, "0");
    this.#issued.push(id);
    if (request !== undefined) this.#guests.get(request)?.ids.push(id);
    return id;
  }

  #stamp(): number {
    return ++this.#stamps;
  }

  /** The times that the clock of a server may have shown between two stamps. */
  #timesWithin(server: number, invoked: number, returned: number): number[] {
    const before = this.#shown.findLast(({ from }) => from <= invoked);
    const within = [before, ...this.#shown.filter(({ from }) => from > invoked && from <= returned)];
    return [...new Set(within.map((each) => each?.times[server] ?? 0))];
  }

  async #visit({ server, browser, presents, calls }: Visit, who: string): Promise<void> {
    this.requests++;
    const jar = this.#browsers[browser];
    const serving = this.#engine.isShared ? this.#servers[server] : this.#start(server);
    if (jar === undefined || serving === undefined) throw new Error("There is no such browser or server");
    const presented = { "cookie": jar.cookie, "first id": jar.first, "made-up id": MADE_UP }[presents];
    const request = new Request(SHOP, presented === null ? {} : { headers: { Cookie: `__Host-session=${presented}` } });
    const guest: Guest = { who, ids: [], isGone: false };
    this.#guests.set(request, guest);
    const { trace } = this;
    const steps: Step[] = [];
    let loaded: { readonly asked: number; readonly answered: number } | undefined;
    let hadGone = false;
    let seen: Observed[] = [];
    const looks = seen;
    const push = (step: Omit<Step, "calls">): void => {
      seen = [];
      steps.push({ ...step, calls: seen });
    };

    const handle = async (session: Session<Data>): Promise<void> => {
      for (const [index, call] of calls.entries()) {
        const tag = `${who}.${index}`;
        const invoked = this.#stamp();
        const isEarly = loaded === undefined && !isAnswered(call);
        if (call.call === "fail") throw new Error(ON_PURPOSE);
        if (call.call === "count" || call.call === "count twice" || call.call === "append") {
          const outcomes = await updated(session, call, tag);
          loaded ??= { asked: invoked, answered: this.#stamp() };
          for (const outcome of outcomes)
            push({ does: "update", invoked, returned: this.#stamp(), outcome, call, tag });
          trace.push(`${who} ${call.call} → ${JSON.stringify(outcomes)}`);
          hadGone = outcomes.includes("gone");
        } else if (call.call === "save") {
          const outcome = await orGone(() => session.save());
          loaded ??= { asked: invoked, answered: this.#stamp() };
          push({ does: "save", invoked, returned: this.#stamp(), outcome: outcome ?? "stored", call, tag });
          trace.push(`${who} save() → ${outcome ?? "stored"}`);
          hadGone = outcome === "gone";
        } else {
          const answered = await orGone(() => make(session, call, tag));
          if (answered === "gone")
            push({ does: "create", invoked, returned: this.#stamp(), outcome: "gone", call, tag });
          else seen.push({ call, tag, isEarly, answer: answered });
          trace.push(`${who} ${JSON.stringify(call)} → ${JSON.stringify(answered)}`);
          hadGone = answered === "gone";
          if (isAnswered(call)) loaded ??= { asked: invoked, answered: this.#stamp() };
        }
        if (hadGone) break;
      }
    };
    let over = 0;
    const wrapped = withSession<Data>(async (_request, session) => {
      try {
        await handle(session);
      } finally {
        guest.isGone = false;
        over = this.#stamp();
      }
      return new Response();
    }, serving.sessions);
    trace.push(`${who} presents ${presented} to server ${server}`);
    const response = await within(serving.process, () => wrapped(request)).catch((error: unknown) => {
      if (error instanceof Error && error.message === ON_PURPOSE) return null;
      throw error;
    });
    const returned = this.#stamp();
    const told = response === null ? null : toldBy(response);
    if (told !== null) jar.cookie = told === "over" ? null : told.id;
    if (told !== null && told !== "over") jar.first ??= told.id;
    trace.push(
      `${who} ${response === null ? "fails" : `is answered with ${JSON.stringify(told)}`}${guest.isGone ? ", gone" : ""}`,
    );

    const isFailed = response === null;
    const outcome: Outcome = guest.isGone || hadGone ? "gone" : "stored";
    const called = (names: readonly Call["call"][]): boolean => calls.every(({ call }) => names.includes(call));
    // `keepFlash` without an earlier read does not load the session, and a request that fails before it has loaded the session
    // has done nothing.
    if (told === null && called(["keepFlash", "fail"])) return;
    if (isFailed && loaded === undefined && steps.length === 0) return;
    if (!isFailed && !hadGone)
      steps.push({ does: "finish", invoked: over, returned, outcome, calls: [], call: { call: "save" }, tag: "" });
    const [first] = steps;
    const asked = Math.min(loaded?.asked ?? Infinity, first?.invoked ?? Infinity);
    const answered = loaded?.answered ?? first?.returned ?? returned;
    const add = (invoked: number, returned: number, label: string, apply: Operation<World>["apply"]): void => {
      this.history.push({ process: who, invoked, returned, label: `${who} ${label}`, apply });
    };
    const lookTimes = [
      ...new Set([
        ...this.#timesWithin(server, asked, answered),
        ...this.#timesWithin(server, asked, first?.invoked ?? over),
      ]),
    ];
    const process = this.#engine.isShared ? `server ${server}` : who;
    add(asked, answered, `looks with ${presented}: ${JSON.stringify(looks)}`, (world) =>
      look(world, { who, process }, presented, guest.ids, lookTimes, looks),
    );
    for (const step of steps) {
      const times = this.#timesWithin(server, step.invoked, step.returned);
      add(step.invoked, step.returned, labelOf(step), (world) => applied(world, who, step, times, this.#promised));
    }
    if (isFailed) add(over, returned, "fails", (world) => fail(world, who));
    else add(returned, returned, `is told ${JSON.stringify(told)}`, (world) => answer(world, who, told, outcome));
  }
}

/** A request's attempt to store something. */
interface Step {
  readonly does: "update" | "save" | "create" | "finish";
  readonly invoked: number;
  readonly returned: number;
  /** The value that an update returned, or the result of another call. */
  readonly outcome: unknown;
  readonly call: Call;
  readonly tag: string;
  readonly calls: readonly Observed[];
}

function labelOf({ does, call, outcome, calls }: Step): string {
  return `${does === "update" ? call.call : does}: ${JSON.stringify(outcome)}, then ${JSON.stringify(calls)}`;
}

function applied(
  world: World,
  who: string,
  { does, outcome, call, tag, calls }: Step,
  times: readonly number[],
  promised: Promised,
): World[] {
  if (does === "update")
    return update(world, who, times, promised, { edit: editOf(call, tag), answer: outcome }, calls);
  // The library refuses to begin a session in place of one that was just regenerated.
  if (does === "create") return world.views[who]?.rejected === "replaced" ? [world] : [];
  return store(world, who, times, promised, outcome === "gone" ? "gone" : "stored", calls);
}

/** Updates a key, once or twice at the same time. Returns the results. */
async function updated(session: Session<Data>, { call }: Call, tag: string): Promise<unknown[]> {
  const count = (): Promise<unknown> => orGone(() => session.update("n", (n = 0) => n + 1));
  if (call === "count twice") return await Promise.all([count(), count()]);
  if (call === "count") return [await count()];
  const list = await orGone(() => session.update("list", (list = []) => [...list, tag]));
  return [Array.isArray(list) ? [...list] : list];
}

/** Makes a call. Returns null in place of undefined. */
async function make(session: Session<Data>, call: Call, tag: string): Promise<unknown> {
  switch (call.call) {
    case "get":
      return copy((await session.get(call.key as keyof Data)) ?? null);
    case "pull":
      return copy((await session.pull(call.key as keyof Data)) ?? null);
    case "has":
      return await session.has(call.key as keyof Data);
    case "keys":
      return (await session.keys()).sort();
    case "all":
      return structuredClone({ ...(await session.all()) });
    case "set":
      return said(session.set(call.key as "a", call.isOwn ? tag : "common"));
    case "delete":
      return said(session.delete(call.key as keyof Data));
    case "clear":
      return said(session.clear());
    case "mutate": {
      const box = await session.get("box");
      box?.push(tag);
      if (box === undefined) session.set("box", [tag]);
      return [...(box ?? [tag])];
    }
    case "flash":
      return said(session.flash(call.key as "note", tag));
    case "keepFlash":
      return said(session.keepFlash());
    case "create":
      return await session.create();
    case "id":
      return await session.id();
    case "info": {
      const { isNew, createdAt, lastSeenAt } = await session.info();
      return { isNew, createdAt, lastSeenAt };
    }
    case "destroy":
      return said(await session.destroy());
    case "regenerate":
      return said(await session.regenerate({ grace: call.grace, reauthenticated: call.reauthenticated }));
    case "touch":
      return said(session.touch());
    case "setTimeouts": {
      const { call: _, ...timeouts } = call;
      return said(session.setTimeouts(timeouts));
    }
    default:
      throw new Error(`There is no call of the name ${call.call}`);
  }
}

const said = (_nothing: void): null => null;
const copy = (value: unknown): unknown => (Array.isArray(value) ? [...value] : value);

/** Whether a call loads the session. */
function isAnswered({ call }: Call): boolean {
  return !["set", "delete", "clear", "flash", "keepFlash", "touch", "setTimeouts"].includes(call);
}

/** The result of a call, or "gone" if another request has ended the session. */
async function orGone<Answer>(act: () => Promise<Answer>): Promise<Answer | "gone"> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof SessionError && error.code === "ERR_SESSION_GONE") return "gone";
    throw error;
  }
}

function toldBy(response: Response): Told {
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 1) throw new Error(`There are ${cookies.length} cookies`);
  const [cookie] = cookies;
  if (cookie === undefined) return null;
  if (/; Max-Age=0(;|$)/.test(cookie)) return "over";
  return { id: /^__Host-session=([^;]*)/.exec(cookie)?.[1] ?? "" };
}
