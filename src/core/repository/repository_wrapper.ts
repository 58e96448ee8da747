import type { Repository } from "../repository.ts";

/**
 * Makes a repository from another one, with some methods replaced. For plugins that change one or two methods.
 *
 * @param next The repository to wrap, as `Plugin.wrap` gets it
 * @param own The methods that the plugin replaces
 * @returns A repository with these methods of `own`, and all others of `next`
 *
 * @example
 * ```ts
 * import { type Plugin, wrapRepository } from "with-session";
 *
 * // Counts the loads of sessions.
 * let loads = 0;
 * export const counting: Plugin = {
 *   name: "counting",
 *   wrap: (next) =>
 *     wrapRepository(next, {
 *       open(token, op) {
 *         loads += 1;
 *         return next.open(token, op);
 *       },
 *     }),
 * };
 * ```
 */
export function wrapRepository(next: Repository, own: Partial<Repository>): Repository {
  const { tokenHoldsSession } = next;
  return {
    ...(tokenHoldsSession === undefined ? {} : { tokenHoldsSession }),
    ...(next.tokenFor && { tokenFor: next.tokenFor.bind(next) }),
    ...(next.idOf && { idOf: next.idOf.bind(next) }),
    open: (token, op) => next.open(token, op),
    refresh: (current, op) => next.refresh(current, op),
    create: (id, contents, op, replaces) => next.create(id, contents, op, replaces),
    update: (current, contents, op) => next.update(current, contents, op),
    retire: (current, successor, graceUntil, op) => next.retire(current, successor, graceUntil, op),
    ...(next.reinstate && { reinstate: next.reinstate.bind(next) }),
    end: (session, op) => next.end(session, op),
    ...own,
  };
}
