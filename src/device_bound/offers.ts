/**
 * Offers: which responses ask the browser for a key, and the binding that waits for that key.
 *
 * @module
 */
import { chain, type MaybePromise } from "../core/maybe_promise.ts";
import type { Contents, Found, Operation } from "../core/repository.ts";
import type { SessionInternals } from "../core/session_internals.ts";
import { type Binding, FACTS, factsToJson, isBound, newBinding, readFacts } from "./binding.ts";
import { boundCookieAttributes, type CookieExchange, exchangeOf, writeProof } from "./bound_cookie.ts";
import { registrationChallenge } from "./challenge.ts";
import { assertCookie } from "./host.ts";
import { offerRegistration } from "./messages.ts";
import type { DeviceBoundSettings } from "./options.ts";

/** The offers of one plugin. */
export class Offers {
  readonly #settings: DeviceBoundSettings;
  /** Sessions whose response asks the browser for a key. */
  readonly #offered: WeakSet<object> = new WeakSet();
  /** The binding that a commit gives to the session that it creates, and the id of that session. */
  readonly #given: WeakMap<Operation, { readonly id: string; readonly binding: Binding }> = new WeakMap();

  constructor(settings: DeviceBoundSettings) {
    this.#settings = settings;
  }

  /** Whether the response of a session asks the browser for a key. */
  has(session: object): boolean {
    return this.#offered.has(session);
  }

  /** The contents to store for a session that begins or continues under a new id. */
  onCreate(id: string, contents: Contents, op: Operation, replaces: Found | undefined): Contents {
    // A session that the store does not show has its facts already.
    if (replaces?.id === id) return contents;
    const { metadata } = contents;
    // A second attempt under the same id may give no binding.
    this.#given.delete(op);
    const facts = readFacts(metadata[FACTS]);
    // A new login needs a new key: an attacker may have planted the session together with its key.
    const isLogin = replaces === undefined || metadata.authenticatedAt !== replaces.metadata.authenticatedAt;
    const asks = isLogin || (!isBound(facts) && metadata.unconfirmed !== true);
    if (asks && exchangeOf(op) !== null && this.#settings.mayOffer(op)) {
      // With the same id, the browser replaces its old session. With the same secret, the old proof of requests under
      // way stays valid.
      const binding = typeof facts === "object" ? { id: facts.id, secret: facts.secret } : newBinding();
      this.#given.set(op, { id, binding });
      if (op.session !== undefined) this.#offered.add(op.session);
      return withFacts(contents, binding);
    }
    return facts === undefined && this.#settings.isRequired ? withFacts(contents, "exempt") : contents;
  }

  /** The contents to store for a session that changes in the operation that created it. */
  onUpdate(id: string, contents: Contents, op: Operation): Contents {
    const given = this.#given.get(op);
    return given?.id === id ? withFacts(contents, given.binding) : contents;
  }

  /** Makes an offer for a session, unless it is bound. */
  async make(session: object, internals: SessionInternals): Promise<void> {
    await internals.load();
    if (isBound(readFacts(internals.metadata(FACTS)))) return;
    await internals.begin();
    const binding = factsToJson(newBinding());
    // The session may wait for a key already. Another request may also have made an offer meanwhile.
    internals.setMetadata(FACTS, (facts) => (typeof readFacts(facts) === "object" ? facts : binding));
    this.#offered.add(session);
  }

  /**
   * Asks the browser for a key. The login itself counts as the first proof, so requests between login and registration
   * have a proof as well.
   */
  write(
    headers: Headers,
    binding: Binding,
    login: number | undefined,
    exchange: CookieExchange,
    op: Operation,
  ): MaybePromise<void> {
    if (binding.key !== undefined) return undefined;
    const { signaturesOf, lifetime, scope } = this.#settings;
    const attributes = boundCookieAttributes(exchange);
    assertCookie(scope.path, attributes);
    headers.set("Cache-Control", "no-store");
    return chain(writeProof(headers, binding, exchange, op.now, signaturesOf, lifetime), () =>
      chain(signaturesOf(binding, op.runtimeArguments), (signatures) =>
        chain(registrationChallenge(signatures, login, op.now), (challenge) => {
          // Browsers bind sessions over https only.
          if (/; Secure\b/i.test(`; ${attributes}`)) offerRegistration(headers, challenge, scope.path);
        }),
      ),
    );
  }
}

function withFacts(contents: Contents, binding: Binding | "exempt"): Contents {
  return { ...contents, metadata: { ...contents.metadata, [FACTS]: factsToJson(binding) } };
}
