import type { Commit } from "../working_copy.ts";

/** How the id is renewed; `grace` in seconds. */
export interface Rotation {
  readonly grace: number;
  readonly reauthenticated: boolean;
  /** Whether it is the grace of `rotateEvery`, which ends a minute after the client first used the new id. */
  readonly untilUsed: boolean;
}

/** A commit that gives the session a new id. */
export type RotationCommit = Commit & { readonly rotation: Rotation };

export function isRotation(commit: Commit): commit is RotationCommit {
  return commit.rotation !== undefined;
}

/** Whether the old id still opens the session for a while. */
export function hasGrace({ grace, untilUsed }: Rotation): boolean {
  return untilUsed || grace > 0;
}
