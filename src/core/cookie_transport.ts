import { ABSENT, type CookieValue, readCookie, readCookies } from "./cookie_transport/cookie_header.ts";
import {
  type CookieOptions,
  type CookieSettings,
  resolveCookieOptions,
  withoutPrefix,
} from "./cookie_transport/cookie_options.ts";
import { type CookieScope, distinct, guessedStrays, previousStrays } from "./cookie_transport/cookie_scope.ts";
import { urlOf } from "./address.ts";
import { SessionError } from "./errors.ts";
import { isPlainLoopback } from "./cookie_transport/loopback.ts";
import type { CookieTransport, WriteContext } from "./transport.ts";

export type { CookieOptions, PreviousCookie } from "./cookie_transport/cookie_options.ts";

/** The largest cookie that browsers keep, in octets of name and value (RFC 6265bis, 5.7). */
const MAX_OCTETS = 4096;
/** 400 days, in seconds (RFC 6265bis, 5.5). */
const MAX_COOKIE_AGE = 400 * 24 * 60 * 60;
const EXPIRED = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
/** Browsers keep about 150 cookies of one site. */
const MAX_CHUNKS = 50;

/** Gives the attributes for a request, such as a domain for each tenant. */
export type CookieFunction = (request: Request, ...rest: never[]) => CookieOptions;

/**
 * Carries the token in a cookie.
 *
 * @param options The attributes, or a function that gives them for a request
 * @param splitting `chunks`: over how many cookies a token may be split, `name`, `name.1`, `name.2` …; 1 by default
 * @throws {TypeError} If an attribute is malformed or unknown, or contradicts another one or the name's prefix
 * @throws {RangeError} If `maxAge` or `chunks` is out of range
 */
export function cookieTransport(
  options: CookieOptions | CookieFunction = {},
  { chunks = 1 }: { readonly chunks?: number } = {},
): CookieTransport {
  if (!(Number.isSafeInteger(chunks) && chunks >= 1 && chunks <= MAX_CHUNKS))
    throw new RangeError(`Cannot use the cookie: chunks must be a whole number from 1 to ${MAX_CHUNKS}`);
  const cookieFor = resolver(options);

  const formFor = (request: Request, runtimeArguments: readonly unknown[]): Form => {
    const { usual, onLoopback } = cookieFor(request, runtimeArguments);
    return onLoopback !== usual && isPlainLoopback(request) ? onLoopback : usual;
  };

  const presented = (request: Request, runtimeArguments: readonly unknown[]): Presented => {
    const header = request.headers.get("Cookie");
    if (header === null) return ABSENT;
    const { settings, scope, previous } = formFor(request, runtimeArguments);
    const found: Presented = readChunks(header, scope.name, chunks);
    if (found.isPresent) return found;
    for (const [at, { name }] of previous.entries()) {
      const older = readChunks(header, name, chunks);
      if (older.isPresent) return { ...older, previousName: settings.previous[at]?.name };
    }
    return found;
  };

  /** Expires a cookie and its chunks, from the chunk with the number `from` on. */
  const expire = (headers: Headers, { attributesOf }: Form, scope: CookieScope, request: Request, from = 0): void => {
    const header = request.headers.get("Cookie");
    for (let at = from; at < (chunks > 1 ? MAX_CHUNKS : 1); at++) {
      const name = chunkName(scope.name, at);
      // Chunks are expired even if the request does not carry them: another response may just have set them.
      if (at === 0 || (at < chunks && from > 0) || readCookie(header, name).isPresent)
        headers.append("Set-Cookie", `${name}=${EXPIRED}${attributesOf(scope)}`);
    }
  };

  const expireStrays = (headers: Headers, form: Form, { request, runtimeArguments }: WriteContext): void => {
    const { scope, previous, isSecure } = form;
    const { isAmbiguous } = presented(request, runtimeArguments);
    if (previous.length === 0 && !isAmbiguous) return;
    const header = request.headers.get("Cookie");
    const url = urlOf(request.url);
    const strays = previousStrays(scope, previous, url, (name) => readCookie(header, name).isPresent);
    if (isAmbiguous) strays.push(...guessedStrays(scope, url, isSecure));
    for (const stray of distinct(scope, strays)) expire(headers, form, stray, request);
  };

  return {
    requestHeader: "Cookie",
    read: (request, runtimeArguments = []) => presented(request, runtimeArguments).value,
    write(headers, token, context) {
      const { maxAge, request, runtimeArguments } = context;
      const form = formFor(request, runtimeArguments);
      const { name } = form.scope;
      const values = split(name, token, chunks);
      // These lines come before the token's own line: a browser that takes a stray scope for the same one keeps the last line.
      expireStrays(headers, form, context);
      for (const [at, value] of values.entries())
        headers.append("Set-Cookie", `${chunkName(name, at)}=${value}${ageOf(maxAge)}${form.attributes}`);
      if (chunks > 1) expire(headers, form, form.scope, request, values.length);
    },
    clear(headers, context) {
      const { request, runtimeArguments } = context;
      const form = formFor(request, runtimeArguments);
      expireStrays(headers, form, context);
      expire(headers, form, form.scope, request);
    },
    isAmbiguous: (request, runtimeArguments) => presented(request, runtimeArguments).isAmbiguous,
    expireStrays: (headers, context) =>
      expireStrays(headers, formFor(context.request, context.runtimeArguments), context),
    isStale(request, runtimeArguments) {
      // Every request that uses its session asks this, and few programs have renamed their cookie.
      if (cookieFor(request, runtimeArguments).settings.previous.length === 0) return false;
      const { scope, previous } = formFor(request, runtimeArguments);
      const header = request.headers.get("Cookie");
      return previous.some(({ name }) => name !== scope.name && readCookie(header, name).isPresent);
    },
    presentedName(request, runtimeArguments) {
      const { previous, scope } = cookieFor(request, runtimeArguments).settings;
      // Each load asks this, and few programs have renamed their cookie: the header is not parsed again.
      return previous.length === 0 ? scope.name : (presented(request, runtimeArguments).previousName ?? scope.name);
    },
    name: (request, runtimeArguments) => cookieFor(request, runtimeArguments).settings.scope.name,
    lifetime: (request, runtimeArguments) => cookieFor(request, runtimeArguments).settings,
    assertFits(token, { request, runtimeArguments }) {
      split(formFor(request, runtimeArguments).scope.name, token, chunks);
    },
    cookieName: (request, runtimeArguments) => formFor(request, runtimeArguments).scope.name,
    readBeside: (request, _runtimeArguments, prefix) => readCookies(request.headers.get("Cookie"), prefix),
    writeBeside(headers, name, value, { maxAge, request, runtimeArguments }) {
      split(name, value, 1);
      const age = maxAge === 0 ? EXPIRED : ageOf(maxAge);
      headers.append("Set-Cookie", `${name}=${value}${age}${formFor(request, runtimeArguments).attributes}`);
    },
  };
}

/** The cookie that the client presented. */
interface Presented extends CookieValue {
  /** The name of the previous scope, with its prefix, if the token came in a cookie of that scope. */
  readonly previousName?: string | undefined;
}

function readChunks(header: string, name: string, chunks: number): CookieValue {
  const first = readCookie(header, name);
  if (chunks === 1 || first.value === null) return first;
  let { value } = first;
  for (let at = 1; at < MAX_CHUNKS; at++) {
    const next = readCookie(header, chunkName(name, at));
    if (next.isAmbiguous) return next;
    if (next.value === null) break;
    value += next.value;
  }
  return { ...first, value };
}

function chunkName(name: string, at: number): string {
  return at === 0 ? name : `${name}.${at}`;
}

/** @throws {SessionError} `ERR_COOKIE_TOO_LARGE`: browsers silently drop a larger cookie */
function split(name: string, token: string, chunks: number): string[] {
  const values: string[] = [];
  let rest = token;
  while (rest !== "") {
    if (values.length === chunks) {
      const limit = chunks === 1 ? "" : ` in each of ${chunks} chunks`;
      const octets = name.length + token.length;
      throw new SessionError(
        "ERR_COOKIE_TOO_LARGE",
        `Cannot send the cookie: it has ${octets} octets, browsers keep ${MAX_OCTETS}${limit}; keep less in the session, or raise chunks of cookieSessions()`,
      );
    }
    const room = MAX_OCTETS - chunkName(name, values.length).length;
    values.push(rest.slice(0, room));
    rest = rest.slice(room);
  }
  return values;
}

function ageOf(maxAge: number | null): string {
  return maxAge === null ? "" : `; Max-Age=${Math.min(MAX_COOKIE_AGE, Math.ceil(maxAge))}`;
}

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
