import type { PluginHost } from "../core/plugin.ts";
import type { Transport } from "../core/transport.ts";
import { weakStore } from "./replay.ts";

/** Whether a token travels in a header that a program sets: a browser sends cookies by itself. */
export function isHeader(transport: Transport | undefined): boolean {
  return transport?.requestHeader !== undefined && transport.requestHeader.toLowerCase() !== "cookie";
}

/** @throws {TypeError} If the manager has no header, or keeps sessions in a place where a binding does not protect them */
export function assertHost({ repository, transports, store }: PluginHost): void {
  if (repository.tokenHoldsSession === true)
    throw new TypeError(
      "dpop() cannot work with cookieSessions(): it keeps replayed proofs out through a store; keep the sessions in one",
    );
  if (!transports.some(isHeader))
    throw new TypeError(
      'dpop() needs a header in which the id travels, such as header: "X-Session-Id"; for cookies there is deviceBound()',
    );
  // The option may also be a function, whose store is checked when it is used.
  if (Object(Object(store).traits).compareAndSet === false) throw weakStore();
}
