/**
 * Sessions for Node's own requests and responses: a middleware for Express, Fastify, Koa and `node:http`.
 *
 * @module
 */
import { claimNames } from "./core/name_claims.ts";
import { chain } from "./core/maybe_promise.ts";
import type { SessionOptions } from "./core/options.ts";
import type { DefaultData, Session } from "./core/session.ts";
import { managerOf, type SessionManager } from "./core/session_manager.ts";
import { holdBack } from "./node/hold_back.ts";
import { type NodeRequest, type NodeResponse, toRequest } from "./node/messages.ts";

export type { NodeRequest, NodeResponse } from "./node/messages.ts";

/** A request that has a session. */
export type RequestWithSession<Data extends object = DefaultData> = NodeRequest & { session: Session<Data> };

/**
 * A middleware for Node's requests and responses.
 *
 * `next` is called without an argument to go on, and with an error if the session cannot be loaded or stored. The
 * session is stored when the response is about to be sent, so an error of storing is passed to `next` in a second call.
 * If `next` takes no argument, it is not called with an error, and the response is a 500.
 */
export type NodeMiddleware = (request: NodeRequest, response: NodeResponse, next?: NodeNext) => void;

/**
 * The function that a middleware calls to go on: the `next` of Express, the `done` of Fastify, or a function of your
 * own. The type is that of a method, because a method's parameter may be narrower: Fastify's is an `Error`.
 */
export type NodeNext = { next(error?: unknown): void }["next"];

/** The web request of each Node request. Several middlewares on one request share it. */
const webRequests = new WeakMap<NodeRequest, Request>();

/**
 * Gives each request its session, as `req.session`. It is stored before the first byte of the response is sent, so that
 * the response carries the cookie. With a status of 500 or more, changes that `save()` and `update` have not stored yet
 * are dropped. If the session cannot be stored, the handler's response is dropped and `next` gets the error. Put a
 * compressing middleware before this one.
 *
 * @param options The options of `withSession`, or a `SessionManager` to be shared. Functions among them get Node's request and response
 * @returns A middleware `(req, res, next)`. It throws a TypeError if it is called with anything else, such as Koa's context
 * @throws {TypeError} If an option is unknown, of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not a positive number of seconds
 *
 * @example Express
 * ```ts ignore
 * import express from "express";
 * import { nodeSession } from "with-session/node";
 *
 * const app = express();
 * app.use(nodeSession());
 * app.get("/", async (req, res) => {
 *   res.send(`Visit ${await req.session.update("visits", (n = 0) => n + 1)}`);
 * });
 * ```
 *
 * @example `node:http`
 * ```ts ignore
 * import { createServer } from "node:http";
 * import { nodeSession } from "with-session/node";
 *
 * const sessions = nodeSession();
 * createServer((req, res) => sessions(req, res, () => handler(req, res))).listen(3000);
 * ```
 *
 * @example Fastify
 * ```ts ignore
 * const sessions = nodeSession();
 * app.addHook("onRequest", (request, reply, done) => sessions(request.raw, reply.raw, done));
 * ```
 *
 * @example Koa
 * ```ts ignore
 * const sessions = nodeSession();
 * app.use(
 *   (ctx, next) =>
 *     new Promise((resolve) => {
 *       sessions(ctx.req, ctx.res, (error) => resolve(error === undefined ? next() : ctx.onerror(error)));
 *     }),
 * );
 * ```
 */
export function nodeSession<Data extends object = DefaultData>(
  options: SessionOptions<Data, [request: NodeRequest, response: NodeResponse]> | SessionManager<Data> = {},
): NodeMiddleware {
  if (Reflect.has(Object(options), "rawHeaders"))
    throw new TypeError("nodeSession was given a request in place of options: write app.use(nodeSession())");
  const manager = managerOf(options);
  const { policy, prepare } = manager;
  return (request, response, next) => {
    assertNodeMessages(request, response);
    const webRequest = webRequests.get(request) ?? toRequest(request);
    webRequests.set(request, webRequest);
    // Middlewares share nothing but the request, so this is only known when a request comes.
    claimNames(request, policy);
    const { session, isJoined } = manager.begin(webRequest, [request, response], true);
    // Other middlewares are used as `req.session.user = …`. Here that would be lost silently, so it throws.
    Object.preventExtensions(session);
    setSession(request, session);
    // The first middleware of the request stores it.
    if (isJoined) return next?.();
    const fail = (error: unknown): void => {
      if (response.headersSent) return void response.destroy?.(error);
      dropBody(response);
      if (next !== undefined && next.length > 0) return next(error);
      response.setHeader("Content-Type", "text/plain; charset=utf-8");
      response.end("Internal Server Error\n");
    };
    holdBack(response, {
      finish() {
        if (response.statusCode < 500) return manager.commit(session);
        // A call that nobody has awaited may still record something.
        return chain(manager.idle(session), () => {
          manager.dropRecorded(session);
          return manager.commit(session);
        });
      },
      sent: () => manager.confirm(session),
      fail,
      abort: () => void manager.discard(session)?.catch(() => {}),
    });
    if (prepare === undefined) return next?.();
    const go = async (): Promise<void> => {
      const instead = await prepare(webRequest, session, [request, response]);
      if (instead === undefined) next?.();
      else await answer(response, instead);
    };
    go().catch(fail);
  };
}

/** Gives a request its session. Programs may replace it. */
function setSession(request: object, session: object): void {
  Object.defineProperty(request, "session", {
    configurable: true,
    enumerable: true,
    get: () => session,
    set(this: object, value: unknown) {
      // With cookie-session this is the logout. Here the user would stay signed in.
      if (value === null || value === undefined)
        throw new TypeError(`req.session = ${String(value)} ends no session: write await req.session.destroy()`);
      // It may be an object that inherits from the request.
      Object.defineProperty(this, "session", { value, configurable: true, enumerable: true, writable: true });
    },
  });
}

function assertNodeMessages(request: unknown, response: unknown): void {
  const hasHeaders = typeof request === "object" && request !== null && "headers" in request;
  if (hasHeaders && typeof response === "object" && response !== null && "setHeader" in response) return;
  throw new TypeError(
    "The middleware of nodeSession takes Node's own request and response: ctx.req and ctx.res in Koa, request.raw and reply.raw in Fastify",
  );
}

/**
 * Turns a response whose session could not be stored into an error, without the headers that described its body, and
 * without those that let caches keep it.
 */
function dropBody(response: NodeResponse): void {
  response.statusCode = 500;
  for (const name of [
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Trailer",
    "Transfer-Encoding",
  ])
    // If a length that is not set is removed, Node sends none, and closes the connection.
    if (response.getHeader(name) !== undefined) response.removeHeader(name);
}

/** Sends the response that a plugin gives in place of the handler's. */
async function answer(response: NodeResponse, instead: Response): Promise<void> {
  response.statusCode = instead.status;
  for (const [name, value] of instead.headers) if (name !== "set-cookie") response.setHeader(name, value);
  const cookies = instead.headers.getSetCookie();
  if (cookies.length > 0) response.setHeader("Set-Cookie", cookies);
  response.end(new Uint8Array(await instead.arrayBuffer()));
}
