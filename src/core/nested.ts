import type { ActiveSession } from "./session/active_session.ts";
import { urlOf } from "./address.ts";
import { openAdmitted } from "./admission.ts";
import { type Change, EMPTY } from "./changes.ts";
import { endPending } from "./commit/end_pending.ts";
import { isSessionError } from "./errors.ts";
import type { FieldsView } from "./fields.ts";
import { beginOperation } from "./operation.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import { NO_FIELDS } from "./record_fields.ts";
import type { Found, Operation } from "./repository.ts";
import { RequestTransport } from "./request_transport.ts";
import { setCookiesOf } from "./response.ts";
import { reportFailure } from "./store_client.ts";
import { difference } from "./store_repository/record_write.ts";
import type { WorkingCopy } from "./working_copy.ts";

/**
 * A handler may call another wrapped handler and return its response: a framework's sub-request, or a mounted
 * application. If that response carries a token under the name of this session, the changes of this request go into the
 * session of that token, so that neither request loses its data.
 */
export async function joinNested(active: ActiveSession, response: Response): Promise<void> {
  const { policy, runtimeArguments, transport, copy } = active;
  if (transport === undefined) return;
  const { request } = transport;
  const headers = new Headers(request.headers);
  for (const { requestHeader, responseHeader } of policy.transports) {
    if (requestHeader === undefined) continue;
    // What the client itself has sent is not the response's token. It may be the id of another session.
    headers.delete(requestHeader);
    const sent = responseHeader === undefined ? null : response.headers.get(responseHeader);
    if (sent !== null) headers.set(requestHeader, sent);
  }
  const pairs = setCookiesOf(response.headers).map((line) => line.split(";", 1)[0] ?? "");
  // A line without a value expires a cookie, perhaps one of the same name in another scope.
  headers.set("Cookie", pairs.filter((pair) => pair.indexOf("=") < pair.length - 1).join("; "));
  const token = await new RequestTransport(
    policy,
    new Request(urlOf(request.url), { headers }),
    runtimeArguments,
  ).readToken();
  if (token === null) {
    if (policy.repository.tokenHoldsSession === true && isCleared(transport, response)) await leaveEnded(active);
    return;
  }
  if (token === copy.base?.token) return;
  const { pendingDelete } = active;
  // An id that the nested handler has renewed opens nothing, so only the store can tell which session `destroy` ends.
  if (typeof pendingDelete === "string") await reported(active, "store", (op) => endPending(active, pendingDelete, op));
  const found = await reported(active, "load", (op) => openAdmitted(active, token, op));
  if (typeof found === "string") return;
  // After `destroy`, the data of the session must not come back, also if the nested response still brings its token.
  if (isSameSession(found, active.destroyed)) {
    // A store without compare-and-set does not show that the session has another id by now.
    if (found.id !== active.destroyed?.id) active.orphan ??= found;
    return;
  }
  // The client gets the token of the nested response, so it would lose what this request has stored in its own token.
  if (policy.repository.tokenHoldsSession === true) copy.restore({ ...EMPTY, changes: [storedBy(copy)] });
  await copy.setBase(found, active.unconfirmed?.commit.changes);
}

/** Runs a step in a new operation, and reports a failure of the store. */
async function reported<T>(
  active: ActiveSession,
  during: "load" | "store",
  step: (op: Operation) => MaybePromise<T>,
): Promise<T> {
  try {
    return await step(await beginOperation(active));
  } catch (error) {
    if (isSessionError(error)) reportFailure(active, during, error);
    throw error;
  }
}

/** Drops the changes to a session that a nested handler has ended. No store knows that, and its token must not be written again. */
async function leaveEnded(active: ActiveSession): Promise<void> {
  await active.load();
  if (!active.copy.base) return;
  active.isGone = true;
  active.emit({ type: "gone" });
}

/** Whether a response clears the token that this request would write. */
function isCleared(transport: RequestTransport, response: Response): boolean {
  const { responseHeader } = transport.answerer;
  if (responseHeader !== undefined) return response.headers.get(responseHeader) === "";
  const clearing = new Headers();
  transport.clear(clearing);
  const lines = clearing.getSetCookie();
  const sent = setCookiesOf(response.headers);
  // Any response may expire cookies of other scopes.
  return lines.length > 0 && lines.every((line) => sent.includes(line));
}

/** Whether a session is the same as another one, which may have got a new id. */
function isSameSession({ id, metadata }: Found, other: Found | undefined): boolean {
  const isRenewed = metadata.rotatedAt !== undefined && metadata.createdAt === other?.metadata.createdAt;
  return id === other?.id || isRenewed;
}

/** The changes that a request has stored since it loaded its session. */
function storedBy({ base, loaded }: WorkingCopy): Change {
  const before = loaded?.fields ?? NO_FIELDS;
  const after = base?.fields ?? before;
  const run = (fields: FieldsView): void => {
    for (const [name, text] of difference(before, after)) fields.set(name, text ?? undefined);
  };
  return { key: undefined, run };
}

/**
 * Whether a response may come from a nested handler with a session of the same name, so that this request must not
 * write the token of the session that it has loaded, nor clear the token of a session that it has ended or not found. A
 * session that it has begun, or regenerated without a grace, is kept unless changes are pending.
 */
export function mayBeNested(active: ActiveSession, { headers }: Response): boolean {
  const { copy, policy } = active;
  const isLoaded = Boolean(copy.base) && copy.loaded !== null && active.retired === undefined;
  const mayClear = copy.base === null && typeof active.presented === "string";
  if (!copy.isPending && !isLoaded && !mayClear) return false;
  if (headers.has("Set-Cookie")) return true;
  return policy.transports.some(({ responseHeader }) => responseHeader !== undefined && headers.has(responseHeader));
}
