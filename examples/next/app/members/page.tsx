import { sessions } from "../../lib/sessions";

export default async function Members() {
  const session = await sessions.current();
  return <p>{`Members only, ${await session.get("user")}`}</p>;
}
