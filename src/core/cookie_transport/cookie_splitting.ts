import type { CookieValue } from "./cookie_header.ts";

/** How a token is split over several cookies, for a repository whose tokens are long. */
export interface CookieSplitting {
  /**
   * The token that a request carries under a name.
   *
   * @param header The header `Cookie`
   * @param name The name of the session cookie
   */
  join(header: string, name: string): CookieValue;
  /**
   * The values of the cookies for a token, by their names. The first name is the one that is given.
   *
   * @throws {SessionError} `ERR_COOKIE_TOO_LARGE`
   */
  split(name: string, token: string): ReadonlyMap<string, string>;
  /**
   * The names of the cookies to expire: those that hold a token under this name, or may hold one. After a token was
   * written in `written` cookies, only those that it does not need.
   */
  unused(request: Request, name: string, written: number): readonly string[];
}
