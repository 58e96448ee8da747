import { readCookie } from "../core/cookie_transport/cookie_header.ts";
import { cookieTooLarge, MAX_OCTETS } from "../core/cookie_transport/cookie_line.ts";
import type { CookieSplitting } from "../core/cookie_transport/cookie_splitting.ts";

/** WebKit keeps 16 cookies of 4 000 octets (WebKitGTK 2.50). */
export const MAX_CHUNKS = 16;

/** Splits a token over up to `chunks` cookies: `name`, `name.1`, `name.2` … */
export function splitting(chunks: number): CookieSplitting {
  return {
    join(header, name) {
      const first = readCookie(header, name);
      if (first.value === null) return first;
      let { value } = first;
      // A server with another setting may have set more chunks than this one sets.
      for (let at = 1; at < MAX_CHUNKS; at++) {
        const next = readCookie(header, chunkName(name, at));
        if (next.isAmbiguous) return next;
        if (next.value === null) break;
        value += next.value;
      }
      return { ...first, value };
    },
    split(name, token) {
      const values = new Map<string, string>();
      for (let rest = token; rest !== "";) {
        if (values.size === chunks) {
          const limit = chunks === 1 ? "" : ` in each of ${chunks} chunks`;
          const hint = `${limit}; keep less in the session, or raise chunks of cookieSessions()`;
          throw cookieTooLarge(`${name}=`.length + token.length, hint);
        }
        const chunk = chunkName(name, values.size);
        // A program that measures the whole pair counts the `=` as well.
        const room = MAX_OCTETS - `${chunk}=`.length;
        values.set(chunk, rest.slice(0, room));
        rest = rest.slice(room);
      }
      return values;
    },
    unused(request, name, written) {
      const header = request.headers.get("Cookie");
      const names = Array.from({ length: MAX_CHUNKS }, (_, at) => chunkName(name, at));
      return names.filter((each, at) => {
        if (at < written) return false;
        // After a token was written, chunks are expired even if the request does not carry them: another response may
        // just have set them.
        return at === 0 || (written > 0 && at < chunks) || readCookie(header, each).isPresent;
      });
    },
  };
}

function chunkName(name: string, at: number): string {
  return at === 0 ? name : `${name}.${at}`;
}
