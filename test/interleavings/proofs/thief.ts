import { type DeviceKey, ORIGIN, sign } from "../../device_bound/browser.ts";
import { hashOf } from "../../dpop/prover.ts";
import { type Copy, SECOND, SESSION } from "./owners.ts";
import type { Deed } from "./program.ts";
import { HEADER } from "./servers.ts";

/** A request of an owner as the network has seen it. */
export interface Message {
  readonly method: string;
  readonly path: string;
  readonly copy: Copy;
  readonly dbsc: string | null;
  readonly dbscId: string | null;
  readonly dpop: string | null;
}

/** What the thief sends. */
export interface Attack {
  readonly request: Request;
  /** The owner of what was copied. */
  readonly copy: Copy;
}

/** Somebody who sees all requests of the owners, copies what they hold, and has a key of their own. */
export class Thief {
  readonly #key: DeviceKey;
  readonly #now: () => number;
  readonly #copies: Copy[] = [];
  readonly #messages: Message[] = [];
  /** Proofs that the thief has signed. */
  readonly forged: Set<string> = new Set();
  #jtis = 0;

  constructor(key: DeviceKey, now: () => number) {
    this.#key = key;
    this.#now = now;
  }

  see(message: Message): void {
    this.#messages.push(message);
  }

  keep(copy: Copy): void {
    if (copy.id !== null) this.#copies.push(copy);
  }

  /** The request of a deed; null if there is nothing to copy. `number` is the number of the request. */
  async attack(deed: Deed & { does: "present" | "repeat" }, number: number): Promise<Attack | null> {
    const copy = latest(this.#copies, deed.copy);
    if (deed.does === "present") return copy === undefined ? null : await this.#present(deed, copy, number);
    const message = latest(this.#messages, deed.message);
    return message === undefined ? null : await this.#repeat(deed, message, copy ?? message.copy, number);
  }

  async #present({ part, act, proves }: Deed & { does: "present" }, copied: Copy, number: number): Promise<Attack> {
    const path = `/${act}?number=${number}&grace=0`;
    const copy = {
      ...copied,
      second: part === "all" ? copied.second : null,
      isInHeader: copied.isInHeader !== (part === "id elsewhere"),
    };
    const dpop = proves ? await this.#prove("POST", path, copy.id, null) : null;
    return { copy, request: requestOf({ method: "POST", path, copy, dbsc: null, dbscId: null, dpop }) };
  }

  async #repeat(
    { change }: Deed & { does: "repeat" },
    message: Message,
    newest: Copy,
    number: number,
  ): Promise<Attack | null> {
    const { dbsc, dpop, copy, path } = message;
    // What an owner signs to sign in, to sign out or to renew the id must have its effect once, and the handler sees to that.
    const isSpared = /^\/(?:login|logout|renew)\b/.test(path);
    let changed = message;
    if (change === "path" || isSpared) changed = { ...changed, path: `/read?number=${number}` };
    if (change === "method") changed = { ...changed, method: "PUT" };
    if (change === "cookies" && newest.isInHeader === copy.isInHeader) changed = { ...changed, copy: newest };
    if (change === "key" && dbsc !== null) changed = { ...changed, dbsc: await this.#sign(dbsc) };
    if (change === "key" && dpop !== null)
      changed = { ...changed, dpop: await this.#prove(changed.method, changed.path, copy.id, claimsOf(dpop)["nonce"]) };
    return { copy: changed.copy, request: requestOf(changed) };
  }

  /** The answer to the challenge of another proof, signed with the thief's key. */
  async #sign(dbsc: string): Promise<string> {
    const { jti } = claimsOf(dbsc);
    const proof = await sign(this.#key, { jti }, { carriesKey: true });
    this.forged.add(proof);
    return proof;
  }

  async #prove(method: string, path: string, id: string | null, nonce: unknown): Promise<string> {
    const claims = {
      jti: `thief ${++this.#jtis}`,
      htm: method,
      htu: ORIGIN + path.replace(/\?.*/, ""),
      iat: Math.floor(this.#now() / 1000),
      ...(id === null ? {} : { ath: await hashOf(id) }),
      ...(typeof nonce === "string" ? { nonce } : {}),
    };
    const proof = await sign(this.#key, claims, { header: { typ: "dpop+jwt" }, carriesKey: true });
    this.forged.add(proof);
    return proof;
  }
}

/** The claims of a proof. */
export function claimsOf(proof: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(proof.split(".")[1] ?? "", "base64url").toString());
}

function requestOf({ method, path, copy, dbsc, dbscId, dpop }: Message): Request {
  const headers = new Headers();
  const { id, second, isInHeader } = copy;
  if (isInHeader) headers.set(HEADER, id ?? "");
  const cookies = isInHeader || id === null ? [] : [`${SESSION}=${id}`];
  if (second !== null) cookies.push(`${SECOND}=${second}`);
  if (cookies.length > 0) headers.set("Cookie", cookies.join("; "));
  if (dbsc !== null) headers.set("Secure-Session-Response", dbsc);
  if (dbscId !== null) headers.set("Sec-Secure-Session-Id", dbscId);
  if (dpop !== null) headers.set("DPoP", dpop);
  return new Request(ORIGIN + path, { method, headers });
}

/** The last of all, or one before it. */
function latest<T>(all: readonly T[], before: number): T | undefined {
  return all[all.length - 1 - (before % Math.max(1, all.length))];
}
