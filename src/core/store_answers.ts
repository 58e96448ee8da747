/**
 * What stores may answer, and what the call was to do, for the message of an error.
 *
 * @module
 */
export const LOADING = "load the session";
export const STORING = "store the session";
export const ENDING = "end the session";

export function isRecordOrNull(answer: unknown): boolean {
  if (answer === null) return true;
  if (typeof answer !== "object" || !("fields" in answer) || !("version" in answer)) return false;
  const { fields } = answer;
  return (
    typeof fields === "object" &&
    fields !== null &&
    "get" in fields &&
    typeof fields.get === "function" &&
    isVersion(answer.version)
  );
}

export function isVersion(answer: unknown): boolean {
  // Some clients answer a command with its acknowledgement, "OK". It is not a version.
  return (
    (typeof answer === "string" && answer !== "" && !/^ok$/i.test(answer)) ||
    (typeof answer === "number" && !Number.isNaN(answer))
  );
}

export function isDeletion(answer: unknown): boolean {
  return answer === undefined || answer === "conflict";
}
