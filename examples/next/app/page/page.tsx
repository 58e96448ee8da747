import { sessions } from "../../lib/sessions";
import { fail, leave, like, login, logout } from "./actions";

export default async function Page() {
  const session = await sessions.current();
  const user = await session.get("user", "nobody");
  const likes = await session.get("likes", 0);
  return (
    <>
      <p>{`You are ${user}`}</p>
      <p>{`Likes ${likes}`}</p>
      <form id="login" action={login}>
        <input name="user" />
        <button>Sign in</button>
      </form>
      <form id="like" action={like}>
        <button>Like</button>
      </form>
      <form id="leave" action={leave}>
        <button>Leave</button>
      </form>
      <form id="fail" action={fail}>
        <button>Fail</button>
      </form>
      <form id="logout" action={logout}>
        <button>Sign out</button>
      </form>
    </>
  );
}
