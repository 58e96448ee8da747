import { type Schema, SessionManager, withSession } from "with-session";

interface Shop {
  visits: number;
}

/** A minimal Standard Schema, whose issues have only a message. */
interface PathlessSchema {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (
      value: unknown,
    ) => { readonly value: Shop } | { readonly issues: readonly { readonly message: string }[] };
    readonly types?: { readonly input: Shop; readonly output: Shop };
  };
}

const schema: PathlessSchema = {
  "~standard": {
    version: 1,
    vendor: "by hand",
    validate: () => ({ issues: [{ message: "visits must be a number" }] }),
  },
};

withSession(
  async (_request, session) => {
    const visits: number | undefined = await session.get("visits");
    // @ts-expect-error there is no such key
    session.set("visit", 1);
    return new Response(String(visits));
  },
  { schema },
);
export const sessions: SessionManager<Shop> = new SessionManager({ schema });
export const own: Schema<Shop> = schema;
