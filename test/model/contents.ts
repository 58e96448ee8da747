/** A value in the model. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The contents of a session: everything that a change can affect. */
export interface Contents {
  data: Record<string, Json>;
  flash: Record<string, Json>;
}

/** One change. It can be applied to any contents. */
export type Edit =
  | { edit: "set" | "flash" | "drop flash if"; key: string; value: Json }
  | { edit: "remove" | "drop flash"; key: string }
  | { edit: "count" | "clear" }
  | { edit: "append"; value: Json };

/** The key that an edit changes; undefined if it changes all keys. */
export function keyOfEdit(edit: Edit): string | undefined {
  if (edit.edit === "count") return "n";
  if (edit.edit === "append") return "list";
  return "key" in edit ? edit.key : undefined;
}

/** The contents after some edits. */
export function edited(contents: Contents, edits: readonly Edit[]): Contents {
  let data = { ...contents.data };
  let flash = { ...contents.flash };
  for (const edit of edits) {
    switch (edit.edit) {
      case "set":
        data[edit.key] = edit.value;
        break;
      case "remove":
        delete data[edit.key];
        break;
      case "flash":
        flash[edit.key] = edit.value;
        break;
      case "drop flash":
        delete flash[edit.key];
        break;
      case "drop flash if":
        if (flash[edit.key] === edit.value) delete flash[edit.key];
        break;
      case "count":
        data["n"] = Number(data["n"] ?? 0) + 1;
        break;
      case "append":
        data["list"] = [...(Array.isArray(data["list"]) ? data["list"] : []), edit.value];
        break;
      case "clear":
        data = {};
        flash = {};
    }
  }
  return { data, flash };
}

/** Whether two values are equal. The order of object keys does not matter. */
export function same(left: unknown, right: unknown): boolean {
  return textOf(left) === textOf(right);
}

/** A text that is the same for equal values. */
export function textOf(value: unknown): string {
  return JSON.stringify(value, sortedKeys) ?? "undefined";
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}
