import {
  type Plugin,
  type Repository,
  type Session,
  SessionManager,
  type SessionStore,
  withSession,
  wrapRepository,
} from "../../../mod.ts";
import { csrfToken, verifyCsrfToken } from "../../../src/csrf.ts";
import { deviceBound } from "../../../src/device_bound.ts";
import { dpop } from "../../../src/dpop.ts";
import { encryption } from "../../../src/encryption.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { type Process, startProcess, within } from "../../setup/processes.ts";
import { recordingEngine } from "../../setup/recording_engine.ts";
import { type Stage, stagedStore } from "../stage.ts";
import type { Data, Sent } from "./history.ts";
import { IDLE, LIFETIME, NONCE_LIFETIME, type Setting } from "./program.ts";

const SECRETS = ["a secret of at least thirty-two bytes, number 1"];
export const HEADER = "X-Session-Id";

/** One server process. */
export interface Server {
  readonly process: Process;
  readonly now: () => number;
  readonly handle: (request: Request, sent: Sent) => Promise<Response>;
  /** Resolves when the process crashes. */
  readonly died: Promise<"crashed">;
  readonly die: () => void;
  faults: number;
}

/** Parts that a test replaces, to prove that the verdict notices. The verdict does not know of it. */
export interface Breaking {
  /** In seconds. */
  readonly lifetime?: number;
  readonly nonceLifetime?: number;
  readonly plugin?: (plugin: Plugin) => Plugin;
  readonly store?: (store: SessionStore) => SessionStore;
  readonly repository?: (next: Repository) => Partial<Repository>;
  readonly request?: (request: Request) => Request;
  readonly verify?: typeof verifyCsrfToken;
}

/** The servers of one program, with the engine that they share. */
export class Servers {
  readonly #setting: Setting;
  readonly #stage: Stage;
  readonly #breaking: Breaking;
  readonly #engine: SessionStore;
  readonly #clocks: readonly (() => number)[];
  readonly all: Server[];
  crashes = 0;

  constructor(setting: Setting, now: () => number, stage: Stage, breaking: Breaking) {
    this.#setting = setting;
    this.#stage = stage;
    this.#breaking = breaking;
    const { store } = recordingEngine(now, "instant");
    this.#engine = breaking.store?.(store) ?? store;
    this.#clocks = setting.ahead.map((ahead) => () => now() + ahead * 1000);
    this.all = setting.ahead.map((_, at) => this.#start(at));
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

  #start(at: number): Server {
    const process = startProcess();
    const { promise: died, resolve } = Promise.withResolvers<"crashed">();
    const now = this.#clocks[at] ?? Date.now;
    const store = stagedStore(this.#stage, process, this.#engine, `server ${at} `);
    const sessions = within(process, () => this.#manager(store, now));
    const { request: change = (request: Request) => request, verify = verifyCsrfToken } = this.#breaking;
    const handle = (request: Request, sent: Sent): Promise<Response> =>
      withSession<Data>(
        async (received, session) => await answer(received, session, sent, verify),
        sessions,
      )(change(request));
    return { process, now, handle, died, die: () => resolve("crashed"), faults: 0 };
  }

  #manager(store: SessionStore, now: () => number): SessionManager<Data> {
    const { browsers, clients, hasSecrets, signedIds: signs, encryption: encrypts, rotateEvery } = this.#setting;
    const { lifetime = LIFETIME, nonceLifetime = NONCE_LIFETIME, plugin = (each: Plugin) => each } = this.#breaking;
    const secrets = hasSecrets ? { secrets: SECRETS } : {};
    const offerOn = (request: Request): boolean => new URL(request.url).pathname === "/login";
    const plugins = [
      deviceBound({ mode: browsers, lifetime, offerOn, ...secrets }),
      dpop({ mode: clients, nonceLifetime }),
    ].map(plugin);
    const { repository } = this.#breaking;
    if (repository !== undefined)
      plugins.push({ name: "broken", wrap: (next) => wrapRepository(next, repository(next)) });
    return new SessionManager<Data>({
      store,
      now,
      header: HEADER,
      idleTimeout: IDLE,
      storeTimeout: 60,
      plugins,
      ...(signs ? { ids: signedIds({ secrets: SECRETS }) } : {}),
      ...(encrypts ? { encryption: encryption({ secrets: SECRETS }) } : {}),
      ...(rotateEvery === null ? {} : { rotateEvery }),
    });
  }
}

/** The handler of all requests. It notes what it finds and does. */
async function answer(
  request: Request,
  session: Session<Data>,
  sent: Sent,
  verify: typeof verifyCsrfToken,
): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const login = await session.get("login");
  // Before this request changes anything.
  if (login !== undefined) sent.found = { login, added: await session.get("added", []) };
  const number = Number(searchParams.get("number"));
  const grace = Number(searchParams.get("grace"));
  switch (pathname) {
    case "/login":
      await session.regenerate({ reauthenticated: true, grace });
      session.clear();
      session.set("login", number);
      sent.begins = { login: number, grace };
      break;
    case "/add":
      if (login === undefined) break;
      await session.update("added", (added = []) => [...added, number]);
      sent.adds = { login };
      break;
    case "/renew":
      if (login !== undefined) await session.regenerate({ grace });
      break;
    case "/logout":
      await session.destroy();
      break;
    case "/form":
      if (login !== undefined) sent.form = { token: await csrfToken(session), id: (await session.id()) ?? "" };
      break;
    case "/post": {
      const token = request.headers.get("X-CSRF-Token") ?? "";
      const isValid = await verify(session, request);
      sent.post = { token, id: await session.id(), isValid };
      break;
    }
  }
  return new Response("Hello");
}
