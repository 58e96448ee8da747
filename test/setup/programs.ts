import {
  type Session,
  SessionError,
  type SessionEvent,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { SHOP } from "./sessions.ts";

/** The contents of a session, as a plain model of them. */
export type Contents = Record<string, unknown>;

/** What a call should do to the contents. */
export type Effect = (contents: Contents) => void;

/** Whose request it is, and what it has seen. */
interface Visitor {
  readonly name: string;
  seen?: unknown;
}

/** One call of a handler, and what should come of it. */
export interface Call {
  readonly act: (session: Session, visitor: Visitor) => unknown;
  readonly effect?: (contents: Contents, visitor: Visitor) => void;
  readonly does?: "save" | "end" | "rotate" | "rotate with grace" | "touch";
}

/** What stands for the idle timeout among the contents. */
export const IDLE = "(idle timeout)";
/** In seconds. */
export const GRACE = 30;

/** What every session begins with here. */
export const BEGINNING: Contents = {
  count: 1,
  kept: "kept",
  spare: "spare",
  list: ["first"],
  note: "hello",
  [IDLE]: 100,
};

const put = (suffix: string): Call => ({
  act: (session, { name }) => session.set(name + suffix, "set"),
  effect: (contents, { name }) => {
    contents[name + suffix] = "set";
  },
});
const remove: Call["effect"] = (contents) => {
  delete contents["spare"];
};

const read: Call = { act: (session) => session.get("kept") };
const set = put("");
const setAgain = put(" again");
const save: Call = { act: (session) => session.save(), does: "save" };
const destroy: Call = { act: (session) => session.destroy(), does: "end" };
const regenerate: Call = { act: (session) => session.regenerate(), does: "rotate" };
const reauthenticate: Call = { act: (session) => session.regenerate({ reauthenticated: true }), does: "rotate" };
const regenerateWithGrace: Call = {
  act: (session) => session.regenerate({ grace: GRACE }),
  does: "rotate with grace",
};
const update: Call = {
  act: (session) => session.update("count", (count = 0) => count + 1),
  effect: (contents) => {
    contents["count"] = Number(contents["count"] ?? 0) + 1;
  },
};
const clear: Call = {
  act: (session) => session.clear(),
  effect: (contents) => {
    for (const key of Object.keys(contents)) if (key !== IDLE) delete contents[key];
  },
};
const changeInPlace: Call = {
  act: async (session, { name }) => {
    const list: unknown[] = await session.get(`${name} list`, []);
    list.push("last");
    session.set(`${name} list`, list);
    list.push("after all");
  },
  effect: (contents, { name }) => {
    contents[`${name} list`] = ["last", "after all"];
  },
};
const flash: Call = {
  act: (session, { name }) => session.flash("note", name),
  effect: (contents, { name }) => {
    contents["note"] = name;
  },
};
const takeFlash: Call = {
  act: async (session, visitor) => {
    visitor.seen = await session.get("note");
  },
  effect: (contents, { seen }) => {
    if (contents["note"] === seen) delete contents["note"];
  },
};
const setTimeouts: Call = {
  act: (session) => session.setTimeouts({ idle: 200 }),
  effect: (contents) => {
    contents[IDLE] = 200;
  },
};

/** What handlers do, by name. */
export const programs = {
  "read": [read],
  "set": [set],
  "update": [update],
  "delete": [{ act: (session) => session.delete("spare"), effect: remove }],
  "pull": [{ act: (session) => session.pull("spare"), effect: remove }],
  "clear": [clear],
  "change in place": [changeInPlace],
  "touch": [{ act: (session) => session.touch(), does: "touch" }],
  "setTimeouts": [setTimeouts],
  "flash": [flash],
  "take flash": [takeFlash],
  "set, save": [set, save],
  "set, save, set": [set, save, setAgain],
  "destroy": [destroy],
  "destroy, save": [destroy, save],
  "destroy, set": [destroy, set],
  "set, save, destroy": [set, save, destroy],
  "regenerate": [regenerate],
  "regenerate with grace": [regenerateWithGrace],
  "log in": [reauthenticate, set],
  "regenerate, save, set": [regenerate, save, set],
  "regenerate, save, regenerate": [regenerateWithGrace, save, regenerate],
  "regenerate, destroy": [regenerate, destroy],
  "regenerate, save, destroy": [regenerate, save, destroy],
} as const satisfies Record<string, readonly Call[]>;

export type ProgramName = keyof typeof programs;

/** The calls of a program, in order. */
export function callsOf(program: ProgramName): readonly Call[] {
  return programs[program];
}

/** A cookie that every handler sets itself. */
export const HANDLERS_COOKIE = "other=1";

/** An effect of a request, and what became of it. */
export interface Wanted {
  readonly effect: Effect;
  /** Whether it is for the session that the request began after ending another. */
  readonly isAfterEnd: boolean;
  isStored: boolean;
}

/** What one request came to. */
export interface Visited {
  readonly program: ProgramName;
  readonly events: readonly SessionEvent["type"][];
  readonly wanted: readonly Wanted[];
  /** What `save()` did, each time. */
  readonly saves: readonly ("stored" | "stored, though gone" | SessionError["code"])[];
  readonly hasSavedBeforeEnd: boolean;
  /** What the client got, unless the request failed. */
  readonly response: Response | undefined;
  readonly error: unknown;
}

/** Sends one request with an id, whose handler makes the calls of a program. */
export async function visit(
  program: ProgramName,
  name: string,
  id: string,
  options: SessionOptions & { readonly store: SessionStore },
): Promise<Visited> {
  const events: SessionEvent["type"][] = [];
  const saves: Visited["saves"][number][] = [];
  const visitor: Visitor = { name };
  let wanted: Wanted[] = [];
  let hasEnded = false;
  let hasSavedBeforeEnd = false;

  const trySave = async (session: Session): Promise<void> => {
    try {
      await session.save();
      for (const each of wanted) each.isStored = true;
      saves.push(events.includes("gone") ? "stored, though gone" : "stored");
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      saves.push(error.code);
    }
  };
  const handle = withSession(
    async (_request, session) => {
      for (const call of callsOf(program)) {
        if (call.does === "save") {
          await trySave(session);
          continue;
        }
        await call.act(session, visitor);
        if (call.does === "end") {
          hasSavedBeforeEnd = saves.length > 0;
          hasEnded = true;
          wanted = wanted.filter(({ isStored }) => isStored);
        }
        const { effect } = call;
        if (effect === undefined) continue;
        wanted.push({ effect: (contents) => effect(contents, visitor), isAfterEnd: hasEnded, isStored: false });
      }
      return new Response("done", { status: 202, headers: { "Set-Cookie": HANDLERS_COOKIE } });
    },
    { ...options, observe: ({ type }) => events.push(type) },
  );
  const request = new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } });
  let response: Response | undefined;
  let error: unknown;
  try {
    response = await handle(request);
    if (!events.includes("gone")) for (const each of wanted) each.isStored = true;
  } catch (thrown) {
    error = thrown;
  }
  return { program, events, wanted, saves, hasSavedBeforeEnd, response, error };
}
