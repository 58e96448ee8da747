import { withSession } from "../../../mod.ts";
import { fakeClock } from "../../../src/testing.ts";
import { passTime, type Process, playSeeded, quiet, startProcess, within } from "../../setup/processes.ts";
import type { Decision } from "../history_program.ts";
import { type Fate, Stage } from "../stage.ts";
import { Browser, toldBy } from "./browser.ts";
import { Handling, ON_PURPOSE } from "./handler.ts";
import type { Data, History, Listing, Sent } from "./history.ts";
import { BROWSERS, type Program, type Round, SERVERS, type User, type Visit, visitInWords } from "./program.ts";
import { type Breaking, engineName, type Reports, Servers } from "./servers.ts";

const HARMLESS: ReadonlySet<Fate> = new Set(["done", "done, answered later"]);
/** The most steps that requests take which meet. */
const MAX_STEPS = 3000;
const LAST: Decision = { who: 0, fate: "done" };

/** Plays a program. Meanwhile it replaces the timers, `performance.now` and the random numbers of this process. */
export async function playProgram(program: Program, breaking: Breaking = {}): Promise<History> {
  return await playSeeded(program.seed, () => new Player(program, breaking).play());
}

/** The state of one program while it is played. */
class Player {
  readonly #program: Program;
  readonly #clock = fakeClock(1_800_000_000_000);
  readonly #network = startProcess();
  readonly #stage: Stage;
  readonly #servers: Servers;
  readonly #browsers: readonly Browser[];
  readonly #requests = new Map<Request, Sent>();
  readonly #sent: Sent[] = [];
  readonly #listings: Listing[] = [];
  readonly #rounds: { at: number }[] = [];
  readonly #complaints: string[] = [];
  readonly #trace: string[] = [];
  readonly #stuck: string[] = [];
  #instants = 0;
  #decisions = 0;
  #calls = 0;
  #faults = 0;
  /** The engine that is down. */
  #down: { readonly engine: string; readonly isReadable: boolean } | null = null;

  constructor(program: Program, breaking: Breaking) {
    this.#program = program;
    const { now } = this.#clock;
    this.#stage = new Stage({
      onCrash: (process) => this.#servers.restart(process),
      hear: (line) => this.#trace.push(`    ${line}`),
    });
    const reports: Reports = {
      complain: (violation) => this.#complaints.push(violation),
      hear: ({ request, type, ...event }) => {
        const sent = request && this.#requests.get(request);
        const reason = "reason" in event && event.reason !== undefined ? { reason: event.reason } : {};
        sent?.events.push({ type, ...reason });
        if (sent !== undefined && type !== "loaded")
          this.#trace.push(`    ${sent.who} hears ${type} ${reason.reason ?? ""}`);
      },
    };
    this.#servers = new Servers(program.setting, now, this.#stage, reports, breaking);
    this.#browsers = Array.from({ length: BROWSERS }, (_, at) => new Browser(at, now));
  }

  async play(): Promise<History> {
    const { rounds } = this.#program;
    for (const [at, round] of rounds.entries()) {
      await this.#round(round);
      const last = Array.from({ length: SERVERS }, (_, server) => server);
      const servers = at === rounds.length - 1 ? last : round.audit === null ? [] : [round.audit];
      for (const server of servers) await this.#audit(server);
    }
    return {
      program: this.#program,
      sent: this.#sent,
      listings: this.#listings,
      rounds: this.#rounds,
      complaints: this.#complaints,
      stuck: this.#stuck,
      trace: this.#trace,
      calls: this.#calls,
      faults: this.#faults,
      crashes: this.#servers.crashes,
    };
  }

  async #round({ later, meanwhile, visits, phase, down, isReadable = false }: Round): Promise<void> {
    this.#clock.advance(later);
    if (later > 0) this.#trace.push(`${later} s later`);
    if (phase !== undefined) this.#servers.replaceAll(phase);
    this.#down = down === undefined ? null : { engine: engineName(down), isReadable };
    if (meanwhile > 0)
      void this.#stage.call(this.#network, `${meanwhile} s pass`, () => this.#clock.advance(meanwhile));
    await this.#meet(visits, () => this.#program.decisions[this.#decisions++] ?? LAST);
  }

  /** Each browser reads its session, and nothing fails. */
  async #audit(server: number): Promise<void> {
    this.#down = null;
    const { setting } = this.#program;
    for (const browser of this.#browsers.keys())
      await this.#meet([{ browser, server, presents: "cookies", copy: 0, act: { does: "read" } }], () => LAST, true);
    const at = this.#instant();
    if (setting.store !== "eventual" && setting.users !== null)
      for (const user of ["ada", "eve"] satisfies User[])
        this.#listings.push({ at, time: this.#clock.now(), user, handles: await this.#servers.list(server, user) });
    this.#rounds.push({ at });
  }

  /** Plays requests that meet, until all are answered. */
  async #meet(visits: readonly Visit[], decide: () => Decision, isAudit = false): Promise<void> {
    const queues = new Map<unknown, Promise<void>>();
    const met = visits.map((visit) => {
      const sent = this.#expect(visit, isAudit);
      const each = { sent, process: undefined as Process | undefined, isOver: false };
      const queue = this.#isAlone(visit, visits) ? visit.browser : sent;
      const turn = (queues.get(queue) ?? Promise.resolve()).then(() => this.#send(each));
      queues.set(
        queue,
        turn.finally(() => (each.isOver = true)),
      );
      return each;
    });
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      await quiet();
      const { waiting } = this.#stage;
      if (waiting.length === 0) {
        const late = met.filter(({ isOver }) => !isOver);
        if (late.length === 0) return;
        // The requests wait for nothing but a time limit.
        if (late.every(({ process }) => process === undefined || !passTime(process))) {
          this.#stuck.push(...late.map(({ sent }) => sent.who));
          return;
        }
        continue;
      }
      this.#clock.advance(0.001);
      const { who, fate: decided } = decide();
      const next = waiting[who % waiting.length];
      if (next === undefined) continue;
      const fate = HARMLESS.has(decided) && this.#isDown(next.label) ? "rejects" : decided;
      if (next.process === this.#network) {
        // The network loses a request or a response.
        await this.#stage.step(next, HARMLESS.has(fate) || next.label.endsWith("pass") ? "done" : "rejects");
        continue;
      }
      this.#calls++;
      const server = this.#servers.all.find(({ process }) => process === next.process);
      if (!HARMLESS.has(fate)) {
        this.#faults++;
        if (server !== undefined) server.faults++;
      }
      await this.#stage.step(next, fate);
    }
    this.#stuck.push(...met.filter(({ isOver }) => !isOver).map(({ sent }) => sent.who));
  }

  /**
   * Whether a request waits until the one before it of the same browser is answered. Where the store is eventually consistent, only requests meet that
   * change different keys, and no id: of other requests at once, the store keeps one.
   */
  #isAlone({ browser }: Visit, visits: readonly Visit[]): boolean {
    const { store, rotateEvery } = this.#program.setting;
    const own = visits.filter((each) => each.browser === browser).map(({ act }) => act.does);
    const mayMeet =
      own.every((does) => ["read", "add", "set"].includes(does)) && own.indexOf("add") === own.lastIndexOf("add");
    return store === "eventual" && !(mayMeet && rotateEvery === null);
  }

  #expect(visit: Visit, isAudit: boolean): Sent {
    const number = this.#sent.length + 1;
    const isEventual = this.#program.setting.store === "eventual";
    const sent: Sent = {
      ...visit,
      // Where the store is eventual, a copy changes nothing, because its client keeps no cookie of readYourWrites.
      act: isEventual && visit.presents !== "cookies" ? { does: "read" } : visit.act,
      number,
      who: `${number} (${visitInWords(visit)})`,
      isAudit,
      presented: null,
      begunAt: Infinity,
      endedAt: Infinity,
      heardAt: Infinity,
      begunTime: 0,
      endedTime: 0,
      outcome: "not sent",
      isRefused: false,
      faults: 0,
      values: {},
      events: [],
      deeds: [],
      told: null,
      overtakes: false,
    };
    this.#sent.push(sent);
    return sent;
  }

  async #send(met: { readonly sent: Sent; process: Process | undefined }): Promise<void> {
    const { sent } = met;
    const browser = this.#browsers[sent.browser];
    if (browser === undefined) throw new Error("There is no such browser");
    if (!(await this.#travels(`request ${sent.number}`))) return;
    const made = browser.request(sent, this.#program.setting.store === "eventual");
    if (made === null) return;
    const { request, presented } = made;
    this.#requests.set(request, sent);
    Object.assign(sent, { presented, begunAt: this.#instant(), begunTime: this.#clock.now(), outcome: "under way" });
    this.#trace.push(`${sent.who} presents ${presented?.slice(0, 6)}`);
    await this.#serve(met, request);
    if (sent.outcome !== "answered") return;
    if (!(await this.#travels(`response ${sent.number}`))) return;
    sent.heardAt = this.#instant();
    if (sent.presents === "cookies" && sent.headers !== undefined)
      sent.overtakes = browser.receive(sent.headers, presented);
  }

  async #serve(met: { readonly sent: Sent; process: Process | undefined }, request: Request): Promise<void> {
    const { sent } = met;
    const server = this.#servers.all[sent.server];
    if (server === undefined) throw new Error("There is no such server");
    const { process, sessions, died, faults } = server;
    met.process = process;
    const handling = new Handling(sent, this.#servers, () => this.#instant());
    const handler = withSession<Data>((_request, session) => handling.handle(session), sessions);
    const later: Promise<unknown>[] = [];
    const context = { waitUntil: (promise: Promise<unknown>) => void later.push(promise) };
    try {
      const response = await Promise.race([within(process, () => handler(request, context)), died]);
      if (response === "crashed") sent.outcome = "crashed";
      else {
        Object.assign(sent, { outcome: "answered", told: toldBy(response.headers), headers: response.headers });
        if (later.length === 0) handling.acknowledge();
        else
          void this.#afterwards(sent, Promise.race([Promise.all(later), died]), faults, () => handling.acknowledge());
      }
    } catch (error) {
      sent.error = error;
      sent.outcome = error instanceof Error && error.message === ON_PURPOSE ? "failed on purpose" : "failed";
    }
    sent.faults = (this.#servers.all[sent.server]?.faults ?? 0) - faults;
    Object.assign(sent, { endedAt: this.#instant(), endedTime: this.#clock.now() });
    const failure = sent.outcome === "failed" ? ` (${String(sent.error)})` : "";
    this.#trace.push(
      `${sent.who} finds ${JSON.stringify(sent.found)}, is ${sent.outcome}${failure}, told ${sent.told?.slice(0, 6)}`,
    );
  }

  /** Whether the engine is down that a call goes to. */
  #isDown(label: string): boolean {
    const down = this.#down;
    return down !== null && label.includes(down.engine) && !(down.isReadable && label.includes("load"));
  }

  /** Waits for what a server does after a response. */
  async #afterwards(sent: Sent, work: Promise<unknown>, faults: number, acknowledge: () => void): Promise<void> {
    sent.storedAt = Infinity;
    const done = await work;
    sent.faults = (this.#servers.all[sent.server]?.faults ?? 0) - faults;
    if (done === "crashed") return;
    sent.storedAt = this.#instant();
    acknowledge();
  }

  /** Whether the network carries a message. */
  async #travels(message: string): Promise<boolean> {
    return await this.#stage
      .call(this.#network, message, () => {})
      .then(
        () => true,
        () => false,
      );
  }

  #instant(): number {
    return ++this.#instants;
  }
}
