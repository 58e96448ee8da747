import { EMPTY, isEmpty, type KeyChange } from "../changes.ts";
import { CallQueue } from "./call_queue.ts";
import { isOutage, responseSent, type SessionError, sessionGone } from "../errors.ts";
import { notify, type RejectReason, type SessionHappening } from "../events.ts";
import { Flash } from "../flash.ts";
import { chain, isPromise, type MaybePromise, recovering } from "../maybe_promise.ts";
import type { Policy } from "../policy.ts";
import type { Found, Operation } from "../repository.ts";
import { RequestTransport } from "../request_transport.ts";
import type { ClearSiteData } from "../session.ts";
import { isTouchDue } from "../commit/touch.ts";
import type { UnconfirmedRotation, UnconfirmedWrite } from "./unconfirmed.ts";
import { Values } from "../values.ts";
import { WorkingCopy } from "../working_copy.ts";

/** Where a session comes from: a request, or an id. */
export interface SessionSource {
  readonly request?: Request | undefined;
  /** When the request came, in epoch milliseconds. */
  readonly arrivedAt?: number | undefined;
  readonly token?: string | undefined;
  readonly runtimeArguments: readonly unknown[];
}

/** How a session is loaded and stored: by `load.ts` and `commit.ts`, passed in to keep the chain of imports short. */
export interface Lifecycle {
  load(active: ActiveSession): MaybePromise<void>;
  commitAll(active: ActiveSession): MaybePromise<void>;
  commitKey(active: ActiveSession, change: KeyChange): MaybePromise<void>;
  renewByAge(active: ActiveSession): Promise<void>;
}

/**
 * The whole state of one session in one request. `load.ts` fills it, `commit.ts` stores it, `recovery.ts` repairs it
 * after a failure, and `session_handle.ts` gives handlers access to it.
 */
export class ActiveSession {
  readonly policy: Policy;
  readonly session: object;
  readonly request: Request | undefined;
  readonly arrivedAt: number | undefined;
  readonly runtimeArguments: readonly unknown[];
  readonly transport: RequestTransport | undefined;
  readonly copy: WorkingCopy = new WorkingCopy();
  readonly values: Values;
  readonly flash: Flash;
  readonly calls: CallQueue;

  // The result of loading.
  /** The token that the client presented; null if there is none, undefined before it was read. */
  presented: string | null | undefined;
  /** Without a request: the header for whose name the id was signed; undefined for the cookie's name. */
  openedName: string | undefined;
  /** Why the token that the client presented was rejected; null if it was not. */
  rejected: RejectReason | null = null;
  /** Whether the presented token will never open a session again, so that its cookie can be cleared. */
  isDead = false;
  /** The failure of the store that is tolerated (`onStoreError: "anonymous"`): the request goes on without a session. */
  unavailable: SessionError | undefined;

  // What the request has done, and what its response must carry.
  /** Whether this request has proved who the user is. */
  isAuthenticated = false;
  /** Whether a capability has said that the request does not count as use of the session. */
  isUseIgnored = false;
  /** Whether another request has destroyed or regenerated the session. */
  isGone = false;
  /** Whether this request has ended the session, so that its cookie must be cleared. */
  isEnded = false;
  /** The session that `destroy` has given up. */
  destroyed: Found | undefined;
  /** The words for `Clear-Site-Data` that `destroy` was given. */
  clearSiteData: readonly ClearSiteData[] = [];
  /** Whether the response must carry the token although it stays the same. */
  isRenewed = false;
  /** Whether the response was sent, so that nothing more reaches the client. */
  isSent = false;
  /** The revision of the working copy that was refused. It is not tried again: the handler has got the error. */
  refusedRevision = -1;

  // Work that `destroy` or a failed commit has left.
  /** The session that the next commit must end after `destroy`: itself, or its token. */
  pendingDelete: Found | string | undefined;
  /** A session to end, or its id: the successor of a failed rotation, or a session whose creation got no answer. */
  orphan: Found | string | undefined;
  unconfirmed: UnconfirmedWrite | undefined;
  unconfirmedRotation: UnconfirmedRotation | undefined;
  /** The session that this request has retired, and its successor, until the response carries the new id. */
  retired: { readonly current: Found; readonly successor: Found } | undefined;
  /** The rotation that is under way. A request that fails waits for it, and so does a call that discloses the id. */
  rotating: Promise<void> | undefined;

  // The id that comes next.
  /** The id for the session that this request begins or regenerates; undefined until it is needed. */
  nextId: string | undefined;
  /** The id under which a rotation has stored the session. Until the rotation is settled, the session may still have its old id. */
  successorId: string | undefined;
  /** The id that the session had before this request renewed it by age. */
  renewedId: string | undefined;
  /** Whether `nextId` was disclosed, as itself or by a value that is made from it. This request makes no other id then. */
  isIdDisclosed = false;

  // The `update` that is under way.
  /** The key of an `update` whose function a commit runs, and which has not returned yet. */
  computing: string | undefined;
  /** The key of an `update` whose function is on the call stack. */
  insideUpdate: string | undefined;

  readonly #lifecycle: Lifecycle;
  #loading: Promise<void> | undefined;

  constructor(policy: Policy, session: object, source: SessionSource, lifecycle: Lifecycle) {
    const { request, arrivedAt, token, runtimeArguments } = source;
    this.policy = policy;
    this.#lifecycle = lifecycle;
    this.session = session;
    this.request = request;
    this.arrivedAt = arrivedAt;
    this.runtimeArguments = runtimeArguments;
    this.transport = request && new RequestTransport(policy, request, runtimeArguments);
    this.presented = token;
    this.calls = new CallQueue(policy.storeTimeout);
    this.values = new Values(this);
    this.flash = new Flash(this);
  }

  /** Makes sure that the session is loaded. A failure is not kept: the next call tries again. */
  load(): MaybePromise<void> {
    if (this.copy.base !== undefined) return undefined;
    if (this.#loading !== undefined) return this.#loading;
    const loading = this.#lifecycle.load(this);
    if (!isPromise(loading)) return undefined;
    const done = (): void => void (this.#loading = undefined);
    // This runs before the callers that await `loading`, and makes fewer promises than `finally`.
    loading.then(done, done);
    this.#loading = loading;
    return loading;
  }

  emit(event: SessionHappening): void {
    notify(this, event);
  }

  /** Stores changes at once if the response was sent. A failure is reported to `onEvent`, or by `await save()`. */
  storeIfLate(): void {
    if (!this.isSent) return;
    this.emit({ type: "late" });
    void recovering(
      () => this.save(),
      () => {},
    );
  }

  /** Records changes that need no call: objects were changed in place, or flash values were read. */
  detectChanges(): void {
    this.values.detectChanges();
    this.flash.recordRemovals();
  }

  /** Stores everything that is pending. No function of `update` waits for the end of the request, so the end waits for each. */
  save(isEnd = false): MaybePromise<void> {
    return this.calls.exclusively(() => this.#lifecycle.commitAll(this), isEnd ? undefined : this.computing);
  }

  /** Commits one change, and the earlier changes of its key, at once. */
  commitChange(change: KeyChange): MaybePromise<void> {
    return this.exclusively(() => this.#lifecycle.commitKey(this, change));
  }

  /** Runs tasks one after the other, because two commits of one session would conflict with each other. */
  exclusively<T>(task: () => MaybePromise<T>): MaybePromise<T> {
    return this.calls.exclusively(task, this.computing);
  }

  /** Loads the session, and runs a task between two commits. The caller of a commit that fails gets its error. */
  betweenCommits(task: () => void): MaybePromise<void> {
    return chain(this.load(), () => this.exclusively(task));
  }

  /** Whether `destroy`, or a step of an earlier commit, has left something that must be resolved or ended first. */
  get hasRemains(): boolean {
    return (this.orphan ?? this.unconfirmed ?? this.unconfirmedRotation ?? this.pendingDelete) !== undefined;
  }

  /** Whether there is anything to store, even if only that the session was used. */
  get mustStore(): boolean {
    const { copy, unconfirmed } = this;
    if (this.unconfirmedRotation !== undefined) return true;
    // An `update` that failed is not stored again, so it does not matter whether its write was done.
    const isUnconfirmed = unconfirmed !== undefined && !isEmpty(unconfirmed.commit);
    if (copy.isPending || isUnconfirmed || this.pendingDelete !== undefined || this.orphan !== undefined)
      return copy.revision !== this.refusedRevision;
    return isTouchDue(this, copy.base);
  }

  /** Whether the session gets a new id in this request, or may have got one. After the response, it gets none. */
  get rotates(): boolean {
    return !this.isSent && (this.copy.pending.rotation !== undefined || this.unconfirmedRotation !== undefined);
  }

  /** Whether the session exists and keeps its id, so that a change of one key can be stored alone. */
  get keepsId(): boolean {
    return Boolean(this.copy.base) && !this.rotates;
  }

  /** Makes a state that was stored or found the base of this request. */
  settle(stored: Found): MaybePromise<void> {
    // A rotation that is pending or got no answer still needs the id. The handler may have got it.
    if (!this.rotates) this.forgetNextId();
    return this.copy.setBase(stored, this.unconfirmed?.commit.changes);
  }

  /** Notes a write to `current`, or of a new session, if its error leaves open whether it was done. */
  noteUnconfirmed(error: unknown, { writeId }: Operation, current: Found | null): void {
    if (isOutage(error)) this.unconfirmed = { writeId, commit: EMPTY, current };
  }

  /** Gives up the session. A change that is recorded afterwards begins a new one. */
  destroy(): void {
    const { base } = this.copy;
    this.pendingDelete ??= base ?? this.presented ?? undefined;
    this.destroyed ??= base ?? undefined;
    // A session that may have been stored without an answer ends as well.
    this.orphan ??=
      this.unconfirmedRotation?.successor ?? (this.unconfirmed?.current === null ? this.nextId : undefined);
    // The retired session is not reinstated: it must end, and so must its successor.
    this.unconfirmed = this.unconfirmedRotation = this.retired = this.renewedId = undefined;
    this.forgetNextId();
    this.isGone = this.isRenewed = false;
    this.copy.reset();
    this.values.untrack();
    this.flash.reset();
  }

  /** Drops the changes that a failed handler has recorded and not stored. */
  dropRecorded(): void {
    this.copy.drop();
    this.values.untrack();
    this.flash.reset();
    this.pendingDelete = this.unconfirmed = undefined;
  }

  /** The id that the session will have, created once. */
  createId(): MaybePromise<string> {
    return this.nextId ?? chain(this.policy.generateId(this.request), (id) => (this.nextId ??= id));
  }

  /** Forgets the id that was made for a new session or a rotation: it was used, or is not needed. */
  forgetNextId(): void {
    this.nextId = this.successorId = undefined;
    this.isIdDisclosed = false;
  }

  /**
   * Answers the id of the session for the handler or the client. From now on this request makes no other id, so an id
   * that is due by age is renewed first.
   */
  discloseId(): MaybePromise<string> {
    if (this.rotating === undefined && !this.rotates) return this.#finalId();
    return this.exclusively(() => chain(this.#lifecycle.renewByAge(this), () => this.#finalId()));
  }

  #finalId(): MaybePromise<string> {
    const { base, pending } = this.copy;
    if (base && !this.rotates) return base.id;
    this.isIdDisclosed = true;
    // A new session is stored under this id, also if everything that was recorded for it is removed again.
    if (!base && this.copy.exists) this.copy.restore({ ...EMPTY, begins: true });
    return (pending.rotation ? undefined : this.unconfirmedRotation?.successor.id) ?? this.createId();
  }

  /**
   * Refuses a change that can no longer reach the client.
   *
   * @throws {SessionError} `ERR_RESPONSE_SENT`
   */
  assertWritable(): void {
    if (!this.isSent) return;
    // A session that was not loaded is absent if there is no token.
    const { base = this.presented ?? this.transport?.readToken() } = this.copy;
    if (base === null || this.policy.repository.tokenHoldsSession === true)
      throw responseSent(base === null ? "begin" : "change");
  }

  /** @throws {SessionError} `ERR_SESSION_GONE` if the client presented a recently retired id and did not prove who the user is */
  assertMayBegin(): void {
    if (this.isSent) throw responseSent("begin");
    // After `destroy` the successor ends as well, so a new cookie cannot replace the cookie of a live session.
    const mayReplace = this.isAuthenticated || this.isEnded || this.pendingDelete !== undefined;
    if (this.rejected === "replaced" && !mayReplace) throw sessionGone();
  }
}
