import { type SessionEvent, SessionManager, type SessionOptions } from "../../../mod.ts";
import { cookieSessions, type CookieSessionsOptions } from "../../../src/cookie_sessions.ts";
import { RIGHT, serverClock } from "../../setup/clocks.ts";
import { kill, type Process, startProcess, within } from "../../setup/processes.ts";
import { type RecordingEngine, recordingEngine } from "../../setup/recording_engine.ts";
import { type Stage, stagedStore } from "../stage.ts";
import { NAMES } from "./browser.ts";
import type { Data } from "./history.ts";
import { ABSOLUTE, IDLE, LONGEST, type Setting, TOUCH } from "./program.ts";

const [OLD, NEW] = ["the old secret, of thirty-two bytes or more", "the new secret, of thirty-two bytes or more"];

/** The last version of the program that the servers can run. */
const LAST = 3;
/** docs/deploying.md: wait until "everything that was made with the old secret has expired". Clocks may differ. In milliseconds. */
const WAIT = (LONGEST + 1200) * 1000;

/** One server process. */
export interface Server {
  readonly process: Process;
  readonly sessions: SessionManager<Data>;
  readonly version: number;
  /** Resolves when the process crashes. */
  readonly died: Promise<"crashed">;
  readonly die: () => void;
  faults: number;
}

/** Parts that a test takes away or replaces, to prove that the verdict notices. The verdict does not know of it. */
export interface Breaking {
  readonly cookies?: (options: CookieSessionsOptions, version: number) => CookieSessionsOptions;
  readonly options?: (options: SessionOptions<Data>, version: number) => SessionOptions<Data>;
}

/** The servers of one program, with the revocation store that they share. */
export class Servers {
  readonly #setting: Setting;
  readonly #now: () => number;
  readonly #stage: Stage;
  readonly #hear: (event: SessionEvent) => void;
  readonly #breaking: Breaking;
  readonly #engine: RecordingEngine | undefined;
  readonly #clocks: readonly (() => number)[];
  readonly all: Server[];
  crashes = 0;
  /** When the last server got its version. */
  #deployedAt: number;

  constructor(
    setting: Setting,
    now: () => number,
    stage: Stage,
    hear: (event: SessionEvent) => void,
    breaking: Breaking,
  ) {
    this.#setting = setting;
    this.#now = now;
    this.#stage = stage;
    this.#hear = hear;
    this.#breaking = breaking;
    this.#engine = setting.revocation === null ? undefined : recordingEngine(now, setting.revocation);
    this.#clocks = setting.clocks.map((plan) => serverClock(now, plan));
    this.#deployedAt = now();
    this.all = setting.clocks.map((_, at) => this.#start(at, 0));
  }

  /** The name of the session cookie at a server, and the name before that. */
  namesAt(at: number): readonly (string | undefined)[] {
    const [old, renamed] = NAMES;
    const version = this.all[at]?.version ?? 0;
    if (!this.#setting.renames || version === 0) return [old];
    return version === 1 ? [old, renamed] : version === 2 ? [renamed, old] : [renamed];
  }

  /** Another process takes the place of one that crashed. Its clock goes on. */
  restart(process: Process): void {
    this.crashes++;
    const at = this.all.findIndex((each) => each.process === process);
    const server = this.all[at];
    if (server === undefined) return;
    server.die();
    this.all[at] = { ...this.#start(at, server.version), faults: server.faults + 1 };
  }

  /** Replaces a server by one of the next version, if docs/deploying.md allows it now. */
  deploy(at: number): boolean {
    const server = this.all[at];
    if (server === undefined || !(this.#setting.changesSecret || this.#setting.renames)) return false;
    const { version, process, faults } = server;
    if (version === LAST || this.all.some((each) => each.version < version)) return false;
    const isFirst = this.all.every((each) => each.version === version);
    if (version + 1 === LAST && isFirst && this.#now() < this.#deployedAt + WAIT) return false;
    this.#deployedAt = this.#now();
    kill(process);
    this.all[at] = { ...this.#start(at, version + 1), faults };
    return true;
  }

  #start(at: number, version: number): Server {
    const process = startProcess();
    const { promise: died, resolve } = Promise.withResolvers<"crashed">();
    const sessions = within(process, () => this.#manager(at, version, process));
    return { process, sessions, version, died, die: () => resolve("crashed"), faults: 0 };
  }

  #manager(at: number, version: number, process: Process): SessionManager<Data> {
    const { rotateEvery, chunks, onStoreError, persist, changesSecret, renames } = this.#setting;
    const [name, renamed] = NAMES;
    const secrets = changesSecret ? ([[OLD], [OLD, NEW], [NEW, OLD], [NEW]][version] ?? []) : [OLD];
    const cookies = [{ name }, { name, previous: [{ name: renamed }] }, { name: renamed, previous: [{ name }] }];
    const { cookies: own = (each) => each, options = (each) => each } = this.#breaking;
    const store = this.#engine?.store;
    const sealed: CookieSessionsOptions = {
      secrets,
      chunks,
      ...(store === undefined ? {} : { revocation: stagedStore(this.#stage, process, store, `server ${at} `) }),
    };
    const all: SessionOptions<Data> = {
      store: cookieSessions(own(sealed, version)),
      cookie: renames ? (cookies[version] ?? { name: renamed }) : { name },
      now: this.#clocks[at] ?? serverClock(this.#now, RIGHT),
      idleTimeout: IDLE,
      touchInterval: TOUCH,
      absoluteTimeout: ABSOLUTE,
      storeTimeout: 60,
      onStoreError,
      persist,
      waitUntil: () => {},
      onEvent: this.#hear,
      ...(rotateEvery === null ? {} : { rotateEvery }),
    };
    return new SessionManager<Data>(options(all, version));
  }
}
