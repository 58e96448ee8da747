import { createHash, randomBytes } from "node:crypto";
import { serve } from "@hono/node-server";
import { type Session, withSession } from "with-session";
import { exclusive } from "with-session/exclusive";
import { provider } from "./provider.ts";

interface Tokens {
  readonly access: string;
  readonly refresh: string;
}

interface Data {
  /**
   * The logins that have begun, one for each tab: the state, and its verifier. A client chooses the state that is looked up here. In a
   * plain object it would find `constructor`, which nobody has stored.
   */
  logins?: Map<string, string>;
  user?: string;
  tokens?: Tokens;
}

const CLIENT_ID = "with-session-example";
const port = Number(process.env["PORT"] ?? 3000);
const origin = `http://127.0.0.1:${port}`;
const redirectUri = `${origin}/callback`;
// In production the provider is another server.
const { fetch: askProvider } = provider(CLIENT_ID);

const text = (): string => randomBytes(32).toString("base64url");
const redirect = (location: string): Response => new Response(null, { status: 303, headers: { Location: location } });

async function login(session: Session<Data>): Promise<Response> {
  const [state, verifier] = [text(), text()];
  // `update`, because two tabs may begin at the same time. The three newest logins are kept.
  await session.update("logins", (logins = new Map()) => new Map([...logins, [state, verifier] as const].slice(-3)));
  const query = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT_ID,
    redirect_uri: redirectUri,
    state,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  return redirect(`${origin}/provider/authorize?${query}`);
}

async function callback(request: Request, session: Session<Data>): Promise<Response> {
  const { searchParams } = new URL(request.url);
  const state = searchParams.get("state") ?? "";
  // The state belongs to this session. A link that an attacker has made signs nobody in.
  const verifier = (await session.get("logins"))?.get(state);
  if (verifier === undefined) return new Response("This login was not begun here\n", { status: 400 });
  await session.update("logins", (logins = new Map()) => new Map([...logins].filter(([each]) => each !== state)));
  const tokens = await exchange({
    grant_type: "authorization_code",
    code: searchParams.get("code") ?? "",
    redirect_uri: redirectUri,
    code_verifier: verifier,
  });
  if (tokens === undefined) return new Response("The provider refuses\n", { status: 400 });
  const about = await askProvider(
    new Request(`${origin}/userinfo`, { headers: { Authorization: `Bearer ${tokens.access}` } }),
  );
  const { sub } = (await about.json()) as { sub: string };
  await session.regenerate({ reauthenticated: true });
  session.set({ user: sub, tokens });
  return redirect("/");
}

/** If several requests find the same old tokens, only one of them exchanges the refresh token, because it works once. */
async function renew(session: Session<Data>): Promise<Response> {
  const tokens = await exclusive(session, "tokens", async (old) => {
    if (old === undefined) return undefined;
    return await exchange({ grant_type: "refresh_token", refresh_token: old.refresh });
  });
  return tokens === undefined
    ? new Response("Please sign in\n", { status: 401 })
    : new Response(`Token ${tokens.access}\n`);
}

async function exchange(fields: Record<string, string>): Promise<Tokens | undefined> {
  const response = await askProvider(
    new Request(`${origin}/token`, { method: "POST", body: new URLSearchParams({ client_id: CLIENT_ID, ...fields }) }),
  );
  // The provider refuses the grant (RFC 6749, 5.2). After any other failure, the next attempt uses the same grant.
  if (response.status === 400) return undefined;
  if (!response.ok) throw new Error(`The provider answered ${response.status}`);
  const { access_token: access, refresh_token: refresh } = (await response.json()) as {
    access_token: string;
    refresh_token: string;
  };
  return { access, refresh };
}

const program = withSession<Data>(async (request, session) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/login") return await login(session);
  if (pathname === "/callback") return await callback(request, session);
  if (pathname === "/renew") return await renew(session);
  return new Response(`You are ${await session.get("user", "nobody")}\n`);
});

serve({
  port,
  fetch: (request) => {
    const { pathname, search } = new URL(request.url);
    return pathname.startsWith("/provider/")
      ? askProvider(new Request(`${origin}${pathname.slice("/provider".length)}${search}`))
      : program(request);
  },
});
