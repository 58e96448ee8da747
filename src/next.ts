/**
 * Sessions for Next.js (App Router): route handlers, Server Actions, Server Components and `proxy.ts`.
 *
 * @module
 */
import { cookies, headers } from "next/headers.js";
import { urlOf } from "./core/address.ts";
import { assertObject, inheriting } from "./core/known_options.ts";
import type { ManagerInternals } from "./core/manager_internals.ts";
import type { SessionOptions } from "./core/options.ts";
import type { DefaultData, Session } from "./core/session.ts";
import { isManager, managerInternalsOf, SessionManager } from "./core/session_manager.ts";
import { storeResolver } from "./core/options/store_resolver.ts";
import { type FetchHandler, type SessionHandler, withSession } from "./core/with_session.ts";
import { isControlFlow, refusalStatus } from "./next/control_flow.ts";
import { passOn, withCookies } from "./next/pass_on.ts";
import { cookieFrom } from "./next/set_cookie.ts";
import { memoryStore } from "./stores/memory.ts";

/** The sessions of a Next.js application. */
export interface NextSession<Data extends object = DefaultData> {
  /**
   * Wraps a route handler: `export const GET = sessions.route(async (request, session, context) => …)`. `redirect()` and `notFound()` store the session.
   */
  // oxlint-disable-next-line no-explicit-any -- Next passes the route's own context
  route<Rest extends unknown[] = any[]>(handler: SessionHandler<Data, Rest>): FetchHandler<Rest>;
  /** Wraps a Server Action, which gets the session before its own arguments. `redirect()` and `notFound()` store the session. */
  action<Parameters extends unknown[], Result>(
    action: (session: Session<Data>, ...parameters: Parameters) => Promise<Result>,
  ): (...parameters: Parameters) => Promise<Result>;
  /**
   * The session in a Server Component, for reading. Next.js sends no cookies from there, so a session cannot begin, be
   * regenerated or end there: these calls throw `ERR_RESPONSE_SENT`. A change of a session that exists is stored at
   * once.
   *
   * It does not renew "last seen", because it cannot renew the cookie. If only "last seen" were renewed, later requests
   * would not renew the cookie of a session that was just seen, and the browser would drop the cookie while the store
   * keeps the session. Read the session in `proxy.ts` as well, which renews both. A flash value that is read here
   * stays, unless it is read with `pull`.
   */
  current(): Promise<Session<Data>>;
  /**
   * Wraps the function of `proxy.ts`:
   * `export const proxy = sessions.proxy(async (request, session) => NextResponse.next())`. The page, route or action
   * that handles the request afterwards sees the session as the proxy left it, also if it began or got a new id there.
   */
  // oxlint-disable-next-line no-explicit-any -- as for routes
  proxy<Rest extends unknown[] = any[]>(handler: SessionHandler<Data, Rest>): FetchHandler<Rest>;
  /** The manager, for everything else. */
  readonly manager: SessionManager<Data>;
}

/** The value of the option `store`. */
type StoreOption = NonNullable<SessionOptions["store"]>;

/** The global property that holds the stores, by {@linkcode storeName}. Next.js bundles pages, routes and the proxy separately. */
const SHARED: unique symbol = Symbol.for("with-session.next.1");

/**
 * The sessions of a Next.js application. Call it once, in a module that pages, routes and actions import. Next.js
 * bundles them separately and runs the module once for each bundle. So the store, also a `memoryStore()`, is shared
 * through `globalThis` under the name of the cookie or header, or under the text of the functions that are given in its place.
 *
 * @param options The options of `withSession`, or a `SessionManager`, whose store is not shared
 * @returns Wrappers for routes, actions and the proxy, and the session of a Server Component
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
 *
 * @example
 * ```ts ignore
 * // lib/sessions.ts
 * import { nextSession } from "with-session/next";
 * export const sessions = nextSession<{ user?: string }>();
 *
 * // app/login/actions.ts
 * "use server";
 * import { redirect } from "next/navigation";
 * import { sessions } from "@/lib/sessions";
 * export const login = sessions.action(async (session, form: FormData) => {
 *   await session.regenerate({ reauthenticated: true });
 *   session.set("user", String(form.get("name")));
 *   redirect("/");
 * });
 * ```
 */
export function nextSession<Data extends object = DefaultData>(
  options: SessionOptions<Data> | SessionManager<Data> = {},
): NextSession<Data> {
  const manager = isManager<Data>(options) ? options : managerOf(options);
  const internals = managerInternalsOf(manager);
  const requests = new WeakMap<Headers, Request>();
  const shown = new WeakMap<Request, Session<Data>>();

  /** The current request: the same object for everything that renders one response. */
  const currentRequest = async (): Promise<Request> => {
    const found = await headers();
    let request = requests.get(found);
    if (request === undefined) {
      request = toRequest(found);
      requests.set(found, request);
    }
    return request;
  };

  /** Stores the session of an action. The components that render afterwards see the request with the cookies that it has set. */
  const storeForPage = async (session: object): Promise<void> => {
    const lines = await store(internals, session);
    if (lines.length === 0) return;
    const request = await currentRequest();
    requests.set(await headers(), new Request(request, { headers: withCookies(new Headers(request.headers), lines) }));
  };

  return {
    manager,
    route<Rest extends unknown[]>(handler: SessionHandler<Data, Rest>) {
      return withSession<Data, Rest>(async (request, session, ...rest) => {
        try {
          return await handler(request, session, ...rest);
        } catch (error) {
          // As Next.js answers it. Next.js sends the cookies of `cookies()` with a redirect, and not with these responses.
          const status = refusalStatus(error);
          if (status !== null) return new Response(null, { status });
          if (isControlFlow(error)) await store(internals, session);
          throw error;
        }
      }, manager);
    },
    action:
      (action) =>
      async (...parameters) => {
        const { session, isJoined } = internals.begin(await currentRequest(), [], true);
        // The action that called this one stores the session, also if this one fails.
        if (isJoined) return await action(session, ...parameters);
        try {
          const result = await action(session, ...parameters);
          await storeForPage(session);
          return result;
        } catch (error) {
          if (isControlFlow(error)) await storeForPage(session);
          else {
            internals.dropRecorded(session);
            await internals.discard(session);
          }
          throw error;
        }
      },
    async current() {
      const request = await currentRequest();
      const known = shown.get(request);
      if (known !== undefined) return known;
      const { session, isJoined } = internals.begin(request, [], true);
      // The session of an action is not kept, so components that render after the action see what the action stored.
      if (!isJoined) {
        internals.close(session);
        shown.set(request, session);
      }
      return session;
    },
    proxy<Rest extends unknown[]>(handler: SessionHandler<Data, Rest>) {
      const handle = withSession<Data, Rest>(handler, manager);
      return async (request: Request, ...rest: Rest) => passOn(request, await handle(request, ...rest));
    },
  };
}

/**
 * Stores a session, and lets Next.js set the cookies. If it cannot, the session is put back under the id that the client holds.
 *
 * @returns The lines of Set-Cookie
 */
async function store(internals: Omit<ManagerInternals, "begin">, session: object): Promise<readonly string[]> {
  const lines = (await internals.commit(session))?.getSetCookie() ?? [];
  try {
    await setCookies(lines);
  } catch (error) {
    await internals.discard(session);
    throw error;
  }
  internals.confirm(session);
  return lines;
}

async function setCookies(lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const jar = await cookies();
  // Next.js keeps the last cookie of each name. Expired cookies come first, so that the removal of a cookie in another
  // scope does not replace the new cookie.
  const all = lines.map(cookieFrom);
  for (const cookie of [...all.filter(({ maxAge }) => maxAge === 0), ...all.filter(({ maxAge }) => maxAge !== 0)])
    jar.set(cookie);
}

/**
 * The manager of this bundle, with the store of the bundle that ran first. Nothing else is shared, so a plugin that the
 * module exports, such as `userSessions`, belongs to the manager of its bundle.
 */
function managerOf<Data extends object>(options: SessionOptions<Data>): SessionManager<Data> {
  assertObject(options, "store", "nextSession");
  const holder = globalThis as { [SHARED]?: Map<string, StoreOption> };
  const stores = (holder[SHARED] ??= new Map());
  const name = storeName(options);
  const store = stores.get(name) ?? openedOnce(options.store ?? memoryStore());
  const manager = new SessionManager<Data>(inheriting({ ...options, store }, options));
  stores.set(name, store);
  return manager;
}

/**
 * The name under which the bundles share the store of one `nextSession()`: how its sessions travel, because no other
 * `nextSession()` of the program may use that cookie or header. Each bundle has its own functions, so their texts are used.
 */
function storeName({ cookie, header, transports }: Pick<SessionOptions, "cookie" | "header" | "transports">): string {
  return JSON.stringify([
    typeof cookie === "function" ? String(cookie) : typeof cookie === "object" ? cookie?.name : cookie,
    typeof header === "object" ? header?.name : header,
    // SessionManager checks all three, so anything may be here.
    Array.from(transports ?? [], (transport) => String(transport?.read)),
  ]);
}

/** Wraps the program's store function, so that the store is opened for one bundle and the others share it. */
function openedOnce(store: StoreOption): StoreOption {
  if (typeof store !== "function") return store;
  const resolve = storeResolver(store);
  // Managers also check the number of parameters.
  return store.length === 0 ? () => resolve([]) : (first: unknown, ...rest: unknown[]) => resolve([first, ...rest]);
}

/** The parts of a request that transports read. Next.js gives the address in headers. */
function toRequest(found: Headers): Request {
  const copy = new Headers([...found.entries()]);
  const protocol = copy.get("x-forwarded-proto")?.split(",")[0]?.trim() === "https" ? "https" : "http";
  const address = `${protocol}://${copy.get("x-forwarded-host") ?? copy.get("host") ?? "localhost"}/`;
  return new Request(urlOf(address), { headers: copy });
}
