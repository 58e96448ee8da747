import { createAsync } from "@solidjs/router";
import { rename, user } from "../functions";

// After an action, the response brings the data that this function asks for.
export const route = { preload: () => void user() };

export default function Page() {
  // The response waits for it, so that the headers can carry the session.
  const name = createAsync(() => user(), { deferStream: true });
  return (
    <form method="post" action={rename}>
      <p>{`You are ${name()}`}</p>
      <input name="user" />
      <button>Rename</button>
    </form>
  );
}
