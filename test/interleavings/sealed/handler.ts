import { type Session, SessionError } from "../../../mod.ts";
import type { Data, Sent, State } from "./history.ts";
import { ABSOLUTE, type Act, IDLE } from "./program.ts";

/** The error that a handler throws on purpose. */
export const ON_PURPOSE = "The handler fails";

/** The handler of one request. It notes what it finds, and what the session must hold afterwards. */
export class Handling {
  readonly #sent: Sent;
  /** The timeouts of the session in the cookie that the request presents. */
  readonly #timeouts: Pick<State, "idle" | "absolute">;
  #data: Partial<Data> | null = null;
  #idle = IDLE;
  #absolute = ABSOLUTE;

  constructor(sent: Sent, timeouts: Pick<State, "idle" | "absolute">) {
    this.#sent = sent;
    this.#timeouts = timeouts;
  }

  async handle(session: Session<Data>): Promise<Response> {
    const { act } = this.#sent;
    const found = { ...(await session.all()) };
    this.#sent.found = found.life === undefined ? null : found;
    if (this.#sent.found !== null) {
      // docs/session.md: `all` consumes flash values.
      const { notice: _, ...data } = found;
      this.#data = data;
      this.#idle = this.#timeouts.idle;
      this.#absolute = this.#timeouts.absolute;
    }
    this.#note();
    await this.#act(session, act);
    this.#note();
    this.#sent.isDone = true;
    if (act.does === "redirect") return new Response(null, { status: 303, headers: { Location: "/next" } });
    return new Response("done", { headers: { "Set-Cookie": "app=1" } });
  }

  /** Notes what the session may hold from now on. */
  #note(): void {
    const data = this.#data;
    this.#sent.left.push(data === null ? null : { data: { ...data }, idle: this.#idle, absolute: this.#absolute });
  }

  async #save(session: Session<Data>): Promise<void> {
    this.#note();
    await session.save();
  }

  async #act(session: Session<Data>, act: Act): Promise<void> {
    const { number } = this.#sent;
    if (act.does === "log out") {
      this.#data = null;
      return await session.destroy();
    }
    if (act.does === "log in") {
      // Without a session, `regenerate` does nothing.
      await session.regenerate({ reauthenticated: true, grace: act.grace });
      session.clear();
      return this.#begin(session);
    }
    if (this.#data === null) return act.does === "begin" ? this.#begin(session) : undefined;
    await this.#actIn(session, act, number);
  }

  async #actIn(session: Session<Data>, act: Act, number: number): Promise<void> {
    switch (act.does) {
      case "add":
        return await this.#add(session);
      case "set":
      case "redirect":
        this.#set(session, { mark: number });
        return act.does === "set" && act.saves ? await this.#save(session) : undefined;
      case "fill":
        return this.#set(session, { text: `${number}${"x".repeat(act.length)}` });
      case "renew":
        await session.regenerate({ grace: act.grace });
        if (act.saves) await this.#save(session);
        return this.#set(session, { mark: number });
      case "start over":
        await session.destroy();
        return this.#begin(session);
      case "touch":
        return session.touch();
      case "flash":
        session.flash("notice", number);
        this.#data = { ...this.#data, notice: number };
        return;
      case "pull": {
        await session.pull("mark");
        const { mark: _, ...rest } = this.#data ?? {};
        this.#data = rest;
        return;
      }
      case "set timeouts":
        session.setTimeouts({ idle: act.idle, absolute: act.absolute });
        this.#idle = act.idle;
        this.#absolute = act.absolute;
        return;
      case "fail":
        this.#set(session, { mark: number });
        throw new Error(ON_PURPOSE);
      case "renew, save and fail":
        await session.regenerate();
        await this.#save(session);
        throw new Error(ON_PURPOSE);
    }
  }

  #set(session: Session<Data>, values: Partial<Data>): void {
    session.set(values);
    this.#data = { ...this.#data, ...values };
  }

  async #add(session: Session<Data>): Promise<void> {
    const { number } = this.#sent;
    const next = (added: readonly number[] = []): readonly number[] => [...added, number];
    const added = await session.update("added", next).catch((error: unknown) => {
      if (!(error instanceof SessionError && error.code === "ERR_SESSION_GONE")) throw error;
      this.#sent.events.push({ type: "gone" });
    });
    if (added !== undefined) this.#data = { ...this.#data, added };
  }

  /** Begins a life, with no other contents. */
  #begin(session: Session<Data>): void {
    const { number: life, browser } = this.#sent;
    const isNew = this.#data === null || this.#sent.act.does === "start over";
    session.set({ life, browser, added: [] });
    this.#data = { life, browser, added: [] };
    if (!isNew) return;
    this.#idle = IDLE;
    this.#absolute = ABSOLUTE;
  }
}
