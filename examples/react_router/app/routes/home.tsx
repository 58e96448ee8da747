import { type LoaderFunctionArgs, useLoaderData } from "react-router";
import { session } from "../session.ts";

export async function loader({ context }: LoaderFunctionArgs) {
  const own = context.get(session);
  return { visits: await own.update("visits", (n = 0) => n + 1), user: await own.get("user", "nobody") };
}

export default function Home() {
  const { visits, user } = useLoaderData<typeof loader>();
  return <p>{`Visit ${visits} of ${user}`}</p>;
}
