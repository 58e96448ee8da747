import { withSession } from "../../../mod.ts";
import { fakeClock } from "../../../src/testing.ts";
import { passTime, type Process, playSeeded, quiet, startProcess, within } from "../../setup/processes.ts";
import type { Decision } from "../history_program.ts";
import { type Fate, Stage } from "../stage.ts";
import { Browser, toldBy } from "./browser.ts";
import { Handling, ON_PURPOSE } from "./handler.ts";
import type { Copy, Data, History, Sent } from "./history.ts";
import { ABSOLUTE, BROWSERS, IDLE, type Program, type Round, type Visit, visitInWords } from "./program.ts";
import { type Breaking, Servers } from "./servers.ts";

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
  readonly #tellers = new Map<string, Sent>();
  readonly #sent: Sent[] = [];
  readonly #trace: string[] = [];
  readonly #stuck: string[] = [];
  #instants = 0;
  #decisions = 0;
  #calls = 0;
  #faults = 0;

  constructor(program: Program, breaking: Breaking) {
    this.#program = program;
    const { now } = this.#clock;
    this.#stage = new Stage({
      onCrash: (process) => this.#servers.restart(process),
      hear: (line) => this.#trace.push(`    ${line}`),
    });
    const hear: ConstructorParameters<typeof Servers>[3] = ({ request, type, ...event }) => {
      const sent = request && this.#requests.get(request);
      const reason = "reason" in event && event.reason !== undefined ? { reason: event.reason } : {};
      sent?.events.push({ type, ...reason });
      if (sent !== undefined && type !== "loaded")
        this.#trace.push(`    ${sent.who} hears ${type} ${reason.reason ?? ""}`);
    };
    this.#servers = new Servers(program.setting, now, this.#stage, hear, breaking);
    this.#browsers = Array.from({ length: BROWSERS }, () => new Browser(now));
  }

  async play(): Promise<History> {
    const { rounds } = this.#program;
    for (const [at, round] of rounds.entries()) {
      await this.#round(round);
      const isLast = at === rounds.length - 1;
      for (const server of isLast ? this.#servers.all.keys() : round.audit === null ? [] : [round.audit])
        await this.#audit(server);
    }
    return {
      program: this.#program,
      sent: this.#sent,
      stuck: this.#stuck,
      trace: this.#trace,
      calls: this.#calls,
      faults: this.#faults,
      crashes: this.#servers.crashes,
    };
  }

  async #round({ later, meanwhile, deploys, visits }: Round): Promise<void> {
    this.#clock.advance(later);
    if (later > 0) this.#trace.push(`${later} s later`);
    if (deploys !== null && this.#servers.deploy(deploys))
      this.#trace.push(`server ${deploys} is replaced by version ${this.#servers.all[deploys]?.version}`);
    if (meanwhile > 0)
      void this.#stage.call(this.#network, `${meanwhile} s pass`, () => this.#clock.advance(meanwhile));
    await this.#meet(visits, () => this.#program.decisions[this.#decisions++] ?? LAST);
  }

  /** Each browser reads its session, and nothing fails. */
  async #audit(server: number): Promise<void> {
    for (const browser of this.#browsers.keys())
      await this.#meet([{ browser, server, copy: null, act: { does: "read" } }], () => LAST, true);
  }

  /** Plays requests that meet, until all are answered. */
  async #meet(visits: readonly Visit[], decide: () => Decision, isAudit = false): Promise<void> {
    const met = visits.map((visit) => {
      const each = { sent: this.#expect(visit, isAudit), process: undefined as Process | undefined, isOver: false };
      void this.#send(each).finally(() => (each.isOver = true));
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
      const { who, fate } = decide();
      const next = waiting[who % waiting.length];
      if (next === undefined) continue;
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

  #expect(visit: Visit, isAudit: boolean): Sent {
    const number = this.#sent.length + 1;
    const sent: Sent = {
      ...visit,
      number,
      who: `${number} (${visitInWords(visit)})`,
      isAudit,
      presented: null,
      begunAt: Infinity,
      begunTime: 0,
      endedAt: Infinity,
      endedTime: 0,
      heardAt: Infinity,
      outcome: "not sent",
      faults: 0,
      left: [],
      isDone: false,
      events: [],
      told: null,
      losesCookie: false,
    };
    this.#sent.push(sent);
    return sent;
  }

  async #send(met: { readonly sent: Sent; process: Process | undefined }): Promise<void> {
    const { sent } = met;
    const browser = this.#browsers[sent.browser];
    if (browser === undefined) throw new Error("There is no such browser");
    if (!(await this.#travels(`request ${sent.number}`))) return;
    const made = browser.request(sent);
    if (made === null) return;
    const { request } = made;
    this.#requests.set(request, sent);
    const presented = this.#readBy(sent.server, made.presented);
    Object.assign(sent, { presented, begunAt: this.#instant(), begunTime: this.#clock.now(), outcome: "under way" });
    const from = presented === null ? "nothing" : `the cookie of ${this.#tellers.get(presented.token)?.number}`;
    this.#trace.push(`${sent.who} presents ${from}`);
    await this.#serve(met, request);
    if (sent.outcome !== "answered" || sent.headers === undefined) return;
    if (!(await this.#travels(`response ${sent.number}`))) return;
    sent.heardAt = this.#instant();
    if (sent.copy === null) sent.losesCookie = browser.receive(sent.headers);
  }

  /** docs/deploying.md: "A client that presents only a cookie of a previous name keeps its session." */
  #readBy(server: number, presented: readonly Copy[]): Copy | null {
    for (const name of this.#servers.namesAt(server)) {
      const found = presented.find((each) => each.name === name);
      if (found !== undefined) return found;
    }
    return null;
  }

  async #serve(met: { readonly sent: Sent; process: Process | undefined }, request: Request): Promise<void> {
    const { sent } = met;
    const server = this.#servers.all[sent.server];
    if (server === undefined) throw new Error("There is no such server");
    const { process, sessions, died, faults } = server;
    met.process = process;
    const teller = sent.presented === null ? undefined : this.#tellers.get(sent.presented.token);
    const { idle, absolute } = teller?.left.findLast((each) => each !== null) ?? { idle: IDLE, absolute: ABSOLUTE };
    const handling = new Handling(sent, { idle, absolute });
    const handler = withSession<Data>((_request, session) => handling.handle(session), sessions);
    try {
      const response = await Promise.race([within(process, () => handler(request)), died]);
      if (response === "crashed") sent.outcome = "crashed";
      else {
        const told = toldBy(response.headers);
        Object.assign(sent, { outcome: "answered", told, headers: response.headers });
        if (told !== null && told !== "over" && !this.#tellers.has(told.token)) this.#tellers.set(told.token, sent);
      }
    } catch (error) {
      sent.error = error;
      sent.outcome = error instanceof Error && error.message === ON_PURPOSE ? "failed on purpose" : "failed";
    }
    sent.faults = (this.#servers.all[sent.server]?.faults ?? 0) - faults;
    Object.assign(sent, { endedAt: this.#instant(), endedTime: this.#clock.now() });
    const failure = sent.outcome === "failed" ? ` (${String(sent.error)})` : "";
    const told = sent.told === null ? "nothing" : sent.told === "over" ? "over" : `a cookie ${sent.told.name}`;
    const found = JSON.stringify(sent.found, (key, value: unknown) => (key === "text" ? "…" : value));
    this.#trace.push(`${sent.who} finds ${found}, is ${sent.outcome}${failure}, told ${told}`);
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
