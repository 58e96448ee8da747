/** Tells the user why the session that the browser presented has ended. `reason` is `ended` of `session.info()`. */
export function endedMessage(reason: string | null): string | undefined {
  return reason === null ? undefined : (messages.get(reason) ?? "Your session has ended.");
}

const messages: ReadonlyMap<string, string> = new Map([
  ["revoked", "This browser was signed out from another device, and its basket is gone."],
  ["expired", "Your session has expired, because nobody used it for too long."],
  ["retired", "Your session has a new id since you signed in. Please load this page again."],
  ["unknown", "The shop does not know your session any more."],
]);
