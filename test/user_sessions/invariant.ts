import { createHash } from "node:crypto";
import type { SessionStore, StoredRecord } from "../../mod.ts";
import { altered } from "../setup/sessions.ts";

interface Facts {
  readonly token: string;
  readonly lists: readonly { readonly list: string; readonly page: number }[];
}

/** The user data in a record; undefined if the record belongs to no user. */
export function factsIn({ fields }: Pick<StoredRecord, "fields">): Facts | undefined {
  const text = fields.get("@") ?? "";
  if (!text.includes("{")) return undefined;
  return JSON.parse(text.slice(text.indexOf("{")))["+users"];
}

/** The store keys of bound sessions that are missing in the lists. */
export function unlisted(records: ReadonlyMap<string, StoredRecord>): string[] {
  return [...records].flatMap(([key, record]) => {
    const facts = factsIn(record);
    const isListed = facts?.lists.every(({ list, page }) =>
      records.get(pageKey(list, page))?.fields.has(`=${key} ${facts.token}`),
    );
    return isListed === false ? [key] : [];
  });
}

export function pageKey(list: string, page: number): string {
  return createHash("sha256").update(`with-session page ${page} ${list}`).digest("hex");
}

/** The fault of one call of a store. */
export type Fault = "none" | "rejects" | "does it but rejects" | "does it twice";

/** A store in which `next` decides when each call is done, and how it fails. */
export function scheduledStore(store: SessionStore, next: () => Promise<Fault>): SessionStore {
  const verb = async <Args extends unknown[], Answer>(
    call: (...args: Args) => Answer | Promise<Answer>,
    ...args: Args
  ): Promise<Answer> => {
    const fault = await next();
    if (fault === "rejects") throw new Error("The store was told to fail");
    let answer = await call(...args);
    if (fault === "does it twice") answer = await call(...args);
    if (fault === "does it but rejects") throw new Error("The store was told to fail");
    return answer;
  };
  return altered(store, { load: verb, save: verb, delete: verb });
}
