import { HEAD_FIELD } from "./record.ts";
import { byteLength, recordToText } from "./record_text.ts";
import { keyOfId } from "./session_id.ts";
import type { Loaded, SessionRecord, Version } from "./store.ts";

/** One session in the list of its subject. */
export interface Entry {
  /** The store key of the session. */
  readonly key: string;
  /** The store keys of those that were to take its place when its id was regenerated: one of them may have. */
  readonly heirs: readonly string[];
  /** When the session was tied to the subject, in epoch milliseconds. */
  readonly boundAt: number;
  /** What is shown of it: the codec's text, or that text sealed. */
  readonly details?: string | undefined;
  readonly sealed?: string | undefined;
}

/** One record of a list, with an entry for each session under a token that never changes. */
export interface Page {
  /** The store key of the subject. */
  readonly subject: string;
  readonly number: number;
  readonly entries: ReadonlyMap<string, string>;
  /** How many pages there are; only the first one knows. */
  readonly pages: number;
  /** Until when, in epoch milliseconds, the page must be kept at least. */
  readonly until: number;
}

/** A page as the store has it; without a version if it has none. */
export interface LoadedPage extends Page {
  readonly version: Version | undefined;
  readonly fields: ReadonlyMap<string, string>;
}

/** The name of a subject in store keys and handles, which does not show it. No id has a space. */
export function keyOfSubject(subject: string): string {
  return keyOfId(`subject ${subject}`);
}

/** The store key of a page. */
export function keyOfPage({ subject, number }: Pick<Page, "subject" | "number">): string {
  return keyOfId(`list ${number} ${subject}`);
}

/** Reads a page. Whatever a store returns, this does not throw: what is no page is an empty one. */
export function pageFrom(loaded: Loaded | null, subject: string, number: number): LoadedPage {
  const fields = loaded?.fields ?? new Map<string, string>();
  const entries = new Map(fields);
  entries.delete(HEAD_FIELD);
  const { pages, until } = parsed(fields.get(HEAD_FIELD));
  return {
    subject,
    number,
    entries,
    pages: typeof pages === "number" && pages >= 1 ? Math.floor(pages) : 1,
    until: typeof until === "number" ? until : 0,
    version: loaded?.version,
    fields,
  };
}

/** The record that holds a page. */
export function recordOfPage({ entries, pages, until }: Page, now: number): SessionRecord {
  const head = JSON.stringify({ list: FORMAT, pages, until });
  return { fields: new Map(entries).set(HEAD_FIELD, head), lastSeenAt: now };
}

/** The size of a page as engines count it that keep one value. */
export function sizeOfPage(page: Page): number {
  return byteLength(recordToText(recordOfPage(page, 0)));
}

/** A page with one more entry, or another one in its place, and a life to match. */
export function withEntry(page: Page, token: string, entry: Entry, until: number): Page {
  const entries = new Map(page.entries).set(token, JSON.stringify(entry));
  return { ...page, entries, until: Math.max(page.until, until) };
}

/** A page without some of its entries. */
export function withoutEntries(page: Page, tokens: readonly string[]): Page {
  const entries = new Map(page.entries);
  for (const token of tokens) entries.delete(token);
  return { ...page, entries };
}

/** The entry under a token, if there is one that can be read. */
export function entryOf(page: Page, token: string): Entry | undefined {
  const { key, heirs, boundAt, details, sealed } = parsed(page.entries.get(token));
  if (typeof key !== "string" || !Array.isArray(heirs) || typeof boundAt !== "number") return undefined;
  return {
    key,
    heirs: heirs.filter((heir) => typeof heir === "string"),
    boundAt,
    details: typeof details === "string" ? details : undefined,
    sealed: typeof sealed === "string" ? sealed : undefined,
  };
}

/**
 * Names what is to take a session's place, beside the session, in its entry. Null if the entry names neither: then
 * another one has taken its place already.
 */
export function withHeir(entry: Entry, key: string, heir: string | undefined): Entry | null {
  const isCurrent = entry.key === key;
  if (!isCurrent && !entry.heirs.includes(key)) return null;
  // What was to take the place of a session's predecessor, and is not this session, never will.
  const others = isCurrent ? entry.heirs : [];
  return { ...entry, key, heirs: heir === undefined ? others : [...others, heir] };
}

const FORMAT = 1;

function parsed(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return typeof value === "object" ? { ...value } : {};
  } catch {
    return {};
  }
}
