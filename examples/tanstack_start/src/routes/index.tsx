import { createFileRoute } from "@tanstack/react-router";
import { createServerFn } from "@tanstack/react-start";
import { getRequest } from "@tanstack/react-start/server";
import { sessions } from "../sessions";

const visit = createServerFn({ method: "GET" }).handler(async () => {
  const session = sessions.start(getRequest());
  return { visits: await session.update("visits", (n = 0) => n + 1), user: await session.get("user", "nobody") };
});

export const Route = createFileRoute("/")({ loader: () => visit(), component: Home });

function Home() {
  const { visits, user } = Route.useLoaderData();
  return <p>{`Visit ${visits} of ${user}`}</p>;
}
