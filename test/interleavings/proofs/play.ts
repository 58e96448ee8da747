import { AsyncLocalStorage } from "node:async_hooks";
import { fakeClock } from "../../../src/testing.ts";
import { Browser } from "../../device_bound/browser.ts";
import { passTime, playSeeded, startProcess, within } from "../../setup/processes.ts";
import type { Decision } from "../history_program.ts";
import { type Fate, Stage } from "../stage.ts";
import type { Audit, History, Sent } from "./history.ts";
import { Expectations } from "./expectations.ts";
import { type Keys, KEYS } from "./keys.ts";
import { BrowserOwner, ClientOwner, type Owner } from "./owners.ts";
import { type Deed, OWNERS, type Program, SERVERS, type Visit, visitInWords } from "./program.ts";
import { type Breaking, Servers } from "./servers.ts";
import { type Message, Thief } from "./thief.ts";
import { addressOf, copyOf, learn, pathOf, presentedBy, sentFrom } from "./wire.ts";
import { type WatchedCrypto, watchCrypto } from "./watched_crypto.ts";

const HARMLESS: ReadonlySet<Fate> = new Set(["done", "done, answered later"]);
/** The most steps that visits take which meet. */
const MAX_STEPS = 3000;
const LAST: Decision = { who: 0, fate: "done" };

/** Plays a program. Meanwhile it replaces the timers, the random numbers and WebCrypto of this process. */
export async function playProgram(program: Program, breaking: Breaking = {}): Promise<History> {
  const keys = await KEYS;
  const watched = watchCrypto();
  try {
    return await playSeeded(program.seed, () => new Player(program, breaking, watched, keys).play());
  } finally {
    watched.giveBack();
  }
}

/** A visit under way. */
interface Met {
  readonly visit: Visit;
  readonly who: string;
  readonly sent: Sent[];
  /** How many requests it has given to the network. */
  carried: number;
  isOver: boolean;
}

/** The state of one program while it is played. */
class Player {
  readonly #program: Program;
  readonly #clock = fakeClock(1_800_000_000_000);
  readonly #network = startProcess();
  readonly #watched: WatchedCrypto;
  readonly #stage: Stage;
  readonly #servers: Servers;
  readonly #owners: readonly Owner[];
  readonly #thief: Thief;
  readonly #thiefsBrowser: Browser;
  readonly #expectations: Expectations;
  /** The visit to which a request belongs. */
  readonly #visiting = new AsyncLocalStorage<Met>();
  readonly #sent: Sent[] = [];
  readonly #audits: Audit[] = [];
  readonly #tokens: string[][] = Array.from({ length: OWNERS }, () => []);
  readonly #originals = new Map<string, { method: string; path: string; id: string | null }>();
  readonly #trace: string[] = [];
  readonly #stuck: string[] = [];
  #numbers = 0;
  #instants = 0;
  #decisions = 0;
  #calls = 0;
  #faults = 0;

  constructor(program: Program, breaking: Breaking, watched: WatchedCrypto, keys: Keys) {
    this.#program = program;
    this.#watched = watched;
    const { now } = this.#clock;
    const { setting } = program;
    this.#stage = new Stage({
      onCrash: (process) => this.#servers.restart(process),
      hear: (line) => this.#trace.push(`    ${line}`),
    });
    this.#servers = new Servers(setting, now, this.#stage, breaking);
    this.#owners = Array.from({ length: OWNERS }, (_, at) => {
      const send = (request: Request): Promise<Response> => this.#carry(request, at);
      const own = keys.browsers[at];
      if (own !== undefined) return new BrowserOwner(at, send, setting.reusesKeys ? own.slice(0, 1) : own, now);
      return new ClientOwner(send, keys.client, () => now() + setting.clientAhead * 1000);
    });
    this.#thief = new Thief(keys.thief, now);
    this.#thiefsBrowser = new Browser((request) => this.#serve(request, null), keys.thief, now);
    this.#expectations = new Expectations(setting, now);
  }

  async play(): Promise<History> {
    const { rounds } = this.#program;
    for (const [at, { later, visits, audit }] of rounds.entries()) {
      this.#clock.advance(later);
      if (later > 0) this.#trace.push(`${later} s later`);
      await this.#meet(visits, () => this.#program.decisions[this.#decisions++] ?? LAST);
      const last = Array.from({ length: SERVERS }, (_, server) => server);
      for (const server of at === rounds.length - 1 ? last : audit === null ? [] : [audit]) await this.#audit(server);
    }
    return {
      program: this.#program,
      sent: this.#sent,
      audits: this.#audits,
      forged: this.#thief.forged,
      originals: this.#originals,
      stuck: this.#stuck,
      trace: this.#trace,
      calls: this.#calls,
      faults: this.#faults,
      crashes: this.#servers.crashes,
    };
  }

  /** Each owner reads, and nothing fails. */
  async #audit(server: number): Promise<void> {
    for (let owner = 0; owner < OWNERS; owner++) {
      const expected = this.#expectations.of(owner);
      const [met] = await this.#meet(
        [{ by: "owner", owner, server, act: { does: "read" }, loses: "nothing" }],
        () => LAST,
      );
      const found = met?.sent.findLast(({ path }) => path === "/read")?.found?.login;
      if (expected !== undefined) this.#audits.push({ owner, expected, found, who: met?.who ?? "" });
      this.#expectations.correct(owner, found);
    }
  }

  /** Plays visits that meet, until all are over. */
  async #meet(visits: readonly Visit[], decide: () => Decision): Promise<Met[]> {
    const all = visits.map((visit): Met => {
      const met: Met = {
        visit,
        who: `${++this.#numbers} (${visitInWords(visit)})`,
        sent: [],
        carried: 0,
        isOver: false,
      };
      void this.#visiting.run(met, () => this.#visit(met, this.#numbers)).finally(() => (met.isOver = true));
      return met;
    });
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      await this.#watched.settle();
      const { waiting } = this.#stage;
      if (waiting.length === 0) {
        if (all.every(({ isOver }) => isOver)) break;
        // The visits wait for nothing but a time limit.
        if (!this.#servers.all.some(({ process }) => passTime(process))) break;
        continue;
      }
      this.#clock.advance(0.001);
      const { who, fate } = decide();
      const next = waiting[who % waiting.length];
      if (next === undefined) continue;
      if (next.process === this.#network) {
        await next.letGo(HARMLESS.has(fate) ? "done" : "rejects");
        continue;
      }
      this.#calls++;
      const server = this.#servers.all.find(({ process }) => process === next.process);
      if (!HARMLESS.has(fate)) {
        this.#faults++;
        if (server !== undefined) server.faults++;
      }
      await next.letGo(fate);
    }
    this.#stuck.push(...all.filter(({ isOver }) => !isOver).map(({ who }) => who));
    this.#expectations.note(all, (owner) => this.#owners[owner]!.copy().id);
    return all;
  }

  async #visit(met: Met, number: number): Promise<void> {
    const { visit } = met;
    // All visits of a round are under way before the first of them sends a request.
    await Promise.resolve();
    if (visit.by === "thief") return await this.#commit(visit.deed, number);
    const owner = this.#owners[visit.owner];
    const { path, headers } = addressOf(visit.act, visit.owner, number, this.#tokens);
    await owner?.visit(path, headers).catch((error: unknown) => {
      if (!(error instanceof TypeError)) throw error;
      this.#trace.push(`${met.who} fails: ${error.message}`);
    });
    for (const { form } of met.sent) if (form !== undefined) this.#tokens[visit.owner]?.push(form.token);
  }

  async #commit(deed: Deed, number: number): Promise<void> {
    if (deed.does === "copy") return this.#thief.keep(this.#owners[deed.owner]!.copy());
    if (deed.does === "plant") {
      await this.#thiefsBrowser.fetch(`/login?number=${number}&grace=0`, { method: "POST" });
      const copy = copyOf(this.#thiefsBrowser);
      this.#thief.keep(copy);
      const owner = this.#owners[deed.owner];
      if (owner instanceof BrowserOwner) owner.plant(copy);
      return;
    }
    const attack = await this.#thief.attack(deed, number);
    if (attack === null) return;
    await this.#serve(attack.request, null);
    const sent = this.#sentOf(attack.request);
    const { toldId, toldSecond } = sent ?? {};
    if (toldId === undefined && toldSecond === undefined) return;
    const { copy } = attack;
    this.#thief.keep({
      ...copy,
      id: toldId === undefined ? copy.id : toldId,
      second: toldSecond === undefined ? copy.second : toldSecond,
    });
  }

  readonly #requests = new WeakMap<Request, Sent>();
  #sentOf(request: Request): Sent | undefined {
    return this.#requests.get(request);
  }

  /** Carries a request of an owner, which the thief sees, and its response. The network may lose both. */
  async #carry(request: Request, owner: number): Promise<Response> {
    const lost = (): Response => new Response(null, { status: 599 });
    const { headers } = request;
    const message: Message = {
      method: request.method,
      path: pathOf(request),
      copy: { owner, ...presentedBy(request) },
      dbsc: headers.get("Secure-Session-Response"),
      dbscId: headers.get("Sec-Secure-Session-Id"),
      dpop: headers.get("DPoP"),
    };
    this.#thief.see(message);
    const { method, path, copy, dpop } = message;
    if (dpop !== null) this.#originals.set(dpop, { method, path, id: copy.id });
    const met = this.#visiting.getStore();
    const isFirst = met !== undefined && met.carried++ === 0;
    const loses = isFirst && met.visit.by === "owner" ? met.visit.loses : "nothing";
    if (!(await this.#travels(`request of owner ${owner} for ${path}`)) || loses === "request") return lost();
    const response = await this.#serve(request, owner);
    if (!(await this.#travels(`response to owner ${owner} for ${path}`)) || loses === "response") return lost();
    const sent = this.#sentOf(request);
    if (sent?.outcome === "answered") sent.heardAt = this.#instant();
    return response;
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

  async #serve(request: Request, owner: number | null): Promise<Response> {
    const met = this.#visiting.getStore();
    const server = this.#servers.all[met?.visit.server ?? 0];
    if (server === undefined) throw new Error("There is no such server");
    const { process, handle, died, now, faults } = server;
    const sent = sentFrom(request, {
      number: this.#sent.length + 1,
      who: `${met?.who} ${request.method} ${pathOf(request)}`,
      owner,
      begunAt: this.#instant(),
      begunTime: this.#clock.now(),
      begunClock: now(),
    });
    const { id, second } = sent;
    this.#sent.push(sent);
    met?.sent.push(sent);
    this.#requests.set(request, sent);
    this.#trace.push(`${sent.who} presents ${id?.slice(0, 6)} and ${second?.slice(0, 12)}`);
    let response: Response | "crashed" = new Response(null, { status: 500 });
    try {
      response = await Promise.race([within(process, () => handle(request, sent)), died]);
      if (response !== "crashed") learn(sent, response);
      sent.outcome = response === "crashed" ? "crashed" : "answered";
    } catch (error) {
      sent.error = error;
      sent.outcome = "failed";
    }
    sent.faults = (this.#servers.all[met?.visit.server ?? 0]?.faults ?? 0) - faults;
    Object.assign(sent, { endedAt: this.#instant(), endedClock: now() });
    if (owner === null && sent.outcome === "answered") sent.heardAt = sent.endedAt;
    const { found, outcome, status, toldId, toldSecond, error } = sent;
    const failure = error === undefined ? "" : ` (${String(error)})`;
    this.#trace.push(
      `${sent.who} finds ${JSON.stringify(found)}, is ${outcome}${failure} with ${status}, told ${toldId?.slice(0, 6)} and ${toldSecond?.slice(0, 12)}`,
    );
    return response === "crashed" ? new Response(null, { status: 502 }) : response;
  }

  #instant(): number {
    return ++this.#instants;
  }
}
