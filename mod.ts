/**
 * Sessions for Request and Response: no lost updates, no revived logouts, on any KV-like store.
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
export { withSession } from "./src/with_session.ts";
export type { FetchHandler, SessionHandler } from "./src/with_session.ts";
export { SessionManager } from "./src/session_manager.ts";
export type { ListedSession, RevokeAllOptions, WaitUntil } from "./src/session_manager.ts";
export { Session } from "./src/session.ts";
export type { BindOptions, KeyOf, RegenerateOptions, SessionInfo, UntypedData } from "./src/session.ts";
export { BusyError, SessionError } from "./src/errors.ts";
export type { SessionErrorCode } from "./src/errors.ts";
export type { Place, SessionOptions } from "./src/options.ts";
export type { Codec } from "./src/codec.ts";
export type { SessionEvent } from "./src/observe.ts";
export type { Refusal, RevocationStore, SealedSessions } from "./src/vault.ts";
export type { Epoch, SubjectLimit } from "./src/roster.ts";
export type { OwnTimeouts, Unreadable } from "./src/record.ts";
export type { Schema, SchemaResult } from "./src/schema.ts";
export type { CookieOptions } from "./src/transports/cookie.ts";
export type { HeaderOptions } from "./src/transports/header.ts";
export type { Beside, Transport, WriteContext } from "./src/transports/transport.ts";
export { memoryStore } from "./src/stores/memory.ts";
export type { MemoryStoreOptions } from "./src/stores/memory.ts";
export type { Loaded, RecordChange, SessionRecord, SessionStore, StoreTraits, Version } from "./src/store.ts";
export { recordFromText, recordToText, refuseTooLarge } from "./src/record_text.ts";
