import { mkdir, open, rename, rmdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { storeLocked } from "../../core/errors.ts";

/** Makes one folder that nobody but this user can enter. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 });
}

/**
 * The folders in which a folder was created: the parents of `directory`, up to the parent of the first folder that was
 * created.
 */
export function parentsOf(directory: string, first: string | undefined): string[] {
  const parents: string[] = [];
  for (let path = resolve(directory); path !== dirname(path); path = dirname(path)) {
    parents.push(dirname(path));
    if (first === undefined || path === resolve(first)) break;
  }
  return parents;
}

/**
 * Waits until the names in a folder are on the disk. A file's own flush does not include its name. Windows refuses to
 * flush a folder, so there a power failure can undo the last renames.
 */
export async function syncFolder(folder: string): Promise<void> {
  if (isWindows()) return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Renames; false if the old name does not exist. */
export async function renamed(from: string, to: string): Promise<boolean> {
  return (await unlessMissing(rename(from, to))) !== null;
}

/** Removes a folder, unless it is missing or holds something. */
export async function removeIfEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!failedWith(error, "ENOENT", "ENOTEMPTY", "EEXIST")) throw error;
  }
}

/** The result of a call; null if a file or folder that it needs is missing. */
export async function unlessMissing<Result>(outcome: Promise<Result>): Promise<Result | null> {
  try {
    return await outcome;
  } catch (error) {
    if (failedWith(error, "ENOENT")) return null;
    throw error;
  }
}

function isWindows(): boolean {
  return process.platform === "win32";
}

/** Whether Windows refused to rename or remove something that is open, or to rename a folder to a name that exists. */
export function isInUse(error: unknown): error is object {
  return isWindows() && failedWith(error, "EPERM", "EACCES", "EBUSY");
}

/** The result of a call that may be tried again if something was in use. */
export async function unlessInUse<Result>(outcome: Promise<Result>): Promise<Result> {
  try {
    return await outcome;
  } catch (error) {
    throw isInUse(error) ? storeLocked(error) : error;
  }
}

/** Whether an error has one of these codes. Its class is not checked, because a test runner may bring another `Error`. */
export function failedWith(error: unknown, ...codes: string[]): boolean {
  return typeof error === "object" && error !== null && "code" in error && codes.includes(String(error.code));
}
