/** An edit of a session's fields. */
export type Edit = (fields: Map<string, string>) => void;

/**
 * One change of a session. It may run several times: on the record that this request saw, and again on the
 * newest one whenever another request got in between.
 */
export type Change = (fields: Map<string, string>) => void | Promise<void>;

/** Sets one field. */
export function setField(name: string, text: string): Edit {
  return (fields) => {
    fields.set(name, text);
  };
}

/** Removes fields. */
export function removeFields(names: readonly string[]): Edit {
  return (fields) => {
    for (const name of names) fields.delete(name);
  };
}

/** Removes a field if it still holds `text`: what another request has put there since is not ours to remove. */
export function removeIfStill(name: string, text: string): Edit {
  return (fields) => {
    if (fields.get(name) === text) fields.delete(name);
  };
}

/** Computes one field from its present text; `undefined` stands for an absent field, both ways. */
export function computeField(name: string, compute: (text: string | undefined) => Promise<string | undefined>): Change {
  return async (fields) => {
    const text = await compute(fields.get(name));
    if (text === undefined) fields.delete(name);
    else fields.set(name, text);
  };
}

/** Runs changes, in their order, on a copy of a record's fields. */
export async function replay(
  changes: readonly Change[],
  fields: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const result = new Map(fields);
  for (const change of changes) await change(result);
  return result;
}

/** What differs between two states: the new text of each changed field, and null for a removed one. */
export function difference(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): Map<string, string | null> {
  const changed = new Map<string, string | null>();
  if (before === after) return changed;
  for (const [name, text] of after) {
    if (before.get(name) !== text) changed.set(name, text);
  }
  for (const name of before.keys()) {
    if (!after.has(name)) changed.set(name, null);
  }
  return changed;
}
