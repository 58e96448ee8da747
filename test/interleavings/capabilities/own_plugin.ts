import { type Metadata, type Plugin, wrapRepository } from "../../../mod.ts";

/** The header that tells the plugin, and nobody else, which browser sends a request. */
export const BROWSER_HEADER = "X-Browser";

/**
 * A plugin as a user may write it, beside the library's own: it notes which browser began a session. It complains if another plugin, or the core, breaks
 * what docs/plugins.md says: "A plugin keeps its facts in the record's metadata under `+name`", "and `regenerate` keeps them".
 *
 * @param complain Called with each violation
 */
export function ownPlugin(name: string, complain: (violation: string) => void): Plugin {
  const factsOf = ({ metadata }: { readonly metadata: Metadata }): unknown => metadata[`+${name}`];
  return {
    name,
    wrap: (next) =>
      wrapRepository(next, {
        create(id, contents, op, replaces) {
          const facts = factsOf(contents);
          if (replaces === undefined && facts !== undefined) complain(`${name}: a new session has facts already`);
          if (replaces !== undefined && facts === undefined) complain(`${name}: a new id has no facts`);
          const noted = facts ?? op.request?.headers.get(BROWSER_HEADER) ?? "nobody";
          const metadata = { ...contents.metadata, [`+${name}`]: noted as string };
          return next.create(id, { ...contents, metadata }, op, replaces);
        },
        update(current, contents, op) {
          if (factsOf(current) === undefined) complain(`${name}: a session without facts is changed`);
          if (factsOf(contents) !== factsOf(current)) complain(`${name}: a change replaces the facts`);
          return next.update(current, contents, op);
        },
        retire(current, successor, until, op) {
          if (factsOf(current) === undefined) complain(`${name}: a session without facts gets a new id`);
          return next.retire(current, successor, until, op);
        },
      }),
    admit(found, { request }) {
      const browser = request?.headers.get(BROWSER_HEADER);
      if (browser === undefined || factsOf(found) === browser) return undefined;
      complain(`${name}: browser ${browser} opens a session with the facts ${String(factsOf(found))}`);
      return undefined;
    },
    respond(headers) {
      headers.set(name, "seen");
    },
  };
}
