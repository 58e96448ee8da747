import type { ActiveSession } from "../session/active_session.ts";
import { EMPTY } from "../changes.ts";
import { isSessionError } from "../errors.ts";
import { reporting } from "./report.ts";
import { endOrphan, rotate } from "./rotate.ts";

/**
 * Renews an id that is due by age before the handler gets it, and stores nothing else. If requests overlap, the first one
 * to renew the id chooses the new one. An id that was disclosed before it was stored, and each token made from it, would
 * then be worthless.
 *
 * If that fails, the old id stays for the rest of the request, and the next request tries again.
 */
export async function renewByAge(active: ActiveSession): Promise<void> {
  const { copy } = active;
  try {
    await reporting(active, false, async (op) => {
      const { base, pending } = copy;
      const { rotation } = pending;
      // Another call of this request may have renewed the id, or have called `regenerate`.
      if (!base || rotation?.untilUsed !== true) return;
      // An attempt without an answer may have stored a session under the id that is used now.
      if (active.orphan !== undefined) await endOrphan(active, op);
      await rotate(active, base, { ...EMPTY, rotation }, op);
    });
  } catch (error) {
    if (!isSessionError(error)) throw error;
  } finally {
    copy.forgetRenewal();
  }
}
