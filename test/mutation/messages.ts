/**
 * Makes Stryker skip the texts of errors, because they are for people. Tests check some of the texts, but need not check all.
 *
 * @module
 */

/** The part of Babel's path that is used here. */
interface NodePath {
  readonly node: Node;
  readonly parentPath: NodePath | null;
}

interface Node {
  readonly type: string;
  readonly callee?: { readonly type: string; readonly name?: string };
  readonly arguments?: readonly Node[];
}

/** Error classes and functions that make errors, with the position of the argument that is the text or a name in it. */
const TEXT_AT: Readonly<Record<string, number>> = {
  Error: 0,
  TypeError: 0,
  RangeError: 0,
  SessionError: 1,
  assertKnown: 2,
  assertDuration: 0,
  assertMethods: 0,
  assertRecordSize: 0,
  cleanError: 0,
  refuse: 0,
  storeTimedOut: 0,
  // The checks of `storeCases()`.
  equal: 2,
  fails: 0,
  isHarmless: 0,
  isTooLarge: 0,
  missing: 2,
  note: 0,
  refused: 3,
  saved: 3,
  that: 1,
  version: 1,
};

function shouldIgnore(path: NodePath): string | undefined {
  if (path.node.type !== "StringLiteral" && path.node.type !== "TemplateLiteral") return undefined;
  for (let child = path, parent = path.parentPath; parent !== null; child = parent, parent = parent.parentPath) {
    const { type, callee, arguments: given } = parent.node;
    if (type.endsWith("Expression") && given?.[TEXT_AT[callee?.name ?? ""] ?? -1] === child.node)
      return "the text of an error";
    if (type.endsWith("Statement") || type.includes("Function")) return undefined;
  }
  return undefined;
}

/** Named in `stryker.config.json`. */
export const strykerPlugins: readonly object[] = [{ kind: "Ignore", name: "messages", value: { shouldIgnore } }];
