import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";
import { type Session, withSession } from "with-session";
import { getRequestListener } from "@hono/node-server";

interface Data {
  visits?: number;
  user?: string;
}

const yoga = createYoga<{ session: Session<Data> }>({
  schema: createSchema({
    typeDefs: /* GraphQL */ `
      type Query {
        me: String!
      }
      type Mutation {
        visit: Int!
        login(user: String!): String!
        logout: Boolean!
      }
    `,
    resolvers: {
      Query: { me: async (_parent, _input, { session }) => await session.get("user", "nobody") },
      Mutation: {
        visit: async (_parent, _input, { session }) => await session.update("visits", (n = 0) => n + 1),
        login: async (_parent, { user }: { user: string }, { session }) => {
          await session.regenerate({ reauthenticated: true });
          session.set("user", user);
          return user;
        },
        logout: async (_parent, _input, { session }) => {
          await session.destroy();
          return true;
        },
      },
    },
  }),
});

// Puts the session into the server's context.
const fetch = withSession<Data>((request, session) => yoga.fetch(request, { session }) as Promise<Response>);
createServer(getRequestListener(fetch)).listen(Number(process.env["PORT"] ?? 3000));
