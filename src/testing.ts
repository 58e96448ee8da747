/**
 * What tests of sessions need: {@linkcode storeCases} proves a store, {@linkcode faultyStore} makes one fail,
 * {@linkcode fakeClock} moves the time, {@linkcode cookieJar} is the browser's side of the cookies, and {@linkcode kvSimulator} is Workers KV at its worst. For any test
 * runner, in any runtime.
 *
 * @module
 */

export { storeCases } from "./testing/store_cases.ts";
export type { OpenedStore, OpenStore, StoreCase } from "./testing/store_cases.ts";
export { fakeClock } from "./testing/fake_clock.ts";
export type { FakeClock } from "./testing/fake_clock.ts";
export { faultyStore } from "./testing/faulty_store.ts";
export type { FaultPlan, FaultyStore, RecordFault, StoreFault, StoreVerb } from "./testing/faulty_store.ts";
export { cookieJar } from "./testing/cookie_jar.ts";
export type { CookieJar, CookieJarOptions, JarCookie, JarRequestInit, SiteContext } from "./testing/cookie_jar.ts";
export { kvSimulator } from "./testing/kv_simulator.ts";
export type {
  KvListing,
  KvListOptions,
  KvPutOptions,
  KvSimulator,
  KvSimulatorOptions,
  SimulatedNamespace,
} from "./testing/kv_simulator.ts";
