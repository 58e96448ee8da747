/**
 * The portable suite as a Worker, for runtimes without processes. It answers any request with the results.
 *
 * @module
 */
import * as lib from "with-session";
import { type CloudflareKvNamespace, cloudflareKvStore } from "with-session/stores/cloudflare-kv";
import { cookieSessions } from "with-session/cookie-sessions";
import { crossOriginProtection } from "with-session/cross-origin";
import { csrfToken, verifyCsrfToken } from "with-session/csrf";
import { encryption } from "with-session/encryption";
import { exclusive } from "with-session/exclusive";
import { readYourWrites } from "with-session/read-your-writes";
import { signedIds } from "with-session/signed-ids";
import { userSessions } from "with-session/user-sessions";
import { durableObjectStore, type SessionObjectNamespace } from "with-session/stores/durable-object";
import { portableCases } from "./cases.ts";
import { outcomesOf } from "./outcomes.ts";

const capabilities = {
  cookieSessions,
  crossOriginProtection,
  csrfToken,
  encryption,
  exclusive,
  readYourWrites,
  signedIds,
  userSessions,
  verifyCsrfToken,
};

export { SessionObject } from "with-session/stores/durable-object";

/** The bindings in workerd. Other runtimes have none. */
interface Env {
  readonly KV: CloudflareKvNamespace;
  readonly SESSIONS: SessionObjectNamespace;
}

const worker: { fetch(request?: Request, env?: Env): Promise<Response> } = {
  async fetch(_request, env) {
    const stores = env && {
      "Workers KV": () => cloudflareKvStore(env.KV),
      "Durable Object": () => durableObjectStore(env.SESSIONS),
    };
    return Response.json(await outcomesOf(portableCases({ ...lib, ...capabilities, ...(stores && { stores }) })));
  },
};
export default worker;
