import { type Plugin, type SessionEvent, SessionManager, type SessionStore } from "../../../mod.ts";
import { deviceBound } from "../../../src/device_bound.ts";
import { encryption } from "../../../src/encryption.ts";
import { readYourWrites } from "../../../src/read_your_writes.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../../src/stores/cloudflare_kv.ts";
import { migratingStore } from "../../../src/stores/migrating.ts";
import { kvSimulator } from "../../../src/testing.ts";
import { type UserSessions, userSessions } from "../../../src/user_sessions.ts";
import { RIGHT, serverClock } from "../../setup/clocks.ts";
import { kill, type Process, startProcess, within } from "../../setup/processes.ts";
import { recordingEngine } from "../../setup/recording_engine.ts";
import { type Stage, stagedStore } from "../stage.ts";
import type { Data } from "./history.ts";
import { ownPlugin } from "./own_plugin.ts";
import { movedStore } from "./moves.ts";
import { ABSOLUTE, IDLE, type Phase, type Setting, TOUCH, type User } from "./program.ts";

const SECRETS = ["a secret of at least thirty-two bytes, number 1"];

/** What a program keeps about a session in the list of its user. */
export interface Metadata {
  readonly sid: string;
}

/** One server process, and what it has made of the setting. */
export interface Server {
  readonly process: Process;
  readonly sessions: SessionManager<Data>;
  readonly users: UserSessions<Metadata> | null;
  /** Resolves when the process crashes. */
  readonly died: Promise<"crashed">;
  readonly die: () => void;
  faults: number;
}

/** What servers report. */
export interface Reports {
  readonly complain: (violation: string) => void;
  readonly hear: (event: SessionEvent) => void;
}

/** Parts that a test takes away or replaces, to prove that the verdict notices. The verdict does not know of it. */
export interface Breaking {
  readonly setting?: (setting: Setting) => Setting;
  readonly plugin?: (plugin: Plugin) => Plugin;
  readonly move?: typeof migratingStore;
  /** One more plugin, between the core and all others. */
  readonly wrap?: Plugin["wrap"];
}

/** Makes an engine wait for the stage with each call. */
type Staged = (engine: SessionStore, name: string) => SessionStore;

/** The servers of one program, with the engine that they share, and the versions of the users' passwords. */
export class Servers {
  readonly #setting: Setting;
  readonly #stage: Stage;
  readonly #reports: Reports;
  readonly #breaking: Breaking;
  readonly #storeAt: (server: number, staged: Staged) => SessionStore;
  readonly #clocks: readonly (() => number)[];
  #phases: readonly Phase[] = ["first"];
  readonly all: Server[];
  readonly versions: Record<User, number> = { ada: 1, eve: 1 };
  readonly hasIndex: boolean;
  crashes = 0;

  constructor(setting: Setting, now: () => number, stage: Stage, reports: Reports, breaking: Breaking) {
    this.#setting = breaking.setting?.(setting) ?? setting;
    this.#breaking = breaking;
    this.hasIndex = setting.users?.hasIndex === true;
    this.#stage = stage;
    this.#reports = reports;
    const { store, sweeping, delay, deleteDelay, clocks } = setting;
    this.#clocks = clocks.map((plan) => serverClock(now, plan));
    if (store === "eventual") {
      const kv = kvSimulator({ now, delay, deleteDelay, writeInterval: 0 });
      this.#storeAt = (server, staged) => staged(cloudflareKvStore(kv.at(`place ${server}`)), "");
    } else if (store === "comparing") {
      const engine = recordingEngine(now, sweeping);
      this.#storeAt = (_server, staged) => staged(engine.store, engineName(0));
    } else {
      const engines = [0, 1, 2].map(() => recordingEngine(now, sweeping).store);
      const { move = migratingStore } = breaking;
      this.#storeAt = (server, staged) => {
        const all = engines.map((engine, at) => staged(engine, engineName(at)));
        return movedStore(all, this.#phases, (from, to) => move(from, to, { now: this.#clockOf(server) }));
      };
    }
    this.all = clocks.map((_, at) => this.#start(at));
  }

  /** Another process takes the place of one that crashed. Its clock goes on. */
  restart(process: Process): void {
    this.crashes++;
    const at = this.all.findIndex((each) => each.process === process);
    const server = this.all[at];
    if (server === undefined) return;
    server.die();
    this.all[at] = { ...this.#start(at), faults: server.faults + 1 };
  }

  /**
   * All servers are stopped, and servers in another phase of a migration take their places. docs/deploying.md, of turning back: "If `from` had failed in the
   * middle of a move, the older state that it kept counts again." So a program does not turn back after a failure.
   */
  replaceAll(phase: Phase): void {
    if (phase === "back" && this.all.some(({ faults }) => faults > 0)) return;
    this.#phases = [...this.#phases, phase];
    for (const [at, { process, faults }] of this.all.entries()) {
      kill(process);
      this.all[at] = { ...this.#start(at), faults };
    }
  }

  /** The handles that a server lists for a user. The calls of the store do not wait. */
  async list(at: number, user: User): Promise<string[]> {
    const { users } = this.#manager(
      at,
      this.#storeAt(at, (store) => store),
    );
    return ((await users?.list(user)) ?? []).map(({ handle }) => handle);
  }

  #start(at: number): Server {
    const process = startProcess();
    const { promise: died, resolve } = Promise.withResolvers<"crashed">();
    const store = this.#storeAt(at, (engine, name) =>
      stagedStore(this.#stage, process, engine, `server ${at} ${name}`),
    );
    const manager = within(process, () => this.#manager(at, store));
    return { process, ...manager, died, die: () => resolve("crashed"), faults: 0 };
  }

  #manager(at: number, store: SessionStore): Pick<Server, "sessions" | "users"> {
    const { signedIds: signs, encryption: encrypts, rotateEvery, persist, onStoreError } = this.#setting;
    const users = this.#users();
    const sessions = new SessionManager<Data>({
      store,
      now: this.#clockOf(at),
      idleTimeout: IDLE,
      absoluteTimeout: ABSOLUTE,
      touchInterval: TOUCH,
      storeTimeout: 60,
      plugins: this.#plugins(users),
      onEvent: this.#reports.hear,
      ...(persist === undefined ? {} : { persist }),
      ...(onStoreError === undefined ? {} : { onStoreError }),
      ...(signs ? { ids: signedIds({ secrets: SECRETS }) } : {}),
      ...(encrypts ? { encryption: encryption({ secrets: SECRETS }) } : {}),
      ...(rotateEvery === null ? {} : { rotateEvery }),
    });
    return { sessions, users };
  }

  #clockOf(at: number): () => number {
    return this.#clocks[at] ?? serverClock(Date.now, RIGHT);
  }

  #users(): UserSessions<Metadata> | null {
    const { users } = this.#setting;
    if (users === null) return null;
    const { limit, onLimit, hasVersions, hasIndex } = users;
    return userSessions<Metadata>({
      ...(limit === null ? {} : { limit, onLimit }),
      ...(hasVersions ? { credentialVersion: (user) => this.versions[user as User] } : {}),
      ...(hasIndex ? { indexes: { sid: ({ sid }) => sid } } : {}),
    });
  }

  #plugins(users: Plugin | null): Plugin[] {
    const { readYourWrites: reads, deviceBound: binds, ownPlugins, order } = this.#setting;
    const plugins: Plugin[] = [];
    if (users !== null) plugins.push(users);
    if (binds) plugins.push(deviceBound());
    if (reads) plugins.push(readYourWrites({ secrets: SECRETS }));
    for (let own = 0; own < ownPlugins; own++) plugins.push(ownPlugin(ownName(own), this.#reports.complain));
    const { plugin: broken = (plugin) => plugin, wrap } = this.#breaking;
    return [...ordered(plugins.map(broken), order), ...(wrap === undefined ? [] : [{ name: "broken", wrap }])];
  }
}

/** The name of a user's plugin, and of the header that it adds to responses. */
export function ownName(own: number): string {
  return `own-${own}`;
}

/** The name of an engine, in the labels of its calls. */
export function engineName(engine: number): string {
  return `engine ${engine} `;
}

/** One of all orders. */
function ordered<T>(values: readonly T[], order: number): T[] {
  const left = [...values];
  const taken: T[] = [];
  for (let rest = order; left.length > 0; rest = Math.floor(rest / (left.length + 1)))
    taken.push(...left.splice(rest % left.length, 1));
  return taken;
}
