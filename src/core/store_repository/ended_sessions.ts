import type { Metadata } from "../metadata.ts";
import type { Operation } from "../repository.ts";
import type { SessionStore } from "../store.ts";

/** A session that has ended, or a retired id that led to one. */
export interface Ended {
  readonly key: string;
  readonly metadata: Metadata;
}

/** What each operation has ended, by its store: each operation has its own client of the store. */
const ended: WeakMap<SessionStore, readonly Ended[]> = new WeakMap();

/** Notes for {@linkcode takeEnded} that an operation has ended a session. */
export function noteEnded(key: string, metadata: Metadata, { store }: Operation): void {
  ended.set(store, [...(ended.get(store) ?? []), { key, metadata }]);
}

/** The sessions that an operation has ended, and the retired ids that led to them. They are returned once. */
export function takeEnded({ store }: Operation): readonly Ended[] {
  const taken = ended.get(store) ?? [];
  ended.delete(store);
  return taken;
}
