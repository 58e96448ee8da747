import type { Operation } from "./repository.ts";

/**
 * The same operation for a token that this server has made. It is bound to the name under which it is written, also where the client presented its own
 * under a previous name.
 */
export function forOwnToken(op: Operation): Operation {
  if (op.presentedName === op.name) return op;
  const { now, store, request, runtimeArguments, name, transport, session, writeId } = op;
  const parts = { now, store, request, runtimeArguments, name, transport, session, writeId };
  return {
    ...parts,
    presentedName: name,
    endsAt: (contents) => op.endsAt(contents),
    emit: (event) => op.emit(event),
    backOff: () => op.backOff(),
  };
}
