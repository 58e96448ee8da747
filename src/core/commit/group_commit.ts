import { type Commit, isEmpty, replay, viewOf } from "../changes.ts";
import type { ActiveSession } from "../session/active_session.ts";
import { hasCode, isOutage, storeTimedOut } from "../errors.ts";
import { admit, alive, newestOf } from "../admission.ts";
import { isPromise, type MaybePromise } from "../maybe_promise.ts";
import { beginOperation } from "../operation.ts";
import type { Found, Operation } from "../repository.ts";
import { keepContext, sharesPromises } from "../runtime.ts";
import { type Applied, applyCommit, settleApplied, storeApplied, update } from "./update.ts";
import { FieldsView } from "../fields.ts";
import { type Job, queuesOf, type WriteQueue } from "./write_queue.ts";
import { includesWrite } from "../store_repository/write_names.ts";

/** The state that a queue has stored last. If it is not known, the next batch loads the session. */
type Last = Found | null | undefined;

/** A job, and what its commit made of the state before it. */
interface AppliedJob {
  readonly job: Job;
  readonly applied: Applied;
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
  const view = queues.has(token) ? undefined : viewOf(commit, new FieldsView(current.fields));
  if (isPromise(view)) return view.then((changed) => update(active, current, { ...commit, view: changed }, op));
  // The function of an `update` that has just run may have begun another request that writes to the same session.
  const queue = queues.get(token);
  if (queue !== undefined)
    return new Promise((resolve, reject) => {
      queue.push({ active, current, commit, op, since: performance.now(), within: keepContext(), resolve, reject });
    });
  const first = update(active, current, view === commit.view ? commit : { ...commit, view }, op);
  if (!isPromise(first)) return first;
  const waiting: WriteQueue = [];
  queues.set(token, waiting);
  // The next batch begins with the state that this request has stored. Most queues are empty, and `serve` makes a promise.
  const next = (stored: Last): void => {
    if (waiting.length > 0) void serve(queues, token, waiting, stored);
    else queues.delete(token);
  };
  first.then(
    () => next(active.copy.base),
    () => next(null),
  );
  return first;
}

/**
 * After this many batches a process loads the session again. Without a load it is faster than the other processes that
 * write to the session, and their writes would always conflict.
 */
const BATCHES_BEFORE_LOAD = 4;

/** Serves a queue until it is empty, one batch after the other. A batch holds all jobs that wait when it begins. */
async function serve(queues: Map<string, WriteQueue>, token: string, waiting: WriteQueue, stored: Last): Promise<void> {
  let last = stored;
  for (let count = 1; waiting.length > 0; count++) {
    const jobs = waiting.splice(0).filter((job) => !isTooLate(job));
    const youngest = jobs.at(-1);
    const known = count % BATCHES_BEFORE_LOAD === 0 ? null : last;
    last = await youngest?.within(() => storeJobs(jobs, youngest, known));
  }
  queues.delete(token);
}

/** Rejects a job that has waited longer than `storeTimeout`, and answers whether it did. */
function isTooLate({ active, since, reject }: Job): boolean {
  const { storeTimeout } = active.policy;
  if (performance.now() - since < storeTimeout * 1000) return false;
  reject(storeTimedOut("store the session", storeTimeout));
  return true;
}

/**
 * Stores the changes of a batch, in the async context of the job that came last. The batch has its own operation: that of a
 * job may have used up its time before the job joined the queue, and the other jobs must not fail for that.
 */
async function storeJobs(batch: readonly Job[], { active, current }: Job, last: Last): Promise<Last> {
  let jobs = batch;
  let base = last ?? current;
  let isLoaded = false;
  let begun: Operation | undefined;
  try {
    const op = (begun = await beginOperation(active));
    const load = async (): Promise<void> => {
      base = await newestOf(active, base, op);
      isLoaded = true;
    };
    // A state that others have stored is checked like a loaded one.
    if (last) base = alive(await admit(active, last, op));
    else await load();
    for (let attempts = 1; ; attempts++) {
      const failures = new Map<Job, unknown>();
      const appliedJobs = await applyJobs(jobs, base, op, failures);
      if (failures.size > 0 && !isLoaded) {
        // The function of a job may fail because this state is older than the one that its request has read.
        jobs = jobs.filter((job) => failures.has(job) || appliedJobs.some((each) => each.job === job));
        await load();
        continue;
      }
      for (const [job, error] of failures) job.reject(error);
      // A job that failed takes no part in another attempt.
      jobs = appliedJobs.map(({ job }) => job);
      const contents = appliedJobs.at(-1)?.applied.contents ?? base;
      const isChange = appliedJobs.some(({ applied }) => applied.isChange);
      if (!isChange && !appliedJobs.some(({ applied }) => applied.isTouch)) {
        if (isLoaded || jobs.every((job) => isNothing(job, base))) return settleAll(appliedJobs, base, base, attempts);
        await load();
        continue;
      }
      const found = await storeApplied(active, base, { contents, isChange }, op);
      if (found !== "conflict") return settleAll(appliedJobs, found, base, attempts);
      op.emit({ type: "conflict", attempts });
      await op.backOff();
      const before = base;
      await load();
      // The store's client sent the write twice, and returned the answer to the second write.
      if (includesWrite(base.metadata, op.writeId)) return settleAll(appliedJobs, base, before, attempts);
    }
  } catch (error) {
    // One of the jobs may be refused, for example because it is too large. Then each job is stored alone.
    if (jobs.length > 1 && !isSharedFailure(error)) return await storeEach(jobs);
    for (const job of jobs) {
      if (begun !== undefined) job.active.noteUnconfirmed(error, begun, base);
      job.reject(error);
    }
    return null;
  }
}

/**
 * Whether a job that does not change `base` has nothing to store: it saw the same version, or has no changes.
 * Otherwise it may have seen a newer state.
 */
function isNothing({ current, commit }: Job, base: Found): boolean {
  return current.version === base.version || isEmpty({ ...commit, touches: false });
}

/** Whether the store or the session failed, so that each job of a batch would fail in the same way. */
function isSharedFailure(error: unknown): boolean {
  return isOutage(error) || hasCode(error, "ERR_SESSION_GONE", "ERR_CONFLICT");
}

async function storeEach(jobs: readonly Job[]): Promise<null> {
  for (const job of jobs) {
    if (isTooLate(job)) continue;
    const { active, current, commit, op, within, resolve } = job;
    const stored = within(async () => await update(active, current, commit, op));
    resolve(stored);
    await stored.catch(() => {});
  }
  return null;
}

/** Applies the changes of each job to the result of the jobs before it. A job that fails is left out, and its error noted. */
async function applyJobs(
  jobs: readonly Job[],
  base: Found,
  op: Operation,
  failures: Map<Job, unknown>,
): Promise<AppliedJob[]> {
  const appliedJobs: AppliedJob[] = [];
  let before = base;
  for (const job of jobs) {
    try {
      const applied = await job.within(() => apply(job, before, op));
      if (applied === undefined) continue;
      before = { ...base, ...applied.contents };
      appliedJobs.push({ job, applied });
    } catch (error) {
      failures.set(job, error);
    }
  }
  return appliedJobs;
}

/** What a job makes of a state; undefined if one of its changes is async, so that the job is stored alone. */
async function apply(
  { active, commit, current, op: own, resolve }: Job,
  before: Found,
  op: Operation,
): Promise<Applied | undefined> {
  const view = replay(commit.changes, new FieldsView(before.fields));
  if (!isPromise(view)) {
    const applied = await applyCommit(active, before, commit, view, op);
    // The job before it may have written the same "last seen", or a server whose clock is ahead a later one.
    return { ...applied, isTouch: applied.contents.lastSeenAt !== before.lastSeenAt };
  }
  // The job is stored alone after its function has returned: of two runs at once, the outcome of this run could be
  // returned, and the outcome of the other run stored.
  const alone = (): MaybePromise<void> => update(active, current, commit, own);
  resolve(view.then(alone, alone));
  return undefined;
}

/**
 * Gives each request the state after its own changes, with the token of the session, which may have a new id. Only the
 * last request gets the newest version.
 */
function settleAll(appliedJobs: readonly AppliedJob[], stored: Found, base: Found, attempts: number): Found {
  for (const [at, { job, applied }] of appliedJobs.entries()) {
    const isLast = at === appliedJobs.length - 1;
    // The store has not taken a touch if the state is still the base.
    const own = isLast || stored === base ? stored : { ...base, ...applied.contents, token: stored.token };
    job.resolve(job.within(async () => await settleApplied(job.active, base, own, applied, job.op, attempts)));
  }
  return stored;
}
