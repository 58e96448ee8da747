import type { Session } from "../../mod.ts";

/** The contents of a session in a simple model. */
export type Contents = Record<string, unknown>;

/** The effect that a call must have on the contents. */
export type Effect = (contents: Contents) => void;

/** The name of the request, and the value that it has read. */
export interface Visitor {
  readonly name: string;
  seen?: unknown;
}

/** One call of a handler, and its expected effect. */
export interface Call {
  readonly act: (session: Session, visitor: Visitor) => unknown;
  readonly effect?: (contents: Contents, visitor: Visitor) => void;
  readonly does?: "save" | "commit" | "end" | "rotate" | "rotate with grace" | "touch" | "fail";
}

/** The key under which the contents hold the idle timeout. */
export const IDLE = "(idle timeout)";
/** In seconds. On each clock it lasts until both requests are done. */
export const GRACE = 900;
/** The error that a handler throws on purpose. */
export const ON_PURPOSE = "The handler fails";

/** The contents of every session at the beginning. */
export const BEGINNING: Contents = {
  count: 1,
  kept: "kept",
  spare: "spare",
  list: ["first"],
  note: "hello",
  [IDLE]: 3000,
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
const fail: Call = {
  act: () => {
    throw new Error(ON_PURPOSE);
  },
  does: "fail",
};
/** An update is committed at once, and stores only its key. */
const update: Call = {
  act: (session) => session.update("count", (count = 0) => count + 1),
  effect: (contents) => {
    contents["count"] = Number(contents["count"] ?? 0) + 1;
  },
  does: "commit",
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
  act: (session) => session.setTimeouts({ idle: 6000 }),
  effect: (contents) => {
    contents[IDLE] = 6000;
  },
};

/** The calls of the handlers, by the name of the program. */
export const programs = {
  "read": [read],
  "set": [set],
  "update": [update],
  "set, update": [set, update],
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
  "set, save, fail": [set, save, fail],
  "destroy": [destroy],
  "destroy, save": [destroy, save],
  "destroy, set": [destroy, set],
  "set, save, destroy": [set, save, destroy],
  "regenerate": [regenerate],
  "regenerate with grace": [regenerateWithGrace],
  "log in": [reauthenticate, set],
  "regenerate, update": [regenerate, update],
  "regenerate, save, set": [regenerate, save, set],
  "regenerate, save, fail": [regenerate, set, save, fail],
  "regenerate, save, regenerate": [regenerateWithGrace, save, regenerate],
  "regenerate, save, regenerate, save, fail": [regenerate, save, regenerate, save, fail],
  "regenerate, destroy": [regenerate, destroy],
  "regenerate, save, destroy": [regenerate, save, destroy],
} as const satisfies Record<string, readonly Call[]>;

export type ProgramName = keyof typeof programs;

/** The calls of a program, in order. */
export function callsOf(program: ProgramName): readonly Call[] {
  return programs[program];
}
