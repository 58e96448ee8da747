import type { ActiveSession } from "./active_session.ts";
import { storeForId } from "./create.ts";
import { beginOperation } from "./operation.ts";

/** The token that the client holds or will hold; null if there is no session. */
export async function tokenOf(active: ActiveSession): Promise<string | null> {
  const { copy, policy } = active;
  for (let renewing = active.renewByAge(); renewing !== undefined; renewing = active.renewByAge()) await renewing;
  if (copy.base && copy.rotation === undefined && active.unconfirmedRotation === undefined) return copy.base.token;
  if (!copy.exists) return null;
  if (!copy.base) {
    const { base } = await storeForId(active);
    if (base || active.unavailable !== undefined) return base?.token ?? null;
  }
  const { repository } = policy;
  if (repository.tokenFor === undefined) {
    active.detectChanges();
    await active.save();
    return copy.base?.token ?? null;
  }
  const op = await beginOperation(active);
  active.isIdReturned = true;
  return await repository.tokenFor(await active.discloseId(), op);
}
