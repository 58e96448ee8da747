/**
 * Tools for tests of sessions, for any test runner, in any runtime.
 *
 * - {@linkcode storeCases} proves a store, and {@linkcode faultyStore} makes one fail.
 * - {@linkcode fakeClock} is a clock that a test moves.
 * - {@linkcode cookieJar} is the browser's side of cookies.
 * - {@linkcode seedSession} gives a signed-in client to tests of your own program.
 * - {@linkcode kvSimulator} behaves like Workers KV at its worst: it has several places, and each sees the others'
 *   writes late.
 *
 * @module
 */

export { storeCases } from "./testing/store_cases.ts";
export type { OpenStore, StoreCase } from "./testing/store_cases.ts";
export type { OpenedStore } from "./testing/cases/case.ts";
export { fakeClock } from "./testing/fake_clock.ts";
export type { FakeClock } from "./testing/fake_clock.ts";
export { faultyStore } from "./testing/faulty_store.ts";
export type { FaultPlan, FaultyStore, RecordFault, StoreFault, StoreVerb } from "./testing/faulty_store.ts";
export { seedSession } from "./testing/seed_session.ts";
export type { SeedOptions } from "./testing/seed_session.ts";
export { cookieJar } from "./testing/cookie_jar.ts";
export type { CookieJar, CookieJarOptions, JarCookie, JarRequestInit, SiteContext } from "./testing/cookie_jar.ts";
export { kvSimulator } from "./testing/kv_simulator.ts";
export type {
  KvGetOptions,
  KvListing,
  KvListOptions,
  KvPutOptions,
  KvSimulator,
  KvSimulatorOptions,
  SimulatedNamespace,
} from "./testing/kv_simulator.ts";
