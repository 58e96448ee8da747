import { ActiveSession } from "./active_session.ts";
import { newestOf } from "../admission.ts";
import { begin } from "../commit/create.ts";
import type { FieldsView } from "../fields.ts";
import type { MaybePromise } from "../maybe_promise.ts";
import type { JsonValue } from "../metadata.ts";
import { beginOperation } from "../operation.ts";
import type { Found, Operation } from "../repository.ts";
import type { FactsChange, SessionInternals } from "../session_internals.ts";
import { commitComputed } from "../commit/update_key.ts";

/** The state of a session, with what capabilities may ask of it. */
export class ActiveInternals extends ActiveSession implements SessionInternals {
  get found(): Found | null | undefined {
    return this.copy.base;
  }

  operation(): MaybePromise<Operation> {
    return beginOperation(this);
  }

  begin(): Promise<void> {
    return begin(this);
  }

  get disclosedId(): string | undefined {
    return this.isIdDisclosed ? (this.nextId ?? this.successorId) : undefined;
  }

  metadata(name: `+${string}`): JsonValue | undefined {
    const unanswered = [this.unconfirmedRotation, this.unconfirmed].flatMap(
      (write) => write?.commit.metadataChanges ?? [],
    );
    return this.copy.metadata(this.policy.now(), unanswered)[name];
  }

  setMetadata(name: `+${string}`, value: JsonValue | null | FactsChange): void {
    this.assertWritable();
    const change = typeof value === "function" ? value : () => value ?? undefined;
    this.copy.recordMetadata((metadata) => {
      const facts = change(metadata[name], metadata);
      return facts === metadata[name] ? metadata : { ...metadata, [name]: facts };
    });
    this.storeIfLate();
  }

  track<T>(call: Promise<T>): Promise<T> {
    return this.calls.track(call);
  }

  authenticate(): void {
    this.isAuthenticated = true;
  }

  ignoreUse(): void {
    this.isUseIgnored = true;
  }

  async update(
    key: string,
    change: (value: unknown, fields: Pick<FieldsView, "get" | "set" | "delete">) => unknown,
  ): Promise<unknown> {
    await this.load();
    if (this.unavailable !== undefined) throw this.unavailable;
    this.values.detectChanges();
    if (!this.copy.base) {
      await begin(this);
      await this.save();
    }
    return await commitComputed(this, key, change);
  }

  async refresh(): Promise<void> {
    const { copy } = this;
    await this.load();
    this.values.detectChanges();
    // After a rotation without an answer, the session may already have its new id.
    if (this.unconfirmedRotation !== undefined) await this.save();
    await this.exclusively(async () => {
      if (!copy.base) return;
      const op = await beginOperation(this);
      await this.settle(await newestOf(this, copy.base, op));
      this.values.dropStale();
    });
  }
}
