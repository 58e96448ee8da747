import type { Operation } from "../core/repository.ts";
import { createWriteId } from "../core/session_id.ts";
import type { CookieTransport } from "../core/transport.ts";
import type { Sealer } from "../crypto/sealer.ts";
import { type CookieContent, cookieText, parseCookieText } from "./cookie_text.ts";
import {
  mergeWrites,
  NO_WRITES,
  type PresentedWrites,
  type RecentWrites,
  type Subject,
  type Tombstone,
} from "./recent_writes.ts";
import { windowOf } from "./window.ts";

/** A cookie that the client presented. It has no content if it cannot be opened or is too old. */
interface PresentedCookie {
  /** Its name, without that of the session cookie. */
  readonly suffix: string;
  readonly content: CookieContent | null;
}

/** Stands between the name of the session cookie and the rest. No prefix of another session's cookie ends so. */
const SEPARATOR = "~";
/** What {@linkcode createWriteId} gives. A cookie of another name belongs to somebody else and is left alone. */
const NAME_SHAPE = /^[\w-]{16}$/;
/** Hardly more responses are under way at once. A client that presents more must not cost more. */
const MOST_COOKIES = 64;

/**
 * What the client of one request knows of its recent writes, sealed in cookies beside the session cookie. Responses
 * that are under way at once must not replace each other's cookies. So each response sets a cookie with a new name. It holds
 * everything that its request presented, and replaces that. Merging is harmless in any order: the
 * later change of each field counts.
 */
export class RecentWritesCookie {
  readonly #transport: CookieTransport;
  readonly #sealer: Sealer;
  readonly #op: Operation;
  readonly #request: Request;
  readonly #prefix: string;
  readonly #sealed: ReadonlyMap<string, string>;
  readonly #untold: Map<string, CookieContent> = new Map();
  readonly #begun: Set<string> = new Set();
  #presented: Promise<PresentedCookie[]> | undefined;
  #isSent = false;

  /** Takes what the client presented with the request of an operation, beside the cookie of a transport. */
  constructor(transport: CookieTransport, sealer: Sealer, op: Operation, request: Request) {
    this.#transport = transport;
    this.#sealer = sealer;
    this.#op = op;
    this.#request = request;
    this.#prefix = transport.cookieName(request, op.runtimeArguments) + SEPARATOR;
    const presented = [...transport.readBeside(request, op.runtimeArguments, this.#prefix)];
    this.#sealed = new Map(presented.filter(([name]) => NAME_SHAPE.test(name)));
  }

  /** Whether a response can bring the client what is noted now: it has not gone out. */
  get canTell(): boolean {
    return !this.#isSent;
  }

  /** What the client presented of a session, with what is noted since. */
  async of(subject: Subject): Promise<PresentedWrites> {
    // Most of the time nothing has changed within the window.
    if (this.#sealed.size === 0 && this.#untold.size === 0) return NO_WRITES;
    const presented = (await this.#contents()).flatMap(({ content }) =>
      content !== null && isSame(content, subject) ? [content] : [],
    );
    const noted = [...this.#untold.values()].filter((content) => isSame(content, subject));
    const all = [...noted, ...presented];
    const tombstone = noted.length > 0 ? noted[0]?.tombstone : all.find((each) => each.tombstone)?.tombstone;
    const merged = mergeWrites(all.flatMap(({ writes }) => writes ?? []));
    return { ...merged, id: all[0]?.id, cookies: presented.length, tombstone };
  }

  /** Notes what the client's next cookie holds of a session. */
  note(subject: Subject, writes: RecentWrites): void {
    this.#untold.set(subject.token, { token: subject.token, id: subject.id, writes });
  }

  /** Notes that a session has begun in this request, so that the client knows of it by its response alone. */
  begin({ token }: Subject): void {
    this.#begun.add(token);
  }

  /** Notes that an id is over for this client, even if the store shows it. */
  bury(subject: Subject, tombstone: Tombstone): void {
    // The successor of a rotation that failed, say: no client knows of it.
    if (this.#begun.has(subject.token) && !this.#isSent) return this.drop(subject);
    this.#untold.set(subject.token, { token: subject.token, id: subject.id, tombstone });
  }

  /** Drops what was noted of a session, as it did not happen after all. */
  drop({ token }: Subject): void {
    this.#untold.delete(token);
  }

  /** Sends the client what was noted, and expires the cookies that this replaces. */
  async respond(headers: Headers, { now }: Operation): Promise<void> {
    const noted = [...this.#untold.values()];
    this.#untold.clear();
    this.#isSent = true;
    if (noted.length === 0) return;
    const presented = await this.#contents();
    const { name, runtimeArguments, store } = this.#op;
    for (const content of noted) {
      const suffix = createWriteId();
      const sealed = await this.#sealer.seal(cookieText(content, now), `${name} ${suffix}`, runtimeArguments);
      this.#write(headers, suffix, sealed, windowOf(store).length / 1000);
    }
    for (const { suffix, content } of presented) {
      // That another id has ended stays true. Everything else is in the new cookie, or cannot be used.
      const isReplaced = content?.tombstone === undefined || noted.some((each) => isSame(each, content));
      if (isReplaced) this.#write(headers, suffix, "", 0);
    }
    // No cache may keep what was sent to one client.
    headers.set("Cache-Control", "no-store");
  }

  #write(headers: Headers, suffix: string, value: string, maxAge: number): void {
    const { runtimeArguments } = this.#op;
    this.#transport.writeBeside(headers, this.#prefix + suffix, value, {
      maxAge,
      request: this.#request,
      runtimeArguments,
    });
  }

  #contents(): Promise<PresentedCookie[]> {
    return (this.#presented ??= Promise.all(
      [...this.#sealed].map(async (cookie, index) => await this.#open(...cookie, index)),
    ));
  }

  async #open(suffix: string, sealed: string, index: number): Promise<PresentedCookie> {
    const { name, runtimeArguments, now, store } = this.#op;
    // What is sealed beside one session cookie does not open beside another one.
    const text = index < MOST_COOKIES ? await this.#sealer.open(sealed, `${name} ${suffix}`, runtimeArguments) : null;
    return { suffix, content: text === null ? null : parseCookieText(text, now, windowOf(store).accepted) };
  }
}

function isSame(one: Subject, two: Subject): boolean {
  return one.token === two.token || (one.id !== undefined && one.id === two.id);
}
