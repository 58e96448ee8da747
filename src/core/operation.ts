import { nameOf, notify, type SessionHappening } from "./events.ts";
import { storeTimedOut } from "./errors.ts";
import { endOf, timeoutsOf } from "./expiry.ts";
import { isPromise, type MaybePromise } from "./maybe_promise.ts";
import type { Policy } from "./policy.ts";
import type { Contents, Operation } from "./repository.ts";
import type { RequestTransport } from "./request_transport.ts";
import { inTime } from "./runtime.ts";
import { createWriteId } from "./session_id.ts";
import { StoreClient } from "./store_client.ts";
import type { SessionStore } from "./store.ts";
import type { Transport } from "./transport.ts";

/** What an operation serves: a manager, and perhaps a session in a request. */
interface OperationScope {
  readonly policy: Policy;
  readonly runtimeArguments: readonly unknown[];
  readonly request?: Request | undefined;
  readonly transport?: RequestTransport | undefined;
  readonly openedName?: string | undefined;
  readonly session?: object | undefined;
}

/** Events in the middle of an operation, without a duration. All others report a result, and say how long it took. */
const UNTIMED: ReadonlySet<string> = new Set(["conflict", "stale"]);

/** What one load or one commit carries: clock, guarded store, request. */
class StoreOperation implements Operation {
  readonly now: number;
  readonly store: StoreClient;
  readonly request: Request | undefined;
  readonly runtimeArguments: readonly unknown[];
  readonly session: object | undefined;
  readonly #scope: OperationScope;
  readonly #startedAt: number;
  #writeId: string | undefined;

  constructor(scope: OperationScope, store: SessionStore, now: number | undefined, seconds: number | undefined) {
    const { policy, request, runtimeArguments, session } = scope;
    this.request = request;
    this.runtimeArguments = runtimeArguments;
    this.session = session;
    this.#scope = scope;
    this.now = now ?? policy.now();
    this.store = new StoreClient(store, seconds ?? policy.storeTimeout);
    this.#startedAt = policy.onEvent === undefined ? 0 : performance.now();
  }

  get transport(): Transport | undefined {
    return this.#scope.transport?.answerer;
  }

  get name(): string {
    return nameOf(this.#scope);
  }

  get presentedName(): string {
    return this.#scope.transport?.presentedName ?? this.name;
  }

  get writeId(): string {
    return (this.#writeId ??= createWriteId());
  }

  endsAt({ metadata, lastSeenAt }: Pick<Contents, "metadata" | "lastSeenAt">): number {
    return endOf(metadata.absoluteSince, lastSeenAt, timeoutsOf(metadata, this.#scope.policy));
  }

  assertFits(token: string): void {
    this.#scope.transport?.assertFits(token, null);
  }

  emit(event: SessionHappening): void {
    if (this.#scope.policy.onEvent === undefined) return;
    notify(this.#scope, event, UNTIMED.has(event.type) ? undefined : performance.now() - this.#startedAt);
  }

  backOff(): Promise<void> {
    return this.store.backOff();
  }
}

/**
 * Begins one load or one commit.
 *
 * @param now The instant for which it judges times, in epoch milliseconds. @default The present one
 * @param seconds Its time limit. @default `storeTimeout`
 */
export function beginOperation(scope: OperationScope, now?: number, seconds?: number): MaybePromise<Operation> {
  const store = scope.policy.resolveStore(scope.runtimeArguments);
  // With `chain`, each operation would make a function, also where the store is open.
  return isPromise(store) ? beginLater(scope, store, now, seconds) : new StoreOperation(scope, store, now, seconds);
}

async function beginLater(
  scope: OperationScope,
  store: Promise<SessionStore>,
  now: number | undefined,
  seconds: number | undefined,
): Promise<Operation> {
  const limit = seconds ?? scope.policy.storeTimeout;
  // After the time limit, the opening goes on, and the next operation waits for it again.
  const opened = await inTime(store, limit * 1000, () => storeTimedOut("open the store", limit));
  return new StoreOperation(scope, opened, now, seconds);
}

/**
 * Undoes what a commit has left in the store, in two attempts, because nothing tries it later. Each attempt has half of
 * `storeTimeout`: the commit may have used up its own limit, and one call that hangs must not use up this one.
 */
export async function undoing(scope: OperationScope, task: (op: Operation) => Promise<void>): Promise<void> {
  const attempt = async (): Promise<void> =>
    task(await beginOperation(scope, undefined, scope.policy.storeTimeout / 2));
  await attempt().catch(attempt);
}
