import { writeBeside } from "../core/cookie_transport/cookie_beside.ts";
import { readCookies } from "../core/cookie_transport/cookie_header.ts";
import type { MaybePromise } from "../core/maybe_promise.ts";
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
  /** Its name, without the name of the session cookie. */
  readonly suffix: string;
  readonly content: CookieContent | null;
}

/**
 * Separates the name of the session cookie from the rest, so that cookies of another session are not taken for this
 * one's.
 */
const SEPARATOR = "~";
/** The shape of {@linkcode createWriteId}. A cookie with another name was not set here and is ignored. */
const NAME_SHAPE = /^[\w-]{16}$/;
/**
 * More responses are hardly ever under way at once. Further cookies are not decrypted, so that a client cannot cause
 * more work.
 */
const MAX_COOKIES = 64;

/** The recent writes of one request's client. */
export interface RecentWritesCookie {
  /** Makes the keys of the cookie, so that wrong secrets show before anything is stored. */
  prepare(): MaybePromise<unknown>;
  /** Whether the response can still bring the client a write that is noted now. */
  canSend(): boolean;
  /** The writes that the client presented for a session, merged with those noted since. */
  of(subject: Subject): Promise<PresentedWrites>;
  /** Notes the writes that the client's next cookie holds for a session. */
  note(subject: Subject, writes: RecentWrites): void;
  /** Notes that a session began in this request, so the client knows it only after the response. */
  begin(subject: Subject): void;
  /** Notes that an id is no longer valid for this client, even if the store shows it. */
  noteEnd(subject: Subject, tombstone: Tombstone): void;
  /** Drops the notes about a session, because the change did not happen after all. */
  drop(subject: Subject): void;
  /** Sends the noted writes to the client, and expires the cookies that they replace. */
  respond(headers: Headers, op: Operation): Promise<void>;
}

/**
 * Reads the sealed recent-writes cookies that the client presented beside the session cookie, and sets the next one.
 * Responses that are under way at once must not replace each other's cookies. So each response sets a cookie with a new
 * name. The new cookie holds everything that its request presented, and replaces those cookies. They can be merged in
 * any order, because the later change of each field wins.
 */
export function recentWritesCookie(
  transport: CookieTransport,
  sealer: Sealer,
  { name, runtimeArguments, now, store }: Operation,
  request: Request,
): RecentWritesCookie {
  const { length, accepted } = windowOf(store);
  const prefix = transport.cookieName(request, runtimeArguments) + SEPARATOR;
  const sealed = [...readCookies(request.headers.get("Cookie"), prefix)].filter(([suffix]) => NAME_SHAPE.test(suffix));
  const unsent = new Map<string, CookieContent>();
  const begun = new Set<string>();
  let isSent = false;
  let opened: Promise<PresentedCookie[]> | undefined;

  function openAll(): Promise<PresentedCookie[]> {
    return (opened ??= Promise.all(
      sealed.map(async ([suffix, text], index) => {
        const content = index < MAX_COOKIES ? await sealer.open(text, contextOf(suffix), runtimeArguments) : null;
        return { suffix, content: content === null ? null : parseCookieText(content, now, accepted) };
      }),
    ));
  }

  /** A cookie that was sealed beside one session cookie does not open beside another one. */
  function contextOf(suffix: string): string {
    return `${name} ${suffix}`;
  }

  function write(headers: Headers, suffix: string, value: string, maxAge: number): void {
    writeBeside(transport, headers, prefix + suffix, value, { maxAge, request, runtimeArguments });
  }

  function drop({ token }: Subject): void {
    unsent.delete(token);
  }

  return {
    prepare: () => sealer.prepare(runtimeArguments),

    canSend: () => !isSent,

    async of(subject) {
      // Most of the time nothing has changed within the window.
      if (sealed.length === 0 && unsent.size === 0) return NO_WRITES;
      const presented = (await openAll()).flatMap(({ content }) =>
        content !== null && isSame(content, subject) ? content : [],
      );
      const noted = [...unsent.values()].filter((content) => isSame(content, subject));
      const all = [...noted, ...presented];
      const tombstone = all.find((each) => each.tombstone)?.tombstone;
      const merged = mergeWrites(all.flatMap(({ writes }) => writes ?? []));
      return { ...merged, id: all[0]?.id, cookies: presented.length, tombstone };
    },

    note({ token, id }, writes) {
      unsent.set(token, { token, id, writes });
    },

    begin({ token }) {
      begun.add(token);
    },

    noteEnd(subject, tombstone) {
      const { token, id } = subject;
      // No client knows a session that began in this request, such as the successor of a failed rotation.
      if (begun.has(token) && !isSent) drop(subject);
      else unsent.set(token, { token, id, tombstone });
    },

    drop,

    async respond(headers, { now }) {
      const noted = [...unsent.values()];
      unsent.clear();
      isSent = true;
      if (noted.length === 0) return;
      const presented = await openAll();
      for (const content of noted) {
        const suffix = createWriteId();
        write(
          headers,
          suffix,
          await sealer.seal(cookieText(content, now), contextOf(suffix), runtimeArguments),
          length / 1000,
        );
      }
      for (const { suffix, content } of presented) {
        // A cookie that says that another id has ended is kept. The content of all other cookies is in the new cookie,
        // or cannot be used.
        const isReplaced = content?.tombstone === undefined || noted.some((each) => isSame(each, content));
        if (isReplaced) write(headers, suffix, "", 0);
      }
      // No cache may keep a response that was meant for one client.
      headers.set("Cache-Control", "no-store");
    },
  };
}

function isSame(one: Subject, two: Subject): boolean {
  return one.token === two.token || (one.id !== undefined && one.id === two.id);
}
