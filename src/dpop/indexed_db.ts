/**
 * Key and session id in IndexedDB. The private key is not extractable: scripts of the page can use it, and cannot read it.
 *
 * @module
 */
import type { DpopState, DpopStorage } from "./client_state.ts";

/** The part of IndexedDB that is used: https://www.w3.org/TR/IndexedDB-3/. */
interface Pending<Result> {
  readonly result: Result;
  readonly error: unknown;
  addEventListener(type: "success" | "error" | "upgradeneeded", listener: () => void): void;
}
interface Database {
  createObjectStore(name: string): unknown;
  transaction(name: string, mode: "readonly" | "readwrite"): { objectStore(name: string): ObjectStore };
}
interface ObjectStore {
  get(key: string): Pending<unknown>;
  put(value: unknown, key: string): Pending<unknown>;
  delete(key: string): Pending<unknown>;
}
/** The part of Web Locks that is used: https://www.w3.org/TR/web-locks/. */
interface LockManager {
  request<Result>(name: string, run: () => Promise<Result>): Promise<Result>;
}
interface Factory {
  open(name: string, version: number): Pending<Database>;
}

const DATABASE = "with-session-dpop";
const STORE = "sessions";

/** The runtime's IndexedDB, or null. */
export function findIndexedDb(): Factory | null {
  const factory: unknown = Reflect.get(globalThis, "indexedDB");
  return typeof factory === "object" && factory !== null && "open" in factory ? (factory as Factory) : null;
}

/** Keeps the state under one name, for all pages of the origin. */
export function indexedDbStorage(factory: Factory, name: string): DpopStorage {
  let database: Promise<Database> | undefined;
  const open = (): Promise<Database> => (database ??= openDatabase(factory));
  const run = async <Result>(
    mode: "readonly" | "readwrite",
    use: (store: ObjectStore) => Pending<Result>,
  ): Promise<Result> => await settled(use((await open()).transaction(STORE, mode).objectStore(STORE)));
  return {
    async load() {
      const state = await run("readonly", (store) => store.get(name));
      return isState(state) ? state : undefined;
    },
    async save(state) {
      await run("readwrite", (store) => (state === undefined ? store.delete(name) : store.put(state, name)));
    },
  };
}

/**
 * Runs a function when no other page or worker of the origin runs one under this name. Where the runtime has no Web Locks, it runs at once.
 */
export async function inTurn<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
  const { locks } = Object(Reflect.get(globalThis, "navigator")) as { readonly locks?: LockManager };
  return locks === undefined ? await run() : await locks.request(name, run);
}

async function openDatabase(factory: Factory): Promise<Database> {
  const opening = factory.open(DATABASE, 1);
  opening.addEventListener("upgradeneeded", () => void opening.result.createObjectStore(STORE));
  return await settled(opening);
}

function settled<Result>(pending: Pending<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    pending.addEventListener("success", () => resolve(pending.result));
    pending.addEventListener("error", () => reject(pending.error));
  });
}

function isState(value: unknown): value is DpopState {
  return typeof value === "object" && value !== null && "keys" in value && "id" in value;
}
