import type { ActiveSession } from "./active_session.ts";
import { storeForId } from "../commit/create.ts";
import { beginOperation } from "../operation.ts";

/** The token that the client holds or will hold; null if there is no session. */
export async function tokenOf(active: ActiveSession): Promise<string | null> {
  const { copy, policy } = active;
  if (!copy.base) {
    // After the response, no session begins: changes that are left were refused.
    if (active.isSent || !copy.exists) return null;
    active.assertMayBegin();
  }
  if (policy.toleratesFailure && !(await storeForId(active))) return null;
  const { repository } = policy;
  if (repository.tokenFor === undefined) {
    // The token holds the session, so it cannot be made before everything is stored.
    if (!active.keepsId || active.rotating !== undefined) {
      active.detectChanges();
      await active.save();
    }
    return copy.base?.token ?? null;
  }
  const id = await active.discloseId();
  // A call of `destroy` may have come first.
  if (!copy.exists) return null;
  return copy.base?.id === id ? copy.base.token : await repository.tokenFor(id, await beginOperation(active));
}
