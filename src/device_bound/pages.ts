/**
 * Answers to page loads of a browser that holds the key and has no fresh proof.
 *
 * @module
 */
import { urlOf } from "../core/address.ts";
import { internalsOf } from "../core/session_internals.ts";
import type { Repository } from "../core/repository.ts";
import type { Transport } from "../core/transport.ts";
import { carriesProof } from "./bound_cookie.ts";
import { isSkipped } from "./messages.ts";

/** The reason for rejecting a bound session if its request shows no fresh proof. */
export const REASON = "proof";

/**
 * Answers a request in place of the handler, which would find no session:
 *
 * - The user follows a link on another site: browsers do not refresh before a request that another site causes. The
 *   answer is a page that loads the address again, as a request of this site.
 * - The browser says that it could not refresh now: the answer is 503 with `Retry-After`.
 *
 * @param transports Those of the managers with the plugin, by their repositories
 */
export async function answerWithoutProof(
  request: Request,
  session: object,
  transports: WeakMap<Repository, readonly Transport[]>,
): Promise<Response | undefined> {
  const skipped = isSkipped(request);
  if (!skipped && !comesFromOutside(request)) return undefined;
  // This counts as a use of the session, so it comes after the checks that most requests do not pass.
  const internals = internalsOf(session);
  const { policy, runtimeArguments } = internals;
  if (!skipped && carriesProof(request, runtimeArguments, transports.get(policy.repository) ?? [])) return undefined;
  await internals.load();
  if (internals.rejected !== REASON) return undefined;
  return skipped ? comeAgain() : loadAgain(request);
}

/**
 * Whether the user came from a page of another origin. Requests of scripts and frames, and prefetches, do not count.
 */
function comesFromOutside({ method, headers }: Request): boolean {
  return (
    method === "GET" &&
    headers.get("Sec-Fetch-Mode") === "navigate" &&
    headers.get("Sec-Fetch-Dest") === "document" &&
    /^(?:cross-site|same-site)$/.test(headers.get("Sec-Fetch-Site") ?? "") &&
    !headers.has("Sec-Purpose")
  );
}

/** The address is relative, because a proxy may have removed a part of the path. */
function loadAgain(request: Request): Response {
  const { pathname, search } = urlOf(request.url);
  const address = `./${pathname.slice(pathname.lastIndexOf("/") + 1)}${search}`;
  return new Response("<!doctype html><title>…</title>", {
    headers: { "Refresh": `0;url=${address}`, "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8" },
  });
}

function comeAgain(): Response {
  return new Response("Your browser could not confirm your session. Please load the page again in a minute.", {
    status: 503,
    headers: { "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8", "Retry-After": "60" },
  });
}
