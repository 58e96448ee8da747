import { isOrigin } from "../core/address.ts";
import { assertKnown } from "../core/known_options.ts";
import { oneOf } from "../core/options/simple_checks.ts";
import { PROOF_ALGORITHMS } from "../crypto/proof_jwt.ts";

/** How sessions of header clients are bound to a key. All are optional. */
export interface DpopOptions {
  /**
   * With `"require"`, a session that is presented in a header must be bound to a key. With `"offer"`, it may be without
   * a key if no proof came with the request that began it. A bound session needs a proof in both modes.
   *
   * @default {"require"}
   */
  readonly mode?: "offer" | "require" | undefined;
  /**
   * The origin of the server as clients know it, such as `https://api.example.com`, if a proxy changes the address of
   * requests. Headers of a request are not trusted for this.
   *
   * @default The origin of each request
   */
  readonly origin?: string | undefined;
  /**
   * How long a nonce is valid, in seconds; 300 seconds are added because servers' clocks may differ. Afterwards, a
   * proof that was made in advance or intercepted is rejected.
   *
   * @default {300}
   */
  readonly nonceLifetime?: number | undefined;
  /** The algorithms of signatures that are accepted. @default {["ES256", "Ed25519", "EdDSA", "RS256", "PS256"]} */
  readonly algorithms?: readonly string[] | undefined;
}

/** Options with their defaults. */
export interface DpopSettings {
  readonly mode: "offer" | "require";
  readonly nonceLifetime: number;
  readonly algorithms: readonly string[];
  readonly origin: string | undefined;
}

const DEFAULT_ALGORITHMS: readonly string[] = ["ES256", "Ed25519", "EdDSA", "RS256", "PS256"];
/** In seconds: an hour. */
const MAX_NONCE_LIFETIME = 3600;

/** The settings that options give. @throws {TypeError | RangeError} If an option is unknown or of the wrong kind */
export function settingsOf(options: DpopOptions): DpopSettings {
  assertKnown(options, ["mode", "origin", "nonceLifetime", "algorithms"], "dpop");
  const { nonceLifetime = 300, algorithms = DEFAULT_ALGORITHMS, origin } = options;
  const mode = oneOf("dpop: mode", options.mode, ["require", "offer"]);
  if (typeof nonceLifetime !== "number" || !(nonceLifetime >= 1 && nonceLifetime <= MAX_NONCE_LIFETIME))
    throw new RangeError(`dpop: nonceLifetime must be a number of seconds from 1 to ${MAX_NONCE_LIFETIME}`);
  const isList = Array.isArray(algorithms) && algorithms.length > 0;
  if (!isList || !algorithms.every((each) => PROOF_ALGORITHMS.includes(each)))
    throw new TypeError(`dpop: algorithms must be a list of ${PROOF_ALGORITHMS.join(", ")}`);
  if (origin !== undefined && !(isOrigin(origin) && origin.startsWith("http")))
    throw new TypeError("dpop: origin must be an origin without a path, such as https://api.example.com");
  return { mode, nonceLifetime, algorithms, origin };
}
