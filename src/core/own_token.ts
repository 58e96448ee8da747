import type { Operation } from "./repository.ts";

/**
 * The same operation for a token that this server has made. Such a token is bound to the name under which tokens are
 * written, even if the client presented its token under a previous name. If its id was retired and the client has used
 * the new id, that is not a sign of theft: a request may take hours, and a WebSocket days.
 */
export function forOwnToken(op: Operation): Operation {
  const { now, store, request, runtimeArguments, name, transport, session, writeId } = op;
  const parts = { now, store, request, runtimeArguments, name, transport, session, writeId };
  return {
    ...parts,
    presentedName: name,
    isOwnToken: true,
    endsAt: (contents) => op.endsAt(contents),
    emit: (event) => op.emit(event),
    backOff: () => op.backOff(),
  };
}
