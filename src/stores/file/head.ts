import { readdir } from "node:fs/promises";
import { unlessMissing } from "./folders.ts";

/** The parts of a head's name. */
export interface Head {
  readonly name: string;
  readonly data: string;
  readonly touches: number;
  readonly lastSeenAt: number;
  readonly expiresAt: number;
}

const HEAD = /^([0-9a-f]{16})_(\d+)_([^_/]+)_([^_/]+)$/;

export function headName(data: string, touches: number, lastSeenAt: number, expiresAt: number): string {
  return `${data}_${touches}_${lastSeenAt}_${expiresAt}`;
}

/** The parts of a name; null if it is not the name of a head. */
export function parseHead(name: string): Head | null {
  const [, data, touches, lastSeenAt, expiresAt] = HEAD.exec(name) ?? [];
  if (data === undefined) return null;
  return {
    name,
    data,
    touches: Number(touches),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt),
  };
}

/** The head in the folder of a session; null if there is no session. */
export async function findHead(folder: string): Promise<Head | null> {
  for (const name of (await unlessMissing(readdir(folder))) ?? []) {
    const head = parseHead(name);
    if (head !== null) return head;
  }
  return null;
}
