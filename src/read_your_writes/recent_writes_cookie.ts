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

/** What the client of one request knows of its recent writes. */
export interface RecentWritesCookie {
  /** Whether a response can still bring the client what is noted now. */
  canSend(): boolean;
  /** What the client presented of a session, with what is noted since. */
  of(subject: Subject): Promise<PresentedWrites>;
  /** Notes what the client's next cookie holds of a session. */
  note(subject: Subject, writes: RecentWrites): void;
  /** Notes that a session has begun in this request, so that the client knows of it by its response alone. */
  begin(subject: Subject): void;
  /** Notes that an id is over for this client, even if the store shows it. */
  noteEnd(subject: Subject, tombstone: Tombstone): void;
  /** Drops what was noted of a session, as it did not happen after all. */
  drop(subject: Subject): void;
  /** Sends the client what was noted, and expires the cookies that this replaces. */
  respond(headers: Headers, op: Operation): Promise<void>;
}

/**
 * Takes what the client presented with the request of an operation, sealed in cookies beside the session cookie. Responses
 * that are under way at once must not replace each other's cookies. So each response sets a cookie with a new name. It holds
 * everything that its request presented, and replaces that. Merging is harmless in any order: the
 * later change of each field counts.
 */
export function recentWritesCookie(
  transport: CookieTransport,
  sealer: Sealer,
  { name, runtimeArguments, now, store }: Operation,
  request: Request,
): RecentWritesCookie {
  const { length, accepted } = windowOf(store);
  const prefix = transport.cookieName(request, runtimeArguments) + SEPARATOR;
  const sealed = [...transport.readBeside(request, runtimeArguments, prefix)].filter(([suffix]) =>
    NAME_SHAPE.test(suffix),
  );
  const unsent = new Map<string, CookieContent>();
  const begun = new Set<string>();
  let isSent = false;
  let opened: Promise<PresentedCookie[]> | undefined;

  function openAll(): Promise<PresentedCookie[]> {
    return (opened ??= Promise.all(
      sealed.map(async ([suffix, text], index) => {
        const content = index < MOST_COOKIES ? await sealer.open(text, contextOf(suffix), runtimeArguments) : null;
        return { suffix, content: content === null ? null : parseCookieText(content, now, accepted) };
      }),
    ));
  }

  /** What is sealed beside one session cookie does not open beside another one. */
  function contextOf(suffix: string): string {
    return `${name} ${suffix}`;
  }

  function write(headers: Headers, suffix: string, value: string, maxAge: number): void {
    transport.writeBeside(headers, prefix + suffix, value, { maxAge, request, runtimeArguments });
  }

  function drop({ token }: Subject): void {
    unsent.delete(token);
  }

  return {
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
      // The successor of a rotation that failed, say: no client knows of it.
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
        // That another id has ended stays true. Everything else is in the new cookie, or cannot be used.
        const isReplaced = content?.tombstone === undefined || noted.some((each) => isSame(each, content));
        if (isReplaced) write(headers, suffix, "", 0);
      }
      // No cache may keep what was sent to one client.
      headers.set("Cache-Control", "no-store");
    },
  };
}

function isSame(one: Subject, two: Subject): boolean {
  return one.token === two.token || (one.id !== undefined && one.id === two.id);
}
