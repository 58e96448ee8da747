import type { Repository } from "./repository.ts";

/** A repository like another one, with some parts of its own. For plugins that change a verb or two. */
export function wrapRepository(next: Repository, own: Partial<Repository>): Repository {
  const { tokenHoldsSession } = next;
  return {
    ...(tokenHoldsSession === undefined ? {} : { tokenHoldsSession }),
    ...(next.tokenFor && { tokenFor: next.tokenFor.bind(next) }),
    open: (token, op) => next.open(token, op),
    refresh: (current, op) => next.refresh(current, op),
    create: (id, contents, op, replaces) => next.create(id, contents, op, replaces),
    update: (current, contents, op) => next.update(current, contents, op),
    retire: (current, successor, graceUntil, op) => next.retire(current, successor, graceUntil, op),
    ...(next.reinstate && { reinstate: next.reinstate.bind(next) }),
    end: (session, op) => next.end(session, op),
    ...(next.respond && { respond: next.respond.bind(next) }),
    ...own,
  };
}
