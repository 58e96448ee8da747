import type { Scheduler } from "fast-check";
import { type Session, SessionError, SessionManager, type SessionStore, withSession } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import type { Operation } from "../linearizability/checker.ts";
import { ABSOLUTE, type Call, IDLE, type Program, TOUCH, type Visit } from "./program.ts";
import { answer, inspect, look, type Observed, type Promised, store, type Told, type World } from "./world.ts";

/** What came of a program: its history, to be explained by the model. */
export interface Played {
  readonly history: readonly Operation<World>[];
  /** What happened, in the order in which it did, for whoever looks for the cause. */
  readonly trace: readonly string[];
  readonly requests: number;
  readonly conflicts: number;
}

/** Decides who goes on, of those who wait: a part of fast-check's scheduler. */
export type Turns = Pick<Scheduler, "schedule" | "count" | "waitNext">;

/** What a browser knows. */
interface Browser {
  cookie: string | null;
  first: string | null;
}

const SHOP = "https://shop.example/";
const MADE_UP = "M".repeat(22);

/**
 * Plays a program on the real thing. Every call of the store waits twice, before it is done and before it is answered,
 * until the scheduler lets it go; and so do the requests themselves, and the clock. Nothing else decides what happens
 * when: the scheduler is asked only when all who are under way wait.
 */
export async function play(program: Program, engine: SessionStore, scheduler: Turns): Promise<Played> {
  const clock = fakeClock(1_000_000_000);
  const promised: Promised = { merges: engine.traits.compareAndSet };
  const browsers: Browser[] = [
    { cookie: null, first: null },
    { cookie: null, first: null },
  ];
  const history: Operation<World>[] = [];
  const trace: string[] = [];
  const issued: string[] = [];
  let conflicts = 0;
  let requests = 0;
  let stamps = 0;
  const stamp = (): number => ++stamps;
  /** What the clock showed, and from when on. */
  const shown = [{ from: 0, time: clock.now() }];

  let busy = 0;
  let quiet = (): void => {};
  const rest = (): void => {
    if (--busy === 0) quiet();
  };
  async function gate(label: string): Promise<void> {
    rest();
    await scheduler.schedule(Promise.resolve(), label);
  }
  async function enter(label: string, act: () => Promise<void>): Promise<void> {
    busy++;
    try {
      await gate(label);
      await act();
    } finally {
      rest();
    }
  }
  async function playAll(): Promise<void> {
    for (;;) {
      if (busy > 0) await new Promise<void>((resolve) => (quiet = resolve));
      if (scheduler.count() === 0) return;
      await scheduler.waitNext(1, async (letGo) => {
        busy++;
        await letGo();
      });
    }
  }

  function advance(seconds: number): void {
    if (seconds === 0) return;
    clock.advance(seconds);
    shown.push({ from: stamp(), time: clock.now() });
    trace.push(`${seconds} s later`);
  }

  /** What the clock may have shown between two stamps. */
  function timesWithin(invoked: number, returned: number): number[] {
    const before = shown.findLast(({ from }) => from <= invoked);
    return [before, ...shown.filter(({ from }) => from > invoked && from <= returned)].map((each) => each?.time ?? 0);
  }

  async function visit({ browser, presents, calls }: Visit, who: string): Promise<void> {
    requests++;
    const jar = browsers[browser];
    if (jar === undefined) throw new Error("There is no such browser");
    const presented = { "cookie": jar.cookie, "first id": jar.first, "made-up id": MADE_UP }[presents];
    const ids: string[] = [];
    let isGone = false;
    const sessions = new SessionManager<Data>({
      store: gated(
        engine,
        (label) => gate(`${who} ${label}`),
        (done) => trace.push(`${who} ${done}`),
      ),
      idleTimeout: IDLE,
      touchInterval: TOUCH,
      absoluteTimeout: ABSOLUTE,
      storeTimeout: 60,
      now: clock.now,
      observe: ({ type }) => {
        if (type === "gone") isGone = true;
        if (type === "conflict") conflicts++;
      },
      generateId: () => {
        const id = `${issued.length}`.padStart(22, "0");
        issued.push(id);
        ids.push(id);
        return id;
      },
    });

    let seen: Observed[] = [];
    let firstAsked = 0;
    let firstAnswered = 0;
    const stores: { invoked: number; returned: number; outcome: "stored" | "gone"; calls: Observed[] }[] = [];
    const looks = seen;

    const handler = async (_request: Request, session: Session<Data>): Promise<Response> => {
      for (const [index, call] of calls.entries()) {
        const tag = `${who}.${index}`;
        const invoked = stamp();
        if (call.call === "save") {
          const outcome = await saved(session);
          seen = [];
          stores.push({ invoked, returned: stamp(), outcome, calls: seen });
          trace.push(`${who} save() → ${outcome}`);
          if (outcome === "gone") break;
          continue;
        }
        const answered = await make(session, call, tag);
        seen.push({ call, tag, answer: answered });
        trace.push(`${who} ${JSON.stringify(call)} → ${JSON.stringify(answered)}`);
        if (firstAsked === 0 && isAnswered(call)) {
          firstAsked = invoked;
          firstAnswered = stamp();
        }
      }
      isGone = false;
      return new Response();
    };
    const request = new Request(SHOP, presented === null ? {} : { headers: { Cookie: `__Host-session=${presented}` } });
    let invoked = 0;
    const wrapped = withSession<Data>(async (request, session) => {
      const response = await handler(request, session);
      invoked = stamp();
      return response;
    }, sessions);
    trace.push(`${who} presents ${presented}`);
    const response = await wrapped(request);
    const returned = stamp();
    const told = toldBy(response);
    if (told !== null) jar.cookie = told === "over" ? null : told.id;
    if (told !== null && told !== "over") jar.first ??= told.id;
    trace.push(`${who} is answered with ${JSON.stringify(told)}${isGone ? ", gone" : ""}`);

    const hadGone = stores.at(-1)?.outcome === "gone";
    const outcome = isGone || hadGone ? "gone" : "stored";
    if (!hadGone) stores.push({ invoked, returned, outcome, calls: [] });
    const [first] = stores;
    if (first === undefined) return;
    // To keep what nobody has seen is no use of a session: it is not even loaded.
    if (told === null && calls.every(({ call }) => call === "keepFlash")) return;
    if (firstAsked === 0 || firstAsked > first.invoked) [firstAsked, firstAnswered] = [first.invoked, first.returned];
    const add = (invoked: number, returned: number, label: string, apply: Operation<World>["apply"]): void => {
      history.push({ process: who, invoked, returned, label: `${who} ${label}`, apply });
    };
    const lookTimes = timesWithin(firstAsked, firstAnswered);
    const callTimes = timesWithin(firstAsked, first.invoked);
    const times = [...new Set([...lookTimes, ...callTimes])];
    add(firstAsked, firstAnswered, `looks with ${presented}: ${JSON.stringify(looks)}`, (world) =>
      look(world, who, presented, ids, times, looks),
    );
    for (const each of stores) {
      const times = timesWithin(each.invoked, each.returned);
      add(each.invoked, each.returned, `stores: ${each.outcome}, ${JSON.stringify(each.calls)}`, (world) =>
        store(world, who, times, promised, each.outcome, each.calls),
      );
    }
    add(returned, returned, `is told ${JSON.stringify(told)}`, (world) => answer(world, who, told, outcome));
  }

  /** Looks where every id leads that was ever issued. */
  async function audit(): Promise<void> {
    const sessions = new SessionManager({
      store: engine,
      idleTimeout: IDLE,
      touchInterval: TOUCH,
      absoluteTimeout: ABSOLUTE,
      now: clock.now,
    });
    for (const id of [...issued, MADE_UP]) {
      const now = clock.now();
      const session = sessions.open(id);
      const found = await session.id();
      const { lastSeenAt } = await session.info();
      const seen = found === null ? null : { id: found, contents: await session.all(), lastSeenAt };
      const at = stamp();
      const text = JSON.stringify(seen, sortedKeys);
      history.push({
        process: `audit ${at}`,
        invoked: at,
        returned: at,
        label: `in the end ${id} leads to ${text}`,
        apply: (world) => (JSON.stringify(inspect(world, id, now), sortedKeys) === text ? [world] : []),
      });
    }
  }

  for (const [number, { later, meanwhile, visits }] of program.entries()) {
    advance(later);
    const under = visits.map((each, index) => {
      const who = `${number}${"abc"[index]}`;
      return enter(`${who} begins`, () => visit(each, who));
    });
    if (meanwhile > 0) under.push(enter("the clock moves", async () => advance(meanwhile)));
    const done = Promise.all(under);
    await Promise.race([done, playAll().then(() => done)]);
  }
  await audit();
  advance(31);
  await audit();
  return { history, trace, requests, conflicts };
}

interface Data {
  a: string;
  b: string;
  note: string;
  n: number;
  list: string[];
  box: string[];
}

/** Makes a call; null stands for undefined. */
async function make(session: Session<Data>, call: Call, tag: string): Promise<unknown> {
  const count = () => session.update("n", (n = 0) => n + 1);
  switch (call.call) {
    case "get":
      return (await session.get(call.key as keyof Data)) ?? null;
    case "pull":
      return (await session.pull(call.key as keyof Data)) ?? null;
    case "has":
      return await session.has(call.key as keyof Data);
    case "keys":
      return (await session.keys()).sort();
    case "all":
      return structuredClone({ ...(await session.all()) });
    case "set":
      return said(session.set(call.key as "a", call.isOwn ? tag : "common"));
    case "delete":
      return said(session.delete(call.key as keyof Data));
    case "clear":
      return said(session.clear());
    case "count":
      return await count();
    case "count twice":
      return (await Promise.all([count(), count()])).sort((left, right) => left - right);
    case "append":
      return [...(await session.update("list", (list = []) => [...list, tag]))];
    case "mutate": {
      const box = await session.get("box");
      box?.push(tag);
      if (box === undefined) session.set("box", [tag]);
      return [...(box ?? [tag])];
    }
    case "flash":
      return said(session.flash(call.key as "note", tag));
    case "keepFlash":
      return said(session.keepFlash());
    case "start":
      return await session.start();
    case "id":
      return await session.id();
    case "info": {
      const { isNew, createdAt, lastSeenAt } = await session.info();
      return { isNew, createdAt, lastSeenAt };
    }
    case "destroy":
      return said(await session.destroy());
    case "regenerate":
      return said(await session.regenerate({ grace: call.grace, reauthenticated: call.reauthenticated }));
    case "touch":
      return said(session.touch());
    case "setTimeouts": {
      const { call: _, ...timeouts } = call;
      return said(session.setTimeouts(timeouts));
    }
    case "save":
      return said(await session.save());
  }
}

const said = (_nothing: void): null => null;

/** Whether a call loads the session. */
function isAnswered({ call }: Call): boolean {
  return !["set", "delete", "clear", "flash", "keepFlash", "touch", "setTimeouts"].includes(call);
}

async function saved(session: Session<Data>): Promise<"stored" | "gone"> {
  try {
    await session.save();
    return "stored";
  } catch (error) {
    if (error instanceof SessionError && error.code === "ERR_SESSION_GONE") return "gone";
    throw error;
  }
}

function toldBy(response: Response): Told {
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 1) throw new Error(`There are ${cookies.length} cookies`);
  const [cookie] = cookies;
  if (cookie === undefined) return null;
  if (/; Max-Age=0(;|$)/.test(cookie)) return "over";
  return { id: /^__Host-session=([^;]*)/.exec(cookie)?.[1] ?? "" };
}

/** The same store, whose calls wait before they are done, and again before they are answered. */
function gated(
  engine: SessionStore,
  gate: (label: string) => Promise<void>,
  hear: (done: string) => void,
): SessionStore {
  const verb =
    <Args extends readonly unknown[], Answer>(name: string, call: (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      await gate(name);
      const answered = await call(...args);
      hear(`${name} → ${typeof answered === "object" ? answered && "a record" : answered}`);
      await gate(`${name} answers`);
      return answered;
    };
  return {
    traits: engine.traits,
    load: verb("load", engine.load),
    create: verb("create", engine.create),
    change: verb("change", engine.change),
    touch: verb("touch", engine.touch),
    delete: verb("delete", engine.delete),
  };
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}
