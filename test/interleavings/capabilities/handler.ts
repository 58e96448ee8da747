import { type Session, SessionError } from "../../../mod.ts";
import type { Data, Deed, Sent, State } from "./history.ts";
import type { Act, User } from "./program.ts";
import type { Servers } from "./servers.ts";

/** The error that a handler throws on purpose. */
export const ON_PURPOSE = "The handler fails";
/** A header that every response has. */
export const HANDLERS_COOKIE = "app=1";

type NewDeed = Deed extends infer Each ? (Each extends Deed ? Omit<Each, "begunAt" | "ackedAt"> : never) : never;

/** The handler of one request, which notes what it finds and does. */
export class Handling {
  readonly #sent: Sent;
  readonly #servers: Servers;
  readonly #instant: () => number;
  /** What the end of the request acknowledges. */
  #waiting: Deed[] = [];

  constructor(sent: Sent, servers: Servers, instant: () => number) {
    this.#sent = sent;
    this.#servers = servers;
    this.#instant = instant;
  }

  async handle(session: Session<Data>): Promise<Response> {
    const { state = null, ...values } = await session.all();
    this.#sent.found = state;
    Object.assign(this.#sent.values, values);
    try {
      await this.#act(session, state, this.#sent.act);
    } catch (error) {
      if (!(error instanceof SessionError && error.code === "ERR_SESSION_LIMIT")) throw error;
      this.#sent.isRefused = true;
      this.#waiting = [];
      return new Response(null, { status: 409 });
    }
    const headers = { "Set-Cookie": HANDLERS_COOKIE };
    if (this.#sent.redirects === true)
      return new Response(null, { status: 303, headers: { ...headers, Location: "/" } });
    return new Response("done", { headers });
  }

  /** Marks what the response acknowledges. If another request has ended the session, only an end counts: the event `gone` says that changes are dropped. */
  acknowledge(): void {
    const { events } = this.#sent;
    const isGone = events.some(({ type }) => type === "gone");
    // docs/options.md, of `onStoreError: "anonymous"`: "its changes are dropped", "and `onEvent` gets `failed`". docs/streaming.md: "A failure after the
    // response is only reported to `onEvent`."
    if (events.some(({ type }) => type === "failed")) this.#waiting = [];
    for (const deed of this.#waiting)
      if (!isGone || deed.does === "end" || deed.does === "end the old id") deed.ackedAt = this.#instant();
    this.#waiting = [];
  }

  #note(deed: NewDeed): Deed {
    const noted = { ...deed, begunAt: this.#instant() } as Deed;
    this.#sent.deeds.push(noted);
    return noted;
  }

  #noteUntilResponse(deed: NewDeed): void {
    this.#waiting.push(this.#note(deed));
  }

  async #act(session: Session<Data>, state: State | null, act: Act): Promise<void> {
    const { number } = this.#sent;
    if (act.does === "log in") return await this.#logIn(session, state, act);
    if (state === null && act.does === "log out") {
      this.#noteUntilResponse({ does: "end the old id" });
      return await session.destroy();
    }
    if (state === null) return act.does === "begin" ? this.#begin(session, null, null, null) : undefined;
    const { life, user } = state;
    switch (act.does) {
      case "read":
        if (this.#users !== null) this.#sent.handle = await this.#users.handle(session);
        return;
      case "begin":
        return;
      case "add":
        return await this.#add(session);
      case "set":
        this.#noteUntilResponse({ does: "set", life, key: act.key });
        session.set(act.key, number);
        if (!act.saves) return;
        await session.save();
        return this.acknowledge();
      case "renew":
        this.#noteUntilResponse({ does: "renew", life, hasGrace: act.grace > 0 });
        return await session.regenerate({ grace: act.grace });
      case "renew, save and fail":
        this.#note({ does: "renew", life, hasGrace: false });
        await session.regenerate();
        session.set("doomed", number);
        await session.save();
        throw new Error(ON_PURPOSE);
      case "log out":
        this.#noteUntilResponse({ does: "end", life });
        return await session.destroy();
      case "start over":
        this.#noteUntilResponse({ does: "end", life });
        await session.destroy();
        return this.#begin(session, null, null, null);
      case "leave the user":
        this.#noteUntilResponse({ does: "renew", life, hasGrace: false });
        await session.regenerate();
        this.#begin(session, null, state, state);
        return await this.#users?.unbind(session);
    }
    if (user !== null) await this.#actAsUser(session, state, user, act);
  }

  async #actAsUser(session: Session<Data>, state: State, user: User, { does }: Act): Promise<void> {
    const { life } = state;
    const users = this.#users;
    if (users === null) return;
    if (does === "change the password") {
      this.#servers.versions[user]++;
      this.#noteUntilResponse({ does, user, life: this.#sent.number });
      this.#noteUntilResponse({ does: "renew", life, hasGrace: false });
      await session.regenerate({ reauthenticated: true });
      this.#begin(session, user, state, state);
      return await users.bind(session, user, { sid: `${this.#sent.number}` });
    }
    if (does === "end by the index") {
      if (!this.#servers.hasIndex) return;
      const end = this.#note({ does: "end", life });
      await users.revokeBy("sid", `${life}`);
      end.ackedAt = this.#instant();
    } else if (does === "end by the handle") {
      const own = await users.handle(session);
      const other = (await users.list(user)).find(({ handle }) => handle !== own);
      if (other === undefined) return;
      const end = this.#note({ does: "end the handle", handle: other.handle });
      await users.revoke(other.handle);
      end.ackedAt = this.#instant();
    } else {
      const isSparing = does === "end the others";
      const end = this.#note({ does: "end all", user, spares: isSparing ? life : null });
      await users.revokeAll(user, isSparing ? { except: session } : {});
      end.ackedAt = this.#instant();
    }
  }

  async #add(session: Session<Data>): Promise<void> {
    const { number } = this.#sent;
    const begunAt = this.#instant();
    const next = (state: State | undefined): State => {
      if (state === undefined) throw new Error("The session has lost its state");
      return { ...state, added: [...state.added, number] };
    };
    // An update that never returns may still have been stored.
    const stored = await session.update("state", next);
    const deed = this.#note({ does: "add", life: stored.life, list: [...stored.added] });
    Object.assign(deed, { begunAt, ackedAt: this.#instant() });
  }

  /** Begins a life, with the contents of `kept`. */
  #begin(session: Session<Data>, user: User | null, before: State | null, kept: State | null): void {
    const { number, browser } = this.#sent;
    this.#noteUntilResponse({ does: "begin", life: number, user, before: before?.life ?? null, keeps: kept !== null });
    session.set("state", { life: number, user, browser, added: kept?.added ?? [] });
  }

  async #logIn(
    session: Session<Data>,
    state: State | null,
    { user, grace, keeps, saves }: Act & { does: "log in" },
  ): Promise<void> {
    const isKept = keeps && state !== null && state.user === null;
    if (state !== null) this.#noteUntilResponse({ does: "renew", life: state.life, hasGrace: grace > 0 });
    await session.regenerate({ reauthenticated: true, grace });
    if (!isKept) session.clear();
    this.#begin(session, user, state, isKept ? state : null);
    await this.#users?.bind(session, user, { sid: `${this.#sent.number}` });
    if (!saves) return;
    await session.save();
    this.acknowledge();
  }

  get #users(): Servers["all"][number]["users"] {
    return this.#servers.all[this.#sent.server]?.users ?? null;
  }
}
