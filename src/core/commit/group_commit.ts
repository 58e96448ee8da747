import { changedMetadata, type Commit, replay } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { isOutage, isSessionError, sessionGone, storeTimedOut } from "../errors.ts";
import { admit, newestOf } from "../admission.ts";
import { chain, isPromise, type MaybePromise } from "../maybe_promise.ts";
import { beginOperation } from "../operation.ts";
import type { Contents, Found, Operation } from "../repository.ts";
import { sharesPromises } from "../runtime.ts";
import { isTouchDue } from "./touch.ts";
import { viewOf, update } from "./update.ts";
import { FieldsView, sweep } from "../fields.ts";
import { enqueue, type Job, queuesOf, type WriteQueue } from "./write_queue.ts";
import { includesWrite } from "../store_repository/write_names.ts";

/** A job, and the contents that its changes made of the state before it. */
interface Applied {
  readonly job: Job;
  readonly contents: Contents;
}

/**
 * Stores the changes of one request, or of several requests together. Requests of one process that change one
 * session, and whose clients hold the same token, share a queue. The first request writes at once. The requests that
 * join the queue meanwhile are stored in one compare-and-set. Without the queue, hundreds of writers of one session
 * would conflict with each other endlessly.
 *
 * A change whose function is async does not join the queue: it could wait for a request that is behind it in the queue.
 */
export function commitTogether(
  active: ActiveSession,
  current: Found,
  commit: Commit,
  op: Operation,
): MaybePromise<void> {
  const { policy } = active;
  if (!policy.combinesWrites || !sharesPromises()) return update(active, current, commit, op);
  const queues = queuesOf(policy);
  // The key is the token, not the id: a token may be bound to the name of its cookie, and if the session gets a new id,
  // all requests of a queue get the same new token.
  const { token } = current;
  let queue = queues.get(token);
  if (queue !== undefined) return enqueue(queue, active, current, commit, op);
  const changed = viewOf(commit, current);
  if (isPromise(changed)) return changed.then((view) => update(active, current, { ...commit, view }, op));
  // The function of an `update` that has just run may have begun another request that writes to the same session.
  queue = queues.get(token);
  if (queue !== undefined) return enqueue(queue, active, current, commit, op);
  const first = update(active, current, { ...commit, view: changed }, op);
  if (!isPromise(first)) return first;
  const waiting: WriteQueue = [];
  queues.set(token, waiting);
  const next = (stored: Found | null | undefined): void => {
    if (waiting.length === 0) queues.delete(token);
    else void serve(queues, token, waiting, stored?.id === current.id ? stored : undefined);
  };
  // The next batch begins with the state that this request has stored.
  first.then(
    () => next(active.copy.base),
    () => next(undefined),
  );
  return first;
}

/** The origin of the state to which a batch is applied: a request loaded it, the queue stored it, or it was just loaded. */
type Origin = "request" | "queue" | "store";

/**
 * After this many batches a process loads the session again. Without a load it is faster than the other processes that
 * write to the session, and their writes would always conflict.
 */
const BATCHES_BEFORE_LOAD = 4;

/** Serves a queue, one batch after the other. A batch holds all jobs that wait when it begins. */
async function serve(
  queues: Map<string, WriteQueue>,
  token: string,
  waiting: WriteQueue,
  stored: Found | undefined,
): Promise<void> {
  let last = stored;
  for (let count = 1; waiting.length > 0; count++)
    last = await serveBatch(waiting.splice(0), last, last === undefined || count % BATCHES_BEFORE_LOAD === 0);
  queues.delete(token);
}

/** Stores the changes of a batch; with `loads`, after a load. Answers the newest state, if it is known. */
async function serveBatch(batch: readonly Job[], last: Found | undefined, loads: boolean): Promise<Found | undefined> {
  const jobs = batch.filter((job) => !isTooLate(job));
  const youngest = jobs.at(-1);
  return youngest === undefined ? last : await youngest.within(() => storeBatch(jobs, youngest, last, loads));
}

async function storeBatch(
  batch: readonly Job[],
  youngest: Job,
  last: Found | undefined,
  loads: boolean,
): Promise<Found | undefined> {
  let jobs = batch;
  const { op, active: leader } = youngest;
  const { repository } = leader.policy;
  let base = last ?? youngest.current;
  let origin = (last === undefined ? "request" : "queue") as Origin;
  const load = async (): Promise<void> => {
    base = await newestOf(leader, base, op);
    origin = "store";
  };
  try {
    if (loads) await load();
    for (let attempts = 1; ; attempts++) {
      const applied = await applyJobs(jobs, base, op, origin !== "request");
      // A job that failed takes no part in another attempt.
      jobs = applied.map(({ job }) => job);
      const final = applied.at(-1)?.contents;
      if (final === undefined) return base;
      if (isSame(final, base)) {
        if (origin === "store" || jobs.every((job) => isNothing(job, base)))
          return settleAll(applied, base, base, op, undefined);
        await load();
        continue;
      }
      const found = await repository.update(base, final, op);
      if (found !== "conflict") return settleAll(applied, found, base, op, attempts);
      op.emit({ type: "conflict", attempts });
      await op.backOff();
      const before = base;
      await load();
      // The store's client sent the write twice, and returned the answer to the second write.
      if (includesWrite(base.metadata, op.writeId)) return settleAll(applied, base, before, op, attempts);
    }
  } catch (error) {
    // One of the jobs may be refused, for example because it is too large. Then each job is stored alone.
    if (jobs.length > 1 && !isSharedFailure(error)) return await serveEach(jobs);
    for (const job of jobs) {
      if (isOutage(error)) job.active.unconfirmed = { writeId: op.writeId, commit: job.commit, current: base };
      job.reject(error);
    }
    return undefined;
  }
}

/**
 * Whether a job that does not change `base` has nothing to store: it saw the same version, or has no changes.
 * Otherwise it may have seen a newer state.
 */
function isNothing({ current, commit }: Job, base: Found): boolean {
  const { changes, metadataChanges, timeouts } = commit;
  return (
    current.version === base.version || (changes.length === 0 && metadataChanges.length === 0 && timeouts === undefined)
  );
}

/** Whether the store or the session failed, so that each job of a batch would fail in the same way. */
function isSharedFailure(error: unknown): boolean {
  return (
    isOutage(error) || (isSessionError(error) && (error.code === "ERR_SESSION_GONE" || error.code === "ERR_CONFLICT"))
  );
}

async function serveEach(jobs: readonly Job[]): Promise<undefined> {
  for (const { active, current, commit, op, within, resolve, reject } of jobs) {
    try {
      resolve(await within(() => update(active, current, commit, op)));
    } catch (error) {
      reject(error);
    }
  }
}

/** Rejects a job that has waited longer than `storeTimeout`, and answers whether it did. */
function isTooLate({ active, since, reject }: Job): boolean {
  const { storeTimeout } = active.policy;
  if (performance.now() - since < storeTimeout * 1000) return false;
  reject(storeTimedOut("store the session", storeTimeout));
  return true;
}

/** Applies the changes of each job to the result of the jobs before it. A job that fails is rejected and left out. */
async function applyJobs(jobs: readonly Job[], base: Found, op: Operation, isOthers: boolean): Promise<Applied[]> {
  const applied: Applied[] = [];
  let contents: Contents = base;
  for (const job of jobs) {
    try {
      const before = { ...base, ...contents };
      const next = await job.within(() => apply(job, before, base, op, isOthers));
      if (next === undefined) continue;
      contents = next;
      applied.push({ job, contents });
    } catch (error) {
      job.reject(error);
    }
  }
  return applied;
}

/** The contents that the changes of a job make of a state; undefined if a change is async, so that the job is stored alone. */
async function apply(
  job: Job,
  before: Found,
  base: Found,
  op: Operation,
  isOthers: boolean,
): Promise<Contents | undefined> {
  const { active, commit } = job;
  const { plugins, validateLoaded, validateChanges } = active.policy;
  if (isOthers && (plugins.length > 0 || validateLoaded !== undefined)) {
    const admitted = await admit(active, base, op);
    if (typeof admitted === "string") throw sessionGone();
  }
  const view = replay(commit.changes, new FieldsView(before.fields));
  if (isPromise(view)) {
    // The job is stored alone after its function has returned: of two runs at once, the outcome of this run could be
    // returned, and the outcome of the other run stored. It gets a new operation with a new write id, because the rest
    // of the batch may be stored under the write id of this job.
    const alone = (): MaybePromise<void> =>
      chain(beginOperation(active), (own) => update(active, job.current, commit, own));
    job.resolve(view.then(alone, alone));
    return undefined;
  }
  const metadata = changedMetadata(before.metadata, commit);
  const isChange = view.changed.size > 0 || metadata !== before.metadata;
  const isTouch = isTouchDue(active, before, commit.touches, commit.timeouts);
  if (isChange) {
    sweep(view, op.now);
    await validateChanges?.(view.fields);
  }
  active.isRenewed ||= isTouch || metadata.timeouts !== before.metadata.timeouts;
  return {
    fields: view.fields,
    metadata,
    lastSeenAt: isTouch ? Math.max(op.now, before.lastSeenAt) : before.lastSeenAt,
  };
}

function isSame(contents: Contents, base: Found): boolean {
  return (
    contents.fields === base.fields && contents.metadata === base.metadata && contents.lastSeenAt === base.lastSeenAt
  );
}

/** Gives each request the state after its own changes. Only the last request gets the newest version. */
function settleAll(
  applied: readonly Applied[],
  stored: Found,
  base: Found,
  op: Operation,
  attempts: number | undefined,
): Found {
  let before: Contents = base;
  for (const { job, contents } of applied) {
    const { active, current } = job;
    const isChange = contents.fields !== before.fields || contents.metadata !== before.metadata;
    const isTouch = contents.lastSeenAt !== before.lastSeenAt;
    before = contents;
    const isLast = contents === applied.at(-1)?.contents;
    // The session may have a new id, which must reach the client.
    const token = stored.id === current.id ? current.token : stored.token;
    const own = isLast ? { ...stored, token } : { ...base, ...contents, token };
    job.within(() => {
      if (attempts !== undefined && (isChange || isTouch))
        job.op.emit(isChange ? { type: "changed", attempts } : { type: "touched" });
      try {
        job.resolve(active.settle(own, op));
      } catch (error) {
        // The job was stored, but a later change of the same request cannot be applied to the new state.
        job.reject(error);
      }
    });
  }
  return stored;
}
