import type { Commit, RotationCommit } from "../changes.ts";
import type { Found } from "../repository.ts";

/** A write that the store did not answer: it may or may not be stored. */
export interface UnconfirmedWrite {
  readonly writeId: string;
  /** The changes to record again if the write was not stored. The commit that has failed adds them. */
  readonly commit: Commit;
  /** The state that the write was meant to replace; null for a new session. */
  readonly current: Found | null;
}

/** A rotation whose successor is stored. The store did not answer the write that retires the old id: it may be retired. */
export interface UnconfirmedRotation {
  readonly current: Found;
  readonly successor: Found;
  /** The changes that the successor already holds. They are recorded again if the old id was not retired. */
  readonly commit: RotationCommit;
}
