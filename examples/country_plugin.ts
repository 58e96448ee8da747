/**
 * A plugin of your own: a session that began in one country is ignored when it is presented from another one. The country comes from a header of the
 * proxy in front, such as `CF-IPCountry`. Trust the header only if the proxy overwrites what clients send.
 *
 * @module
 */
import { type Plugin, withSession, wrapRepository } from "with-session";

/** What the plugin notes of a session lies under `+` and the plugin's name, where `clear()` and `all()` do not reach. */
const FACTS = "+country";

/**
 * @param header The header with the country
 * @returns A plugin for the option `plugins`. It rejects a session with the reason `"country"`
 */
export function countryPlugin(header: string): Plugin {
  return {
    name: "country",
    wrap: (next) =>
      wrapRepository(next, {
        create(id, contents, op, replaces) {
          // A session that gets a new id has its country already.
          const country = contents.metadata[FACTS] ?? op.request?.headers.get(header) ?? undefined;
          return next.create(id, { ...contents, metadata: { ...contents.metadata, [FACTS]: country } }, op, replaces);
        },
      }),
    admit({ metadata }, { request }) {
      const began = metadata[FACTS];
      // A session that was opened by its id, in a queue say, has no request.
      if (began === undefined || request === undefined) return undefined;
      return request.headers.get(header) === began ? undefined : "country";
    },
  };
}

const fetch = withSession<{ visits: number }>(
  async (_request, session) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    return new Response(`Visit ${visits}\n`);
  },
  { plugins: [countryPlugin("CF-IPCountry")] },
);

export default { fetch };
