import { expect, test } from "vitest";
import { type Repository, wrapRepository } from "../../../mod.ts";

/** A repository whose methods return their names, arguments and object. */
class Spoken {
  readonly said: unknown[] = [];
  readonly tokenHoldsSession = true;
  tokenFor = this.#verb("tokenFor");
  idOf = this.#verb("idOf");
  open = this.#verb("open");
  refresh = this.#verb("refresh");
  create = this.#verb("create");
  update = this.#verb("update");
  retire = this.#verb("retire");
  reinstate = this.#verb("reinstate");
  end = this.#verb("end");

  #verb(name: string): (...args: unknown[]) => string {
    const { said } = this;
    return function (this: unknown, ...args: unknown[]): string {
      said.push([name, (this as Spoken | undefined)?.said === said, ...args]);
      return name;
    };
  }
}

const VERBS = {
  tokenFor: ["id", "op"],
  idOf: ["token", "op"],
  open: ["token", "op"],
  refresh: ["current", "op"],
  create: ["id", "contents", "op", "replaces"],
  update: ["current", "contents", "op"],
  retire: ["current", "successor", 7, "op"],
  reinstate: ["retired", "op"],
  end: ["session", "op"],
};

function call(repository: Repository, name: string, args: readonly unknown[]): unknown {
  // A plugin may call a method without its object.
  const verb: unknown = Reflect.get(repository, name);
  return Reflect.apply(verb as () => unknown, undefined, args);
}

test("a wrapped repository does as the other one does, with all that it is given", () => {
  const next = new Spoken();
  const wrapped = wrapRepository(next as unknown as Repository, {});
  expect(wrapped.tokenHoldsSession).toBe(true);
  for (const [name, args] of Object.entries(VERBS)) {
    expect(call(wrapped, name, args)).toBe(name);
    expect(next.said.pop()).toEqual([name, true, ...args]);
  }
});

test("a wrapped repository does in its own way what it is given, and nothing else", () => {
  const next = new Spoken();
  const own = Object.fromEntries(Object.keys(VERBS).map((name) => [name, () => "own"]));
  const wrapped = wrapRepository(next as unknown as Repository, { ...own, tokenHoldsSession: false } as object);
  for (const [name, args] of Object.entries(VERBS)) expect(call(wrapped, name, args)).toBe("own");
  expect([next.said, wrapped.tokenHoldsSession]).toEqual([[], false]);
});

test("a wrapped repository has no verb that the other one does not have", () => {
  const { open, refresh, create, update, retire, end } = new Spoken();
  const bare: object = { open, refresh, create, update, retire, end };
  expect(Object.keys(wrapRepository(bare as Repository, {})).toSorted()).toEqual(Object.keys(bare).toSorted());
});
