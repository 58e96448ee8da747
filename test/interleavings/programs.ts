import type { Session } from "../../mod.ts";

/** The contents of a session, as a plain model of them. */
export type Contents = Record<string, unknown>;

/** What a call should do to the contents. */
export type Effect = (contents: Contents) => void;

/** Whose request it is, and what it has seen. */
export interface Visitor {
  readonly name: string;
  seen?: unknown;
}

/** One call of a handler, and what should come of it. */
export interface Call {
  readonly act: (session: Session, visitor: Visitor) => unknown;
  readonly effect?: (contents: Contents, visitor: Visitor) => void;
  readonly does?: "save" | "commit" | "end" | "rotate" | "rotate with grace" | "touch" | "fail";
}

/** What stands for the idle timeout among the contents. */
export const IDLE = "(idle timeout)";
/** In seconds: in force on each clock while two requests meet. */
export const GRACE = 900;
/** What a handler throws on purpose. */
export const ON_PURPOSE = "The handler fails";

/** What every session begins with here. */
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
/** It is committed at once, this key alone. */
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

/** What handlers do, by name. */
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
