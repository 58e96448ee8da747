import { createAsync } from "@solidjs/router";
import { rename, user } from "../functions";

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
