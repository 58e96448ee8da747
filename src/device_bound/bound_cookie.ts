/**
 * The bound cookie. It shows that the browser has recently proved that it holds the key. It contains the instant at
 * which the proof expires, signed.
 *
 * @module
 */
import { writeBeside } from "../core/cookie_transport/cookie_beside.ts";
import { readCookies } from "../core/cookie_transport/cookie_header.ts";
import { CLOCK_ERROR } from "../core/expiry.ts";
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import type { Operation } from "../core/repository.ts";
import { cookieName } from "../core/response.ts";
import { type CookieTransport, isCookieTransport, type Transport } from "../core/transport.ts";
import type { Binding } from "./binding.ts";
import type { SignaturesOf } from "./signatures.ts";

const SUFFIX = "-bound";
const PURPOSE = "cookie";

/** How long a proof, and its cookie, are valid. */
export interface ProofLifetime {
  /** How long a proof is valid, in seconds. */
  readonly validFor: number;
  /** How long the browser keeps the cookie, in seconds. */
  readonly maxAge: number;
}

/**
 * The lifetimes for a proof that is valid for a number of seconds. The browser drops the cookie earlier, because the
 * clocks of servers may differ, and asks for a new one then. Otherwise a server whose clock is ahead would reject a
 * cookie that the browser still presents.
 */
export function proofLifetime(validFor: number): ProofLifetime {
  return { validFor, maxAge: Math.ceil(Math.max(validFor - CLOCK_ERROR, validFor / 2)) };
}

/** The parts of an operation that are needed to read and write its cookies. */
export interface CookieExchange {
  readonly transport: CookieTransport;
  readonly request: Request;
  readonly runtimeArguments: readonly unknown[];
}

/** The exchange of an operation, if its token travels by cookie. */
export function exchangeOf({ transport, request, runtimeArguments }: Operation): CookieExchange | null {
  return isCookieTransport(transport) && request !== undefined ? { transport, request, runtimeArguments } : null;
}

/** The name of the bound cookie. */
export function boundCookieName({ transport, request, runtimeArguments }: CookieExchange): string {
  return transport.cookieName(request, runtimeArguments) + SUFFIX;
}

/** The value of the bound cookie that the client presented. */
export function presentedProof(exchange: CookieExchange): string | undefined {
  return readCookies(exchange.request.headers.get("Cookie"), boundCookieName(exchange)).get("");
}

/** Whether a request carries a bound cookie for one of these transports. Another program may have cookies whose names end alike. */
export function carriesProof(
  request: Request,
  runtimeArguments: readonly unknown[],
  transports: readonly Transport[],
): boolean {
  return transports
    .filter(isCookieTransport)
    .some((transport) => presentedProof({ transport, request, runtimeArguments }) !== undefined);
}

/** Sets the bound cookie, for a proof that was given now. */
export function writeProof(
  headers: Headers,
  binding: Binding,
  exchange: CookieExchange,
  now: number,
  signaturesOf: SignaturesOf,
  { validFor, maxAge }: ProofLifetime,
): MaybePromise<void> {
  const end = Math.ceil(now + validFor * 1000).toString(36);
  return chain(signaturesOf(binding, exchange.runtimeArguments), (signatures) =>
    chain(signatures.sign(PURPOSE, end), (value) => write(headers, value, exchange, maxAge)),
  );
}

/** Whether the bound cookie of a request shows a proof that is still valid. */
export function hasProof(
  binding: Binding,
  exchange: CookieExchange,
  now: number,
  signaturesOf: SignaturesOf,
): MaybePromise<boolean> {
  const presented = presentedProof(exchange);
  if (presented === undefined) return false;
  return chain(signaturesOf(binding, exchange.runtimeArguments), (signatures) =>
    chain(signatures.verify(PURPOSE, presented), (end) => end !== null && Number.parseInt(end, 36) > now),
  );
}

/** Makes the browser drop the bound cookie. */
export function expireProof(headers: Headers, exchange: CookieExchange): void {
  write(headers, "", exchange, 0);
}

/**
 * Removes what changes the session cookie from a response, so that the browser keeps the one that it has. That may be a
 * cookie of a previous name, which is expired where the present one is written or expired.
 */
export function keepSessionCookie(headers: Headers, { transport, request, runtimeArguments }: CookieExchange): void {
  const clearing = new Headers();
  transport.clear(clearing, { maxAge: 0, request, runtimeArguments });
  const names = new Set(clearing.getSetCookie().map(cookieName));
  const kept = headers.getSetCookie().filter((line) => !names.has(cookieName(line)));
  headers.delete("Set-Cookie");
  for (const line of kept) headers.append("Set-Cookie", line);
}

/** The attributes of the bound cookie, as the browser expects them: without `Max-Age` and `Expires`. */
export function boundCookieAttributes(exchange: CookieExchange): string {
  const { transport, request, runtimeArguments } = exchange;
  return transport.cookieAttributes(request, runtimeArguments).slice("; ".length);
}

function write(headers: Headers, value: string, exchange: CookieExchange, maxAge: number): void {
  const { transport, request, runtimeArguments } = exchange;
  writeBeside(transport, headers, boundCookieName(exchange), value, { maxAge, request, runtimeArguments });
}
