/**
 * Sessions for `Request` and `Response`: no lost updates, no revived logouts, on any store that keeps values by key.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 *
 * export default {
 *   fetch: withSession(async (_request, session) => {
 *     const visits = await session.update("visits", (n = 0) => n + 1);
 *     return new Response(`Visit ${visits}\n`);
 *   }),
 * };
 * ```
 *
 * @module
 */
export type { Codec } from "./src/core/codec.ts";
export type { CookieFunction, CookieOptions, PreviousCookie } from "./src/core/cookie_transport.ts";
export { SessionError, type SessionErrorCode, StoreBusyError } from "./src/core/errors.ts";
export type { EventContext, RejectReason, SessionEvent, SessionHappening } from "./src/core/events.ts";
export type { TimeoutLimits } from "./src/core/expiry.ts";
export type { WaitUntil } from "./src/core/finish.ts";
export { isFresh } from "./src/core/session/fresh.ts";
export type { HeaderOptions } from "./src/core/header_transport.ts";
export type { MaybePromise } from "./src/core/maybe_promise.ts";
export type { JsonValue, Metadata, OwnTimeouts, Successor } from "./src/core/metadata.ts";
export type { SessionOptions } from "./src/core/options.ts";
export type { Plugin, PluginHost } from "./src/core/plugin.ts";
export type { RecordCodec } from "./src/core/record_codec.ts";
export type { Fields } from "./src/core/record_fields.ts";
export { parseRecord, serializeRecord } from "./src/core/record_text.ts";
export { assertRecordSize } from "./src/core/record_size.ts";
export type { Contents, Found, Operation, Repository } from "./src/core/repository.ts";
export { wrapRepository } from "./src/core/repository/repository_wrapper.ts";
export type { RepositorySource } from "./src/core/repository/repository_source.ts";
export type { Schema, SchemaIssue, SchemaResult } from "./src/core/schema.ts";
export type {
  AnySession,
  ClearSiteData,
  DefaultData,
  DestroyOptions,
  KeyOf,
  RegenerateOptions,
  Register,
  Session,
  SessionInfo,
  UntypedData,
  ValueOptions,
} from "./src/core/session.ts";
export { SessionManager } from "./src/core/session_manager.ts";
export type { RecordVersion, SessionRecord, SessionStore, StoredRecord, StoreTraits, Write } from "./src/core/store.ts";
export type { TokenFormat } from "./src/core/token_format.ts";
export type { TokenLifetime, Transport, WriteContext } from "./src/core/transport.ts";
export {
  type Answer,
  type FetchHandler,
  type PlainHandler,
  type SessionHandler,
  withSession,
} from "./src/core/with_session.ts";
export { type MemoryStoreOptions, memoryStore } from "./src/stores/memory.ts";
