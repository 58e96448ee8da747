import type { ActiveSession } from "./active_session.ts";
import type { Codec } from "../codec.ts";
import { newestOf } from "../admission.ts";
import { begin } from "../commit/create.ts";
import type { RejectReason } from "../events.ts";
import type { FieldsView } from "../fields.ts";
import type { MaybePromise } from "../maybe_promise.ts";
import type { JsonValue } from "../metadata.ts";
import { beginOperation } from "../operation.ts";
import type { Found, Operation, Repository } from "../repository.ts";
import type { SessionInternals } from "../session_internals.ts";
import { commitComputed } from "../commit/update_key.ts";

/** The parts of a session that capabilities may use. */
export class ActiveInternals implements SessionInternals {
  readonly #active: ActiveSession;

  constructor(active: ActiveSession) {
    this.#active = active;
  }

  get found(): Found | null | undefined {
    return this.#active.copy.base;
  }

  get rejected(): RejectReason | null {
    return this.#active.rejected;
  }

  get isUnavailable(): boolean {
    return this.#active.unavailable !== undefined;
  }

  get presented(): string | null | undefined {
    return this.#active.presented;
  }

  get request(): Request | undefined {
    return this.#active.request;
  }

  get runtimeArguments(): readonly unknown[] {
    return this.#active.runtimeArguments;
  }

  get codec(): Codec {
    return this.#active.policy.codec;
  }

  get repository(): Repository {
    return this.#active.policy.repository;
  }

  now(): number {
    return this.#active.policy.now();
  }

  load(): MaybePromise<void> {
    return this.#active.load();
  }

  operation(): MaybePromise<Operation> {
    return beginOperation(this.#active);
  }

  begin(): Promise<void> {
    return begin(this.#active);
  }

  discloseId(): MaybePromise<string> {
    return this.#active.discloseId();
  }

  get disclosedId(): string | undefined {
    const { isIdDisclosed, nextId, successorId, unconfirmedRotation } = this.#active;
    return isIdDisclosed ? (nextId ?? successorId ?? unconfirmedRotation?.successor.id) : undefined;
  }

  get renewedId(): string | undefined {
    return this.#active.renewedId;
  }

  metadata(name: `+${string}`): JsonValue | undefined {
    const { copy, unconfirmed, unconfirmedRotation } = this.#active;
    const unanswered = [unconfirmedRotation, unconfirmed].flatMap((write) => write?.commit.metadataChanges ?? []);
    return copy.metadataAfter(unanswered)?.[name];
  }

  setMetadata(name: `+${string}`, value: JsonValue | null): void {
    const active = this.#active;
    active.assertWritable();
    active.copy.recordMetadata((metadata) => ({ ...metadata, [name]: value ?? undefined }));
    active.storeIfLate();
  }

  track<T>(call: Promise<T>): Promise<T> {
    return this.#active.calls.track(call);
  }

  authenticate(): void {
    this.#active.isAuthenticated = true;
  }

  async update(
    key: string,
    change: (value: unknown, fields: Pick<FieldsView, "get" | "set" | "delete">) => unknown,
  ): Promise<unknown> {
    const active = this.#active;
    const { copy } = active;
    await active.load();
    if (active.unavailable !== undefined) throw active.unavailable;
    active.values.detectChanges();
    if (!copy.base) {
      await begin(active);
      await active.save();
    }
    return await commitComputed(active, key, change);
  }

  async refresh(): Promise<void> {
    const active = this.#active;
    const { copy } = active;
    await active.load();
    active.values.detectChanges();
    // After a rotation without an answer, the session may already have its new id.
    if (active.unconfirmedRotation !== undefined) await active.save();
    await active.exclusively(async () => {
      if (!copy.base) return;
      const op = await beginOperation(active);
      await active.settle(await newestOf(active, copy.base, op));
      active.values.dropStale();
    });
  }
}
