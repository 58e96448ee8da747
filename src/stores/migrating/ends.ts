import type { RecordVersion, SessionStore } from "../../core/store.ts";
import { isMarker, markerWrite } from "./marks.ts";
import { untagged } from "./versions.ts";

/** How sessions end. */
interface Ends {
  /** Ends the session in both stores. Moves that are under way can come in between, but no new move begins. */
  end(key: string, signal?: AbortSignal): Promise<void>;
  /** Ends the session if its version is still the expected one. */
  endAt(key: string, expected: RecordVersion, signal?: AbortSignal): Promise<void | "conflict">;
}

/** Ends sessions that may be in either store. A marker in `to` keeps a move that is under way from bringing one back. */
export function endsOf(from: SessionStore, to: SessionStore, now: () => number): Ends {
  async function end(key: string, signal?: AbortSignal): Promise<void> {
    await from.delete(key, undefined, signal);
    if (!to.traits.compareAndSet) return void (await to.delete(key, undefined, signal));
    for (;;) {
      const there = await to.load(key, signal);
      if (there !== null && isMarker(there)) return;
      if (there !== null) await to.delete(key, undefined, signal);
      if ((await to.save(key, markerWrite(null, now()), signal)) !== "conflict") return;
    }
  }

  async function endAt(key: string, expected: RecordVersion, signal?: AbortSignal): Promise<void | "conflict"> {
    const [place, version] = untagged(expected);
    const there = await to.load(key, signal);
    const isThere = there !== null && !isMarker(there);
    if (isThere && (place === "from" || there.version !== version)) return "conflict";
    const isUnmoved = there === null && place === "from";
    if (isUnmoved) {
      const unmoved = await from.load(key, signal);
      // It may have been moved between the two reads.
      if (unmoved === null) return (await to.load(key, signal)) === null ? undefined : "conflict";
      if (unmoved.version !== version) return "conflict";
    }
    // This comes before the marker, so that a logout that fails here can be tried again: a marker would hide the record in `from`.
    await from.delete(key, undefined, signal);
    if ((isThere || isUnmoved) && (await to.save(key, markerWrite(there, now()), signal)) === "conflict")
      return "conflict";
  }

  return { end, endAt };
}
