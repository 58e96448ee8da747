import type { Operation } from "./repository.ts";

/**
 * The same operation with some parts replaced, for finding a session. Spreading alone would lose the getters and
 * methods of an operation, which may need its private state.
 */
export function operationWith(op: Operation, own: Partial<Operation>): Operation {
  return {
    ...op,
    name: op.name,
    presentedName: op.presentedName,
    transport: op.transport,
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
