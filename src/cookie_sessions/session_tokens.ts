import type { RejectReason } from "../core/events.ts";
import { type Metadata, readMetadata, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { Contents, Found, Operation } from "../core/repository.ts";
import { isId } from "../core/session_id.ts";
import { BESIDE_TEXT, SEALED_SHAPE } from "../crypto/aes_gcm.ts";
import type { Sealer } from "../crypto/sealer.ts";

/** The shape of a token that a newer version of this library has encrypted. */
const NEWER_SHAPE = /^[2-9][\w-]{38,}$/;

/** The last instant of JavaScript, in epoch milliseconds. */
const LAST_INSTANT = 8.64e15;

/** A session as a token holds it. */
interface Unsealed extends Found {
  /**
   * When this copy of the session ends, in epoch milliseconds, by the timeouts that were in force when it was sealed. A note
   * about the end of the session is not kept for longer, even if the program gives longer timeouts afterwards.
   */
  readonly copyEndsAt: number;
}

/** Seals sessions into tokens, and opens the tokens that clients present. */
export class SessionTokens {
  readonly #sealer: Sealer;
  readonly #rotates: boolean;

  /** @param rotates Whether ids are renewed by age */
  constructor(sealer: Sealer, rotates: boolean) {
    this.#sealer = sealer;
    this.#rotates = rotates;
  }

  async seal(id: string, { fields, metadata, lastSeenAt }: Contents, op: Operation): Promise<string> {
    const whole = withMetadata(fields, metadata, "");
    const end = Math.min(LAST_INSTANT, Math.ceil(op.endsAt({ metadata, lastSeenAt })));
    return await this.#sealer.seal(
      `${id}.${end.toString(36)} ${serializeRecord({ fields: whole, lastSeenAt })}`,
      op.name,
      op.runtimeArguments,
    );
  }

  async open(token: string, op: Operation): Promise<Unsealed | RejectReason> {
    if (!SEALED_SHAPE.test(token)) return NEWER_SHAPE.test(token) ? "newer" : "malformed";
    const text = await this.#sealer.open(token, op.presentedName, op.runtimeArguments);
    if (text === null) return "forged";
    const space = text.indexOf(" ");
    // No id has a dot.
    const [id = "", end = ""] = text.slice(0, space).split(".");
    const { fields, lastSeenAt } = parseRecord(text.slice(space + 1));
    const metadata = readMetadata({ fields, lastSeenAt }, "");
    if (typeof metadata === "string") return metadata;
    const copyEndsAt = Number.parseInt(end, 36);
    return isId(id) && copyEndsAt > 0
      ? { id, token, version: token, fields, metadata, lastSeenAt, copyEndsAt }
      : "corrupt";
  }

  /**
   * Throws if the token does not fit into the cookie. With `rotateEvery`, it must also fit after a renewal of the id,
   * which makes the metadata longer and also happens in requests that only read.
   */
  assertFits(token: string, metadata: Metadata, op: Operation): void {
    const renewed = this.#rotates ? { ...metadata, rotatedAt: op.now, unconfirmed: true as const } : metadata;
    const bytes = Math.floor(((token.length - BESIDE_TEXT) * 3) / 4) + lengthOf(renewed) - lengthOf(metadata);
    op.assertFits?.(token.padEnd(BESIDE_TEXT + Math.ceil((bytes * 4) / 3), "_"));
  }
}

function lengthOf(metadata: Metadata): number {
  return serializeRecord({ fields: withMetadata(NO_FIELDS, metadata, ""), lastSeenAt: 0 }).length;
}
