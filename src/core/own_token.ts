import type { Operation } from "./repository.ts";

/**
 * The same operation for a token that this server has made. It is bound to the name under which it is written, also where the client presented its own
 * under a previous name. If it leads on to a session that the client has used, nobody has stolen it: a request may take hours, and a WebSocket days.
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
