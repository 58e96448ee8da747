/**
 * A session as its client sees it: the record that the store showed, merged with the changes that the store does not
 * show yet.
 *
 * @module
 */
import type { Metadata } from "../core/metadata.ts";
import { METADATA_FIELD, withChanges } from "../core/record_fields.ts";
import type { Contents, Found } from "../core/repository.ts";
import { latestOf, type Marks, readMarks, withoutMarks } from "./marks.ts";
import { isLater, type PresentedWrites } from "./recent_writes.ts";
import type { RecentWindow } from "./window.ts";

/** The value that this repository keeps in `Found.stored` of a session that was found or written. */
export interface MergedSession {
  /** The session as the store showed it, or as it was stored since. */
  readonly shown: Found;
  /** Whether the store did not show it at all. */
  readonly isMissing: boolean;
  /** Whether the store lacks a change that the client has seen. */
  readonly isMerged: boolean;
  readonly marks: Marks;
  /**
   * The latest instant of all known changes. The next change gets a later instant, even if this server's clock is
   * behind.
   */
  readonly clock: number;
}

/** The result of merging. */
export interface Merged {
  readonly found: Found;
  /** Whether the client has seen a change whose text neither its cookie nor the store has. */
  readonly isStale: boolean;
}

/** The value that this repository keeps in a session that it returned. */
export function mergedOf(found: Found): MergedSession {
  return found.stored as MergedSession;
}

/** Merges the record that the store showed with the later changes that the client has seen. */
export function merge(
  shown: Found,
  isMissing: boolean,
  presented: PresentedWrites,
  now: number,
  window: RecentWindow,
): Merged {
  const all = readMarks(shown.fields);
  const at = new Map([...all.at].filter(([, instant]) => now - instant < window.marked));
  const isKnown = isMissing || presented.versions.includes(shortVersion(shown));
  const changed = new Map<string, string | null>();
  let { metadata } = shown;
  let clock = latestOf(all);
  let [isStale, needsStoring] = [false, false];
  for (const [name, change] of presented.changes) {
    clock = Math.max(clock, change.at);
    if (!isLater(change, { at: at.get(name) ?? -Infinity, text: textOf(shown, name) })) continue;
    if (change.text === undefined) {
      isStale = true;
      continue;
    }
    at.set(name, change.at);
    // If the record is an older state that the client knows, the store will show the newer one by itself. If another
    // writer has stored the record without the change, the change must be stored again.
    needsStoring ||= !isKnown || presented.cookies > 1;
    if (name === METADATA_FIELD)
      metadata = { ...parseMetadata(change.text ?? "{}"), writes: metadata.writes, writtenAt: metadata.writtenAt };
    else changed.set(name, change.text);
  }
  const isMerged = isMissing || changed.size > 0 || metadata !== shown.metadata;
  // Storing a record that lacks the text of a change would remove that text everywhere.
  needsStoring &&= !isStale && !isMissing;
  const stored: MergedSession = { shown, isMissing, isMerged, marks: { at, unsentAt: all.unsentAt }, clock };
  const lastSeenAt = Math.max(shown.lastSeenAt, presented.lastSeenAt);
  const fields = withChanges(withoutMarks(shown.fields), changed);
  needsStoring ||= shown.needsStoring === true;
  return { found: { ...shown, fields, metadata, lastSeenAt, needsStoring, stored }, isStale };
}

/** A session that the client presents recent writes of, and that the store does not show. */
export function missingSession(
  token: string,
  { id = token, changes, lastSeenAt }: PresentedWrites,
  now: number,
): Found {
  const text = changes.get(METADATA_FIELD)?.text;
  const metadata = typeof text === "string" ? parseMetadata(text) : { createdAt: now, absoluteSince: now };
  return { id, token, version: "", fields: new Map(), metadata, lastSeenAt };
}

/** The text of a field as a client sees it; null if there is none. The metadata count as one field. */
export function textOf({ fields, metadata }: Contents, name: string): string | null {
  return name === METADATA_FIELD ? clientMetadataText(metadata) : (fields.get(name) ?? null);
}

/**
 * The part of the metadata that a client can see. The rest is about one record, and is written anew with each record.
 */
export function clientMetadataText(metadata: Metadata): string {
  return JSON.stringify({ ...metadata, writes: undefined, writtenAt: undefined, successor: undefined });
}

/** The shape is not checked, because this library has sealed the text. */
function parseMetadata(text: string): Metadata {
  return JSON.parse(text);
}

/** The end of a version. It is enough to distinguish the versions that one client sees within the window. */
export function shortVersion({ version }: Found): string {
  return String(version).slice(-12);
}
