import { DEVICES_CHECKS } from "./devices_checks.ts";
import { NEXT_CHECKS } from "./next_checks.ts";
import { NUXT_CHECKS } from "./nuxt_checks.ts";
import type { Command } from "./programs.ts";
import { SOLID_START_CHECKS } from "./solid_start_checks.ts";
import type { Check } from "./walk.ts";

/** A server that the program needs. Its address is in `REDIS_URL` or `DATABASE_URL`. */
export type Need = "redis" | "pgbouncer";

/** An example, and how to start it. */
export interface Stack {
  /** Its name in the table. */
  readonly name: string;
  /** Its folder in `examples/`. */
  readonly folder: string;
  /** Commands that run first in its folder, such as a build. */
  readonly prepare?: readonly Command[];
  /** The command that starts it in its folder. It listens on `PORT`. */
  readonly start: Command;
  /**
   * A client that checks the example instead of the shared walk. Each line of its output is one check. It runs in the same folder, and gets the server's
   * address in `ORIGIN`.
   */
  readonly client?: Command;
  /** A server that the program needs. */
  readonly needs?: Need;
  /** Whether the program assumes that each client uses https, as functions behind a gateway do. */
  readonly isSecure?: boolean;
  /** Checks in addition to the shared walk. */
  readonly more?: readonly Check[];
  /** Checks that do not apply, each with its reason. */
  readonly except?: Readonly<Record<string, string>>;
}

/** Runs a Worker with the bindings of its configuration. */
const WRANGLER_DEV = [
  "wrangler",
  "dev",
  "--ip",
  "127.0.0.1",
  "--port",
  "$PORT",
  "--inspector-port",
  "0",
  "--show-interactive-dev-session=false",
] as const;
/** Bundles what would be deployed. */
const DRY_RUN = ["wrangler", "deploy", "--dry-run"] as const;

/** The client that these examples contain. */
const CLIENT = ["node", "client.ts"] as const;

export const STACKS: readonly Stack[] = [
  { name: "node:http", folder: "node_http", start: ["node", "server.ts"] },
  { name: "Express 5", folder: "express", start: ["node", "server.ts"], more: DEVICES_CHECKS },
  { name: "Fastify 5", folder: "fastify", start: ["node", "server.ts"] },
  { name: "Koa 3", folder: "koa", start: ["node", "server.ts"] },
  { name: "hapi 21", folder: "hapi", start: ["node", "server.ts"] },
  { name: "Hono on Node", folder: "hono", start: ["node", "node.ts"], more: DEVICES_CHECKS },
  { name: "Hono on Bun", folder: "hono", start: ["bun", "bun.ts"], more: DEVICES_CHECKS },
  {
    name: "Hono on Deno",
    folder: "hono",
    start: ["deno", "run", "--allow-all", "--node-modules-dir=manual", "deno.ts"],
    more: DEVICES_CHECKS,
  },
  { name: "Hono on workerd", folder: "hono", start: WRANGLER_DEV, more: DEVICES_CHECKS },
  {
    name: "Deno.serve with Deno KV",
    folder: "deno_kv",
    start: ["deno", "run", "--allow-all", "--unstable-kv", "--node-modules-dir=manual", "server.ts"],
  },
  { name: "Postgres behind PgBouncer", folder: "postgres_pooler", start: ["node", "server.ts"], needs: "pgbouncer" },
  { name: "Bun.serve with Redis", folder: "bun_redis", start: ["bun", "server.ts"], needs: "redis" },
  {
    name: "Worker with KV",
    folder: "worker_kv",
    prepare: [DRY_RUN],
    start: WRANGLER_DEV,
    except: { "20 updates at once": "Workers KV has no compare-and-set" },
  },
  {
    name: "Worker with Durable Objects",
    folder: "worker_durable_objects",
    prepare: [DRY_RUN],
    start: WRANGLER_DEV,
    more: DEVICES_CHECKS,
  },
  {
    name: "Next.js 16",
    folder: "next",
    prepare: [["next", "build"]],
    start: ["next", "start", "--hostname", "127.0.0.1"],
    more: [...NEXT_CHECKS, ...DEVICES_CHECKS],
  },
  {
    name: "SvelteKit 3",
    folder: "sveltekit",
    prepare: [
      ["svelte-kit", "sync"],
      ["vite", "build"],
    ],
    start: ["env", "PROTOCOL_HEADER=x-forwarded-proto", "node", "server.ts"],
    more: DEVICES_CHECKS,
  },
  {
    name: "React Router 8",
    folder: "react_router",
    prepare: [["react-router", "build"]],
    start: ["node", "server.ts"],
  },
  { name: "Astro 7", folder: "astro", prepare: [["astro", "build"]], start: ["node", "dist/server/entry.mjs"] },
  { name: "TanStack Start", folder: "tanstack_start", prepare: [["vite", "build"]], start: ["node", "serve.ts"] },
  {
    name: "SolidStart 2",
    folder: "solid_start",
    prepare: [["vite", "build"]],
    start: ["node", "serve.ts"],
    more: SOLID_START_CHECKS,
  },
  {
    name: "Nuxt 4",
    folder: "nuxt",
    prepare: [["nuxt", "build"]],
    start: ["node", ".output/server/index.mjs"],
    more: NUXT_CHECKS,
  },
  { name: "h3 2", folder: "h3", start: ["node", "server.ts"] },
  {
    name: "Nitro 3",
    folder: "nitro",
    // Not `nitro`: the Nitro 2 of Nuxt has a command of this name, too.
    prepare: [["node", "../node_modules/nitro/dist/cli/index.mjs", "build"]],
    start: ["node", ".output/server/index.mjs"],
  },
  { name: "Elysia on Bun", folder: "elysia", start: ["bun", "server.ts"] },
  { name: "itty-router", folder: "itty_router", start: ["node", "server.ts"] },
  { name: "edge-runtime", folder: "edge_runtime", start: ["node", "server.ts"] },
  { name: "AWS Lambda through Hono", folder: "aws_lambda", start: ["node", "local.ts"], isSecure: true },
  { name: "tRPC: batch and stream links", folder: "trpc", start: ["node", "server.ts"], client: CLIENT },
  { name: "GraphQL Yoga", folder: "graphql_yoga", start: ["node", "server.ts"], client: CLIENT },
  { name: "oRPC", folder: "orpc", start: ["node", "server.ts"], client: CLIENT },
  { name: "WebSocket on Node (ws)", folder: "websocket", start: ["node", "node.ts"], client: CLIENT },
  {
    name: "WebSocket on Deno",
    folder: "websocket",
    start: ["deno", "run", "--allow-all", "--node-modules-dir=manual", "deno.ts"],
    client: CLIENT,
  },
  { name: "WebSocket on Bun", folder: "websocket", start: ["bun", "bun.ts"], client: CLIENT },
  { name: "WebSocket on workerd", folder: "websocket", start: WRANGLER_DEV, client: CLIENT },
  { name: "Server-sent events", folder: "sse", start: ["node", "server.ts"], client: CLIENT },
  { name: "OAuth login", folder: "oauth", start: ["node", "server.ts"], client: CLIENT },
  { name: "A command line with the header", folder: "cli", start: ["node", "server.ts"], client: CLIENT },
];
