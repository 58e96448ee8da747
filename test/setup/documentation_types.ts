/**
 * Declarations for the programs in the documentation: the globals of runtimes, functions that stand for the user's code, and as much of each framework that is
 * not installed as the programs use. Each was compared with the real types when it was written.
 *
 * @module
 */

/** Declarations of a runtime or of a generator such as `wrangler types`, and stand-ins for the user's code. */
export const GLOBALS = `
import type { Session, SessionManager, UntypedData } from "with-session";
import type { DenoKv } from "with-session/stores/deno-kv";
import type { SessionObjectNamespace } from "with-session/stores/durable-object";

declare global {
  interface Env { readonly SESSIONS: SessionObjectNamespace; readonly SESSION_SECRET: string }
  interface ExecutionContext { waitUntil(promise: Promise<unknown>): void }
  interface WebSocketLike { onmessage: (() => void) | null; send(text: string): void; close(): void }
  const Deno: {
    openKv(): Promise<DenoKv>;
    serve(handler: (request: Request) => Promise<Response>): void;
    upgradeWebSocket(request: Request): { socket: WebSocketLike; response: Response };
  };
  const Bun: { serve(options: { fetch(request: Request, server: unknown): Promise<Response> }): void };
  /** A user's own: who signs in, or null. */
  function checkPassword(form: FormData | Record<string, string>): Promise<string | null>;
  const AppModule: object;
  const sessions: SessionManager<any>;
  const session: Session<UntypedData>;
  const request: Request;
}

// The installed h3 is the one of Nuxt.
declare module "h3" {
  class H3 {
    get(path: string, handler: (event: { req: Request }) => unknown): this;
    fetch(request: Request): Promise<Response>;
  }
}
`;

/** What docs/node.md tells a project to declare once. */
export const NODE_GLOBALS = `
declare module "node:http" {
  interface IncomingMessage { session: Session<UntypedData> }
}
`;

/** Frameworks that are not installed. */
export const MODULES = `
declare module "express" {
  import type { IncomingMessage, ServerResponse } from "node:http";
  export interface Request extends IncomingMessage, PassportRequest { body: Record<string, string>; get(name: string): string | undefined }
  interface Response extends ServerResponse { send(body: string): this; set(name: string, value: string): this; status(code: number): this; redirect(status: number, url: string): void }
  export type Handler = (req: Request, res: Response, next: (error?: unknown) => void) => void | Promise<void>;
  export type RequestHandler = Handler;
  export type ErrorRequestHandler = (error: unknown, req: Request, res: Response, next: (error?: unknown) => void) => void;
  interface Express {
    use(...handlers: Handler[]): this;
    use(handler: ErrorRequestHandler): this;
    get(path: string, ...handlers: Handler[]): this;
    post(path: string, ...handlers: Handler[]): this;
    listen(port: number): unknown;
  }
  const express: { (): Express; urlencoded(): Handler };
  export default express;
}
declare namespace Express {
  interface User { id: string }
}
type PassportDone = (error: any) => void;
interface PassportRequest {
  user?: Express.User | undefined;
  login(user: Express.User, done: PassportDone): void;
  login(user: Express.User, options: object, done: PassportDone): void;
  logIn(user: Express.User, done: PassportDone): void;
  logIn(user: Express.User, options: object, done: PassportDone): void;
  logout(options: object, done: PassportDone): void;
  logout(done: PassportDone): void;
  logOut(options: object, done: PassportDone): void;
  logOut(done: PassportDone): void;
  /** Declared by the program, as the page says. */
  flash(type: string, message: string): void;
}
declare module "passport" {
  import type { Handler } from "express";
  const passport: {
    initialize(): Handler;
    authenticate(name: string, options: { successRedirect?: string; failureRedirect?: string; failureFlash?: boolean }): Handler;
  };
  export default passport;
}
declare module "fastify" {
  import type { IncomingMessage, ServerResponse } from "node:http";
  interface Request { raw: IncomingMessage }
  interface Reply { raw: ServerResponse; sent: boolean; removeHeader(name: string): Reply; redirect(url: string, code?: number): Reply }
  interface Fastify {
    addHook(name: "onRequest", hook: (request: Request, reply: Reply, done: (error?: Error) => void) => void): this;
    get(path: string, handler: (request: Request, reply: Reply) => unknown): this;
    post(path: string, handler: (request: Request, reply: Reply) => unknown): this;
    decorateRequest(name: string, decoration: { getter(this: Request): unknown }): this;
    listen(options: { port: number }): Promise<string>;
  }
  export default function fastify(): Fastify;
}
declare module "@nestjs/core" {
  export const NestFactory: { create<Application>(module: object, adapter: object): Promise<Application> };
}
declare module "@nestjs/platform-fastify" {
  export class FastifyAdapter {}
  export interface NestFastifyApplication {
    getHttpAdapter(): { getInstance(): ReturnType<typeof import("fastify").default> };
    listen(port: number): Promise<void>;
  }
}
declare module "koa" {
  import type { IncomingMessage, ServerResponse } from "node:http";
  interface Context { req: IncomingMessage; res: ServerResponse; body: unknown; onerror(error: Error): void }
  export default class Koa {
    use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): this;
    listen(port: number): unknown;
  }
}
declare module "@hapi/hapi" {
  import type { IncomingMessage, ServerResponse } from "node:http";
  interface Request { raw: { req: IncomingMessage; res: ServerResponse } }
  interface Toolkit { readonly continue: symbol }
  interface Server {
    ext(event: "onRequest", method: (request: Request, h: Toolkit) => unknown): void;
    route(route: { method: string; path: string; handler(request: Request, h: Toolkit): unknown }): void;
    start(): Promise<void>;
  }
  const Hapi: { server(options: { port: number }): Server };
  export default Hapi;
}
declare module "@adonisjs/core/http" {
  import type { IncomingMessage, ServerResponse } from "node:http";
  export interface HttpContext { request: { request: IncomingMessage }; response: { response: ServerResponse } }
}
declare module "@adonisjs/core/types/http" {
  export type NextFn = () => Promise<any>;
}
declare module "@hono/node-server" {
  export function serve(options: { fetch(request: Request): Response | Promise<Response>; port?: number }): unknown;
}
declare module "bun" {
  export class RedisClient {
    constructor(url?: string);
    send(command: string, args: string[]): Promise<any>;
  }
}
declare module "@sveltejs/kit" {
  export interface RequestEvent { readonly request: Request; readonly locals: App.Locals }
}
declare namespace App { interface Locals {} }
declare module "react-router" {
  export interface RouterContext<T> { readonly defaultValue?: T }
  export function createContext<T>(defaultValue?: T): RouterContext<T>;
  export class RouterContextProvider { get<T>(context: RouterContext<T>): T; set<T>(context: RouterContext<T>, value: T): void }
  export type MiddlewareFunction<Result = unknown> = (
    args: { request: Request; context: Readonly<RouterContextProvider> },
    next: () => Promise<Result>,
  ) => Result | Promise<Result | void> | void;
}
declare module "astro" {
  export interface APIContext { readonly request: Request; readonly isPrerendered: boolean; locals: App.Locals }
  export type MiddlewareNext = () => Promise<Response>;
}
declare module "astro:middleware" {
  import type { APIContext, MiddlewareNext } from "astro";
  export function defineMiddleware(handler: (context: APIContext, next: MiddlewareNext) => Promise<Response>): unknown;
}
declare module "nitro/h3" {
  interface Event { readonly req: Request; readonly res: { readonly headers: Headers } }
  type Middleware = (event: Event, next: () => unknown) => unknown;
  export function defineMiddleware(middleware: Middleware): Middleware;
}
declare module "@builder.io/qwik-city" {
  export interface RequestEventBase<Platform> { readonly platform: Platform }
}
declare module "@builder.io/qwik-city/middleware/node" {
  import type { IncomingMessage } from "node:http";
  import type { Http2ServerRequest } from "node:http2";
  export interface PlatformNode { incomingMessage?: IncomingMessage | Http2ServerRequest }
}
declare module "waku/server" {
  export function unstable_getContext(): { readonly req: Request };
}
declare module "solid-js/web" {
  export function getRequestEvent(): { readonly nativeEvent: { readonly req: Request } } | undefined;
}
declare module "@tanstack/react-start/server-entry" {
  interface Entry { fetch(request: Request): Response | Promise<Response> }
  const handler: Entry;
  export default handler;
  export function createServerEntry(entry: Entry): Entry;
}
declare module "elysia" {
  export class Elysia<Context extends object = { request: Request }> {
    derive<Added extends object>(derive: (context: Context) => Added): Elysia<Context & Added>;
    get(path: string, handler: (context: Context) => unknown): this;
    handle(request: Request): Promise<Response>;
    wrap(wrap: (handle: (...args: unknown[]) => Function, request: Request) => Function): this;
    ws(path: string, handlers: { message(ws: { data: Context; send(data: unknown): void; close(): void }): unknown }): this;
    listen(port: number): this;
  }
}
declare module "itty-router" {
  export interface IRequest extends Request { params: Record<string, string> }
  interface Router<Incoming, Rest extends unknown[]> {
    get(path: string, handler: (request: Incoming, ...rest: Rest) => unknown): this;
    fetch(request: Request, ...rest: Rest): Promise<Response>;
  }
  export function AutoRouter<Incoming = IRequest, Rest extends unknown[] = unknown[]>(): Router<Incoming, Rest>;
}
declare module "@trpc/server" {
  interface Procedure<Context> { mutation(resolver: (options: { ctx: Context }) => unknown): object }
  interface Builder<Context> { router(procedures: Record<string, object>): object; readonly procedure: Procedure<Context> }
  export const initTRPC: { context<Context>(): { create(): Builder<Context> } };
}
declare module "@trpc/client" {
  interface Link { readonly link: true }
  export function createTRPCClient(options: { links: Link[] }): unknown;
  export function httpBatchLink(options: { url: string }): Link;
  export function httpBatchStreamLink(options: { url: string }): Link;
  export function splitLink(options: { condition(operation: { type: "mutation" | "query" | "subscription" }): boolean; true: Link; false: Link }): Link;
}
declare module "@trpc/server/adapters/fetch" {
  export function fetchRequestHandler(options: { endpoint: string; req: Request; router: object; createContext(): object }): Promise<Response>;
}
declare module "graphql-yoga" {
  type Resolver<Context> = (root: unknown, args: unknown, context: Context) => unknown;
  export function createSchema<Context>(options: { typeDefs: string; resolvers: Record<string, Record<string, Resolver<Context>>> }): { readonly context?: Context };
  export function createYoga<Context>(options: { schema: object }): { fetch(request: Request, context: Context): Response | Promise<Response> };
}
declare module "next/navigation" {
  export function redirect(url: string): never;
}
declare module "next/server" {
  export class NextResponse extends Response { static next(): NextResponse; static redirect(url: URL): NextResponse }
}
declare module "@/lib/sessions" {
  import type { NextSession } from "with-session/next";
  export const sessions: NextSession<{ user?: string; visits?: number }>;
}
declare module "@opentelemetry/api" {
  import type { TelemetryMeter, TelemetryTracer } from "with-session/opentelemetry";
  export const trace: { getTracer(name: string): TelemetryTracer };
  export const metrics: { getMeter(name: string): TelemetryMeter };
}
declare module "@playwright/test" {
  interface Page { goto(url: string): Promise<unknown>; getByText(text: string): object }
  interface Context { addCookies(cookies: { name: string; value: string; url: string }[]): Promise<void> }
  export function test(name: string, body: (fixtures: { context: Context; page: Page }) => Promise<void>): void;
  export function expect(subject: object): { toBeVisible(): Promise<void> };
}
`;
