import type { ActiveSession } from "./active_session.ts";
import { newestOf } from "./admission.ts";
import { begin } from "./create.ts";
import { beginOperation } from "./operation.ts";
import type { SessionInternals } from "./session_internals.ts";
import { commitComputed } from "./update_key.ts";

/** What capabilities may ask of a session. */
export function internalsFor(active: ActiveSession): SessionInternals {
  const { policy, copy } = active;
  return {
    load: () => active.load(),
    get found() {
      return copy.base;
    },
    get rejected() {
      return active.rejected;
    },
    get isUnavailable() {
      return active.unavailable !== undefined;
    },
    get presented() {
      return active.presented;
    },
    request: active.request,
    runtimeArguments: active.runtimeArguments,
    codec: policy.codec,
    now: policy.now,
    repository: policy.repository,
    operation: () => beginOperation(active),
    begin: () => begin(active),
    discloseId: () => active.discloseId(),
    metadata: (name) => copy.metadata?.[name],
    setMetadata(name, value) {
      active.assertWritable();
      copy.recordMetadata((metadata) => ({ ...metadata, [name]: value ?? undefined }));
      active.storeIfLate();
    },
    async track(call) {
      active.calls.enter();
      try {
        return await call;
      } finally {
        active.calls.leave();
      }
    },
    authenticate() {
      active.isAuthenticated = true;
    },
    async update(key, change) {
      await active.load();
      if (active.unavailable !== undefined) throw active.unavailable;
      if (!copy.base) await begin(active);
      // Nothing of a session that gets a new id lies under the old one.
      if (!copy.base || copy.rotation !== undefined) await active.save();
      return await commitComputed(active, key, change);
    },
    async refresh() {
      await active.load();
      // The session may be under a new id already, although the store gave no answer.
      if (active.unconfirmedRotation !== undefined) await active.save();
      await active.exclusively(async () => {
        if (!copy.base) return;
        const op = await beginOperation(active);
        await active.settle(await newestOf(active, copy.base, op), op);
        active.values.dropStale();
      });
    },
  };
}
