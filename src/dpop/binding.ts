import type { JsonValue } from "../core/metadata.ts";
import { createId } from "../core/session_id.ts";

/** The name of the plugin, and the name of its facts in the metadata. */
export const NAME = "dpop";
export const FACTS = "+dpop";

/** The binding of a session to its client's key, as the metadata hold it. */
export interface Binding {
  /** The thumbprint of the key (RFC 7638); absent until the first proof of a session that a header client began without one. */
  readonly thumbprint?: string | undefined;
  /** Signs the nonces of this session. It never leaves the server. */
  readonly secret: string;
}

/** The facts in metadata; undefined if the session has none, null if they cannot be read. */
export function readBinding(facts: JsonValue | undefined): Binding | null | undefined {
  if (facts === undefined) return undefined;
  if (typeof facts !== "object" || facts === null || !("secret" in facts)) return null;
  const { secret, jkt } = facts;
  if (typeof secret !== "string") return null;
  return jkt === undefined ? { secret } : typeof jkt === "string" ? { secret, thumbprint: jkt } : null;
}

/** A binding as metadata keeps it. */
export function bindingToJson({ thumbprint, secret = createId() }: Partial<Binding>): JsonValue {
  return thumbprint === undefined ? { secret } : { jkt: thumbprint, secret };
}
