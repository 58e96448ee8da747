import type { Operation } from "./repository.ts";

/**
 * The same operation with some parts replaced, for finding a session. It is not made by spreading, because an
 * operation may have getters and private state, and one of a plugin may inherit its parts from another one.
 */
export function operationWith(op: Operation, own: Partial<Operation>): Operation {
  return {
    now: op.now,
    store: op.store,
    request: op.request,
    runtimeArguments: op.runtimeArguments,
    name: op.name,
    presentedName: op.presentedName,
    isOwnToken: op.isOwnToken,
    isKnown: op.isKnown,
    transport: op.transport,
    session: op.session,
    writeId: op.writeId,
    endsAt: (contents) => op.endsAt(contents),
    emit: (event) => op.emit(event),
    backOff: () => op.backOff(),
    ...own,
  };
}

/**
 * The same operation for a token that this server has made. Such a token is bound to the name under which tokens are
 * written, even if the client presented its token under a previous name. If its id was retired and the client has used
 * the new id, that is not a sign of theft: a request may take hours, and a WebSocket days.
 */
export function forOwnToken(op: Operation): Operation {
  return operationWith(op, { presentedName: op.name, isOwnToken: true });
}
