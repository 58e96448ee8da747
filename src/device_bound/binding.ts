import { jwkToJson, publicJwk, type PublicJwk } from "../crypto/proof_jwt.ts";
import type { JsonValue } from "../core/metadata.ts";
import { createId } from "../core/session_id.ts";

/** The name of the plugin, and the name of its facts in the metadata. */
export const NAME = "device-bound";
export const FACTS = "+device-bound";

/** The key that a browser has registered. */
export interface BoundKey {
  readonly jwk: PublicJwk;
  readonly algorithm: string;
  /** The thumbprint of the key (RFC 7638). */
  readonly thumbprint: string;
  /** How often the browser has proved that it holds the key: the number that the next challenge must have. */
  readonly proofs: number;
  /**
   * When the browser proved that last, in epoch milliseconds. Before the first proof, it is when the bound session got
   * its id.
   */
  readonly provedAt: number;
}

/** The binding of a session to a device, as its metadata hold it. */
export interface Binding {
  /** The session's name for the browser. It is not secret. */
  readonly id: string;
  /** Signs challenges and bound cookies of this session. It never leaves the server. */
  readonly secret: string;
  /** Absent until the browser has registered a key. */
  readonly key?: BoundKey | undefined;
}

/** The facts of a session: its binding; `"exempt"` if it needs none; `"unreadable"` if they are damaged; undefined if it has no facts. */
export type Facts = Binding | "exempt" | "unreadable" | undefined;

/** A binding that waits for a key. */
export function newBinding(): Binding {
  return { id: createId(), secret: createId() };
}

/** Reads the facts of a session from its metadata. */
export function readFacts(facts: JsonValue | undefined): Facts {
  if (facts === undefined) return undefined;
  if (!isRecord(facts)) return "unreadable";
  if (facts["exempt"] === true) return "exempt";
  const { id, secret, jwk, alg, jkt, proofs, at } = facts;
  if (typeof id !== "string" || typeof secret !== "string") return "unreadable";
  if (jwk === undefined) return { id, secret };
  const key = publicJwk(jwk);
  if (key === null || typeof alg !== "string" || typeof jkt !== "string") return "unreadable";
  if (typeof proofs !== "number" || typeof at !== "number") return "unreadable";
  return { id, secret, key: { jwk: key, algorithm: alg, thumbprint: jkt, proofs, provedAt: at } };
}

/** Whether a session is bound to a key. Facts that cannot be read count as a binding. */
export function isBound(facts: Facts): boolean {
  return facts === "unreadable" || (typeof facts === "object" && facts.key !== undefined);
}

/** Facts as metadata keeps them. */
export function factsToJson(facts: Binding | "exempt"): JsonValue {
  if (facts === "exempt") return { exempt: true };
  const { id, secret, key } = facts;
  if (key === undefined) return { id, secret };
  const { jwk, algorithm, thumbprint, proofs, provedAt } = key;
  return { id, secret, jwk: jwkToJson(jwk), alg: algorithm, jkt: thumbprint, proofs, at: provedAt };
}

function isRecord(value: JsonValue): value is { readonly [name: string]: JsonValue | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
