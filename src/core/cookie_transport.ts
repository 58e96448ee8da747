import { ABSENT, type CookieValue, readCookie } from "./cookie_transport/cookie_header.ts";
import { ageOf, assertCookieFits, EXPIRED } from "./cookie_transport/cookie_line.ts";
import {
  type CookieOptions,
  type CookieSettings,
  resolveCookieOptions,
  withoutPrefix,
} from "./cookie_transport/cookie_options.ts";
import { type CookieScope, distinct, guessedStrays, previousStrays } from "./cookie_transport/cookie_scope.ts";
import type { CookieSplitting } from "./cookie_transport/cookie_splitting.ts";
import { urlOf } from "./address.ts";
import { isPlainLoopback } from "./cookie_transport/loopback.ts";
import type { CookieTransport, WriteContext } from "./transport.ts";

export type { CookieOptions, PreviousCookie } from "./cookie_transport/cookie_options.ts";

/** Gives the attributes for a request, such as a domain for each tenant. */
export type CookieFunction = (request: Request, ...rest: never[]) => CookieOptions;

/**
 * Carries the token in a cookie.
 *
 * @param options The attributes, or a function that gives them for a request
 * @param splitting How a token is split over several cookies. @default One cookie
 * @throws {TypeError} If an attribute is malformed or unknown, or contradicts another one or the name's prefix
 * @throws {RangeError} If `maxAge` is out of range
 */
export function cookieTransport(
  options: CookieOptions | CookieFunction = {},
  splitting: CookieSplitting = ONE_COOKIE,
): CookieTransport {
  const cookieFor = resolver(options);

  const formFor = (request: Request, runtimeArguments: readonly unknown[]): Form => {
    const { usual, onLoopback } = cookieFor(request, runtimeArguments);
    return onLoopback !== usual && isPlainLoopback(request) ? onLoopback : usual;
  };

  const presented = (request: Request, runtimeArguments: readonly unknown[]): Presented => {
    const header = request.headers.get("Cookie");
    if (header === null) return ABSENT;
    const { settings, scope, previous } = formFor(request, runtimeArguments);
    const found: Presented = splitting.join(header, scope.name);
    if (found.isPresent) return found;
    for (const [at, { name }] of previous.entries()) {
      const older = splitting.join(header, name);
      if (older.isPresent) return { ...older, previousName: settings.previous[at]?.name, cookie: name };
    }
    return found;
  };

  /** Expires a cookie and those that belong to it; of a token that was just written, only those that it does not need. */
  const expire = (
    headers: Headers,
    { attributesOf }: Form,
    scope: CookieScope,
    request: Request,
    written = 0,
  ): void => {
    for (const each of splitting.unused(request, scope.name, written))
      headers.append("Set-Cookie", `${each}=${EXPIRED}${attributesOf(scope)}`);
  };

  /** With `keepsRead`, the cookie of a previous name stays if the token was read from it. */
  const expireStrays = (headers: Headers, form: Form, context: WriteContext, keepsRead = false): void => {
    const { request, runtimeArguments } = context;
    const { scope, previous, isSecure } = form;
    const { isAmbiguous, cookie } = presented(request, runtimeArguments);
    const kept = keepsRead && !isAmbiguous ? cookie : undefined;
    if (previous.length === 0 && !isAmbiguous) return;
    const header = request.headers.get("Cookie");
    const url = urlOf(request.url);
    const strays = previousStrays(scope, previous, url, (name) => readCookie(header, name).isPresent);
    if (isAmbiguous) strays.push(...guessedStrays(scope, url, isSecure));
    for (const stray of distinct(scope, strays)) if (stray.name !== kept) expire(headers, form, stray, request);
  };

  return {
    requestHeader: "Cookie",
    read: (request, runtimeArguments = []) => presented(request, runtimeArguments).value,
    write(headers, token, context) {
      const { maxAge, request, runtimeArguments } = context;
      const form = formFor(request, runtimeArguments);
      const values = splitting.split(form.scope.name, token);
      // These lines come before the token's own line: a browser that takes a stray scope for the same one keeps the last line.
      expireStrays(headers, form, context);
      for (const [name, value] of values)
        headers.append("Set-Cookie", `${name}=${value}${ageOf(maxAge)}${form.attributes}`);
      expire(headers, form, form.scope, request, values.size);
    },
    clear(headers, context) {
      const { request, runtimeArguments } = context;
      const form = formFor(request, runtimeArguments);
      expireStrays(headers, form, context);
      expire(headers, form, form.scope, request);
    },
    isAmbiguous: (request, runtimeArguments) => presented(request, runtimeArguments).isAmbiguous,
    expireStrays: (headers, context) =>
      expireStrays(headers, formFor(context.request, context.runtimeArguments), context, true),
    isStale(request, runtimeArguments) {
      // Every request that uses its session asks this, and few programs have renamed their cookie.
      if (cookieFor(request, runtimeArguments).settings.previous.length === 0) return false;
      const { scope, previous } = formFor(request, runtimeArguments);
      const header = request.headers.get("Cookie");
      const own = readCookie(header, scope.name).value;
      return previous.some(({ name }) => {
        if (name === scope.name) return false;
        const { isPresent, value } = readCookie(header, name);
        // A copy of the token is harmless, and is expired with the next write. During a rollout, requests at once may reach servers for
        // which either name is the previous one: if each of them expired the other's copy, the client would be left with none.
        return isPresent && (value === null || value !== own);
      });
    },
    presentedName(request, runtimeArguments) {
      const { previous, scope } = cookieFor(request, runtimeArguments).settings;
      // Each load asks this, and few programs have renamed their cookie: the header is not parsed again.
      return previous.length === 0 ? scope.name : (presented(request, runtimeArguments).previousName ?? scope.name);
    },
    name: (request, runtimeArguments) => cookieFor(request, runtimeArguments).settings.scope.name,
    lifetime: (request, runtimeArguments) => cookieFor(request, runtimeArguments).settings,
    assertFits(token, { request, runtimeArguments }) {
      splitting.split(formFor(request, runtimeArguments).scope.name, token);
    },
    cookieName: (request, runtimeArguments) => formFor(request, runtimeArguments).scope.name,
    cookieAttributes: (request, runtimeArguments) => formFor(request, runtimeArguments).attributes,
  };
}

/** The cookie that the client presented. */
interface Presented extends CookieValue {
  /** The name of the previous scope, with its prefix, if the token came in a cookie of that scope. */
  readonly previousName?: string | undefined;
  /** The name of that cookie in the request, without a prefix on plain-http loopback. */
  readonly cookie?: string;
}

/** One cookie for a token. */
const ONE_COOKIE: CookieSplitting = {
  join: readCookie,
  split(name, token) {
    assertCookieFits(name, token);
    return new Map([[name, token]]);
  },
  unused: (_request, name, written) => (written === 0 ? [name] : []),
};

/** The two forms of a cookie. */
interface Cookie {
  readonly settings: CookieSettings;
  readonly usual: Form;
  /** On plain-http loopback: without prefix, `Secure` and `Partitioned`. */
  readonly onLoopback: Form;
}

interface Form {
  readonly settings: CookieSettings;
  readonly scope: CookieScope;
  readonly previous: readonly CookieScope[];
  readonly isSecure: boolean;
  /** The attributes for `scope`, as text. */
  readonly attributes: string;
  attributesOf(scope: CookieScope): string;
}

/** A function that gives the cookie for a request. A `CookieFunction` is called once for each request. */
function resolver(
  options: CookieOptions | CookieFunction,
): (request: Request, runtimeArguments: readonly unknown[]) => Cookie {
  if (typeof options !== "function") {
    const cookie = cookieOf(options);
    return () => cookie;
  }
  const known = new WeakMap<Request, Cookie>();
  return (request, runtimeArguments) => {
    let cookie = known.get(request);
    if (cookie === undefined) {
      cookie = cookieOf(Reflect.apply(options, undefined, [request, ...runtimeArguments]));
      known.set(request, cookie);
    }
    return cookie;
  };
}

function cookieOf(options: CookieOptions): Cookie {
  const settings = resolveCookieOptions(options);
  const usual = formOf(settings, false);
  return { settings, usual, onLoopback: settings.alwaysSecure ? usual : formOf(settings, true) };
}

function formOf(settings: CookieSettings, onLoopback: boolean): Form {
  const { httpOnly, sameSite, previous } = settings;
  const isSecure = settings.secure && !onLoopback;
  const travelling = (scope: CookieScope): CookieScope => (onLoopback ? localScope(scope) : scope);
  // SameSite=None needs Secure, which plain http cannot have.
  const site = onLoopback && sameSite === "None" ? "Lax" : sameSite;
  const attributesOf = ({ domain, path, partitioned }: CookieScope): string =>
    `; Path=${path}${domain === undefined ? "" : `; Domain=${domain}`}${isSecure ? "; Secure" : ""}` +
    `${httpOnly ? "; HttpOnly" : ""}; SameSite=${site}${partitioned ? "; Partitioned" : ""}`;
  const scope = travelling(settings.scope);
  return {
    settings,
    scope,
    previous: previous.map(travelling),
    isSecure,
    attributes: attributesOf(scope),
    attributesOf,
  };
}

/** The scope on plain-http loopback. Browsers refuse a cookie there whose domain is another host. */
function localScope({ name, domain = "", path }: CookieScope): CookieScope {
  const ownDomain = /(?:^|\.)localhost$/i.test(domain) ? domain : undefined;
  return { name: withoutPrefix(name), domain: ownDomain, path, partitioned: false };
}
