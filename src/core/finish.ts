import type { ActiveSession } from "./session/active_session.ts";
import { hasCode, isOutage } from "./errors.ts";
import { chain, type MaybePromise, recovering, settling } from "./maybe_promise.ts";
import { joinNested, mayBeNested } from "./nested.ts";
import { beginOperation } from "./operation.ts";
import type { Plugin } from "./plugin.ts";
import type { Policy } from "./policy.ts";
import type { Operation } from "./repository.ts";
import { reinstate } from "./recovery.ts";
import type { RequestTransport } from "./request_transport.ts";
import { applyHeaders, applyPrivacy, keepPrivate } from "./response.ts";
import { reportFailure } from "./store_client.ts";
import type { LazySession } from "./session/lazy_session.ts";
import { argumentsOf } from "./options/store_resolver.ts";
import { isTouchDue, maxAgeOf } from "./commit/touch.ts";
import { isObject } from "./kind_of.ts";

/** Keeps the process alive until a promise settles. */
export type WaitUntil = (promise: Promise<unknown>) => void;

/** The headers that a response must carry. If there are none: the names of the request headers on which it depends. */
type ResponseHeaders = Headers | readonly string[];

/** Stores a session at the end of its request, and answers the headers that the response must carry; undefined if the session was not used. */
export function commit(session: LazySession, waitUntil?: WaitUntil): MaybePromise<Headers | undefined> {
  return end(session, undefined, waitUntil, (required) => {
    if (!isNames(required)) return required;
    const headers = new Headers();
    keepPrivate(headers, required);
    return headers;
  });
}

/** Stores a session at the end of its request, and answers the response with its headers. */
export function respond<Answer extends Response | undefined>(
  session: LazySession,
  response: Answer,
  waitUntil: WaitUntil | undefined,
): MaybePromise<Answer> {
  return end(session, response, waitUntil, (required): MaybePromise<Answer> => {
    if (required === undefined) return response;
    try {
      const answer =
        response && (isNames(required) ? applyPrivacy(response, required) : applyHeaders(response, required));
      // Without a response, such as after an upgrade on Bun, no client gets a new id.
      if (!answer) return chain(discard(session), () => response);
      session.confirmNewId();
      return answer as Answer;
    } catch (error) {
      // A response whose body was read cannot be copied, so the client does not get the new id either.
      return chain(discard(session), () => Promise.reject(error));
    }
  });
}

/** Ends a request whose response carries nothing of the session. */
export function discard(session: LazySession): Promise<void> | undefined {
  session.close();
  return session.active && undoRotation(session.active);
}

/** Stores a session at the end of its request. `next` gets what the response must carry; undefined if the session was not used. */
function end<Next>(
  session: LazySession,
  response: Response | undefined,
  waitUntil: WaitUntil | undefined,
  next: (required: ResponseHeaders | undefined) => MaybePromise<Next>,
): MaybePromise<Next> {
  const { active } = session;
  if (active === undefined) {
    session.close();
    return next(undefined);
  }
  return settling(
    () => finish(active, response, waitUntil),
    (required) => {
      session.close();
      return next(required);
    },
    (error) => chain(discard(session), () => Promise.reject(error)),
  );
}

function isNames(required: ResponseHeaders | undefined): required is readonly string[] {
  return Array.isArray(required);
}

/** Stores a session at the end of its request, and answers what the response must carry. */
function finish(
  active: ActiveSession,
  response: Response | undefined,
  waitUntil: WaitUntil | undefined,
): MaybePromise<ResponseHeaders> {
  return chain(active.calls.done(), () => {
    active.detectChanges();
    if (response === undefined || !mayBeNested(active, response)) return finishJoined(active, waitUntil);
    return joinNested(active, response).then(
      () => finishJoined(active, waitUntil),
      async (error: unknown) => await answer(active, await tolerate(active, error)),
    );
  });
}

function finishJoined(active: ActiveSession, waitUntil: WaitUntil | undefined): MaybePromise<ResponseHeaders> {
  assertClearable(active);
  if (!active.mustStore && !active.calls.isBusy) return answer(active, !active.isGone);
  if (waitUntil === undefined || !active.policy.persistsAfterResponse) return storeAll(active);
  return storeLater(active, waitUntil);
}

async function storeLater(active: ActiveSession, waitUntil: WaitUntil): Promise<ResponseHeaders> {
  if (!(await isRoutine(active))) return await storeAll(active);
  waitUntil(Promise.resolve(store(active)).catch(() => {}));
  return await answer(active, true);
}

/** Notes that the response is on its way, and answers what it must carry. */
function answer(active: ActiveSession, isStored: boolean): MaybePromise<ResponseHeaders> {
  active.isSent = true;
  return responseHeaders(active, isStored);
}

/**
 * The function that keeps the process alive after a response, from the options or from the arguments of the
 * runtime; undefined if the response must wait. A redirect waits, because the browser follows it at once and
 * would find the old state of the session.
 */
export function waitUntilFor(
  { persistsAfterResponse, waitUntil }: Policy,
  response: Response | undefined,
  rest: readonly unknown[],
): WaitUntil | undefined {
  if (!persistsAfterResponse || response === undefined) return undefined;
  if (response.status >= 300 && response.status < 400 && response.headers.has("Location")) return undefined;
  if (waitUntil !== undefined) return (promise) => waitUntil(promise, ...argumentsOf(rest));
  for (const each of rest) {
    // An environment may throw when a name is read that it does not have.
    if (!isObject(each) || !("waitUntil" in each)) continue;
    const { waitUntil: found } = each;
    if (typeof found === "function") return (promise) => found.call(each, promise);
  }
  return undefined;
}

/**
 * The most commits at the end of a request. Each of them stores the changes that were recorded during the one before. A
 * task that changes the session all the time must not hold back the response for ever.
 */
const MAX_COMMITS = 100;

/** Stores everything that is pending, and what a stream or another task records meanwhile. Then it answers what the response must carry. */
function storeAll(active: ActiveSession, commits = 1): MaybePromise<ResponseHeaders> {
  const { revision } = active.copy;
  return chain(store(active), (isStored) =>
    chain(active.calls.done(), () => {
      let isChanged = false;
      // This waits for the commits that have begun. Until the response carries their result, no other one may begin. The result
      // of this function takes some turns to reach the caller: a change that comes meanwhile must be late, or it would be lost.
      const closing = active.calls.exclusively(() => {
        isChanged = isStored && active.copy.revision !== revision && active.mustStore;
        active.isSent ||= !isChanged || commits === MAX_COMMITS;
      });
      return chain(closing, () => {
        if (!active.isSent) return storeAll(active, commits + 1);
        if (isChanged) active.storeIfLate();
        return answer(active, isStored);
      });
    }),
  );
}

/** Stores everything that is pending. Answers false if that failed, but the response can be sent nevertheless. */
function store(active: ActiveSession): MaybePromise<boolean> {
  return settling(
    () => active.save(true),
    () => !active.isGone,
    (error) => tolerate(active, error),
  );
}

/**
 * Answers false if the response can be sent although the session was not stored. Then it undoes only the last rotation, if it got
 * no answer. The response carries the id from before that rotation, which may also be new to the client.
 *
 * @throws The error, if it is not tolerated
 */
async function tolerate(active: ActiveSession, error: unknown): Promise<false> {
  const isTolerated = active.policy.toleratesFailure && (isOutage(error) || hasCode(error, "ERR_CONFLICT"));
  if (!isTolerated && !hasCode(error, "ERR_SESSION_GONE")) throw error;
  await reinstate(active, undefined);
  return false;
}

/**
 * Whether the response need not wait for the commit. It must wait in these cases:
 *
 * - The session begins, gets a new id or ends.
 * - A plugin has recorded metadata, which may be refused.
 * - The token is sent again, because the timeouts change or the session was used. If another request has signed the user in
 *   meanwhile, the old token would replace that of the login.
 * - An earlier commit is still running, or failed.
 */
async function isRoutine(active: ActiveSession): Promise<boolean> {
  const { copy } = active;
  if (copy.isPending) await active.load();
  // The response may also have to carry the result of an unconfirmed write.
  if (!copy.base || active.isGone || active.calls.isBusy || active.hasRemains) return false;
  const { rotation, timeouts, metadataChanges } = copy.pending;
  if (rotation !== undefined || timeouts !== undefined || metadataChanges.length > 0) return false;
  return !active.isRenewed && !isTouchDue(active, copy.base);
}

function assertClearable({ copy, clearSiteData }: ActiveSession): void {
  if (!clearSiteData.some((word) => word === "cookies" || word === "*") || !copy.exists) return;
  throw new TypeError("Cannot begin a session in a response that clears cookies: leave out clearSiteData");
}

/** The headers of the session that the response must carry. */
function responseHeaders(active: ActiveSession, isStored: boolean): MaybePromise<ResponseHeaders> {
  const { transport, policy, clearSiteData } = active;
  if (transport === undefined) return [];
  const writeToken = tokenWriter(active, transport, isStored);
  const mayRespond = writeToken !== undefined || isStored;
  const isExtended = mayRespond && policy.plugins.some(responds);
  // Most responses carry nothing, and creating `Headers` is expensive.
  if (writeToken === undefined && !isExtended) return transport.varyHeaders;
  const headers = new Headers();
  writeToken?.(headers);
  if (active.isEnded && isStored && clearSiteData.length > 0)
    headers.set("Clear-Site-Data", clearSiteData.map((word) => `"${word}"`).join(", "));
  const done = (): ResponseHeaders => {
    if (headers.keys().next().done) return transport.varyHeaders;
    // The headers of a plugin alone do not say that the response is private.
    if (!headers.has("Cache-Control")) keepPrivate(headers, transport.varyHeaders);
    return headers;
  };
  if (!isExtended) return done();
  const extend = async (op: Operation): Promise<ResponseHeaders> => {
    for (const plugin of policy.plugins) await plugin.respond?.(headers, op);
    return done();
  };
  return recovering(
    () => chain(beginOperation(active), extend),
    (error) => {
      // A request that loads and stores nothing opens the store only here.
      if (!policy.toleratesFailure || !isOutage(error)) throw error;
      if (active.unavailable === undefined) reportFailure(active, "load", error);
      return done();
    },
  );
}

function responds({ respond }: Plugin): boolean {
  return respond !== undefined;
}

/** The function that writes or clears the token, or expires stray ones; undefined if the response carries none of this. */
function tokenWriter(
  active: ActiveSession,
  transport: RequestTransport,
  isStored: boolean,
): ((headers: Headers) => void) | undefined {
  const { copy, presented, isGone } = active;
  const { base } = copy;
  // A stored id must reach the client even if a later commit failed, because the id that the client holds may be retired.
  const isNewToClient = base && !isGone && base.token !== presented;
  if (base && (isNewToClient || (isStored && (active.isRenewed || transport.lifetime?.refresh === "always")))) {
    return (headers) => transport.write(headers, base.token, maxAgeOf(active, base.metadata));
  }
  // A request that goes on although the store failed leaves the cookie alone, also that of a session that has ended.
  if (!base && isStored && active.isEnded) return (headers) => transport.clear(headers);
  if (!base && isStored && active.isDead && active.unavailable === undefined)
    return (headers) => transport.clearDead(headers);
  // The token itself is not sent again: the response of a login may have replaced it meanwhile.
  return active.rejected === "ambiguous" ? (headers) => transport.expireStrays(headers) : undefined;
}

/**
 * Reinstates a session that got a new id in this request, if the response does not carry that id. It waits for a
 * rotation that is still running, because the handler may not have awaited it.
 */
async function undoRotation(active: ActiveSession): Promise<void> {
  while (active.rotating !== undefined) await active.rotating.catch(() => {});
  const { retired } = active;
  active.retired = undefined;
  await reinstate(active, retired);
}
