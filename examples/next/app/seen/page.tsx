import { sessions } from "../../lib/sessions";

export default async function Seen() {
  const session = await sessions.current();
  return <p>{`Seen ${await session.get("seen", 0)}, message ${(await session.pull("message")) ?? "none"}`}</p>;
}
