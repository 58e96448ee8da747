/**
 * A small provider for local tests: it signs everybody in as Ada. It checks what a real provider checks: the client, the redirect, a code that works once, the
 * proof of PKCE (RFC 7636), and refresh tokens that work once.
 *
 * @module
 */
import { createHash, randomUUID } from "node:crypto";

interface Grant {
  readonly redirect: string;
  readonly challenge: string;
}

export interface Provider {
  fetch(request: Request): Promise<Response>;
}

export function provider(clientId: string): Provider {
  const codes = new Map<string, Grant>();
  const refreshTokens = new Set<string>();
  const accessTokens = new Set<string>();
  let isDown = false;

  const tokens = (): Response => {
    const [access, refresh] = [randomUUID(), randomUUID()];
    accessTokens.add(access);
    refreshTokens.add(refresh);
    return Response.json({ access_token: access, refresh_token: refresh, token_type: "Bearer", expires_in: 60 });
  };

  return {
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/authorize") {
        const redirect = new URL(searchParams.get("redirect_uri") ?? "");
        const code = randomUUID();
        codes.set(code, { redirect: redirect.href, challenge: searchParams.get("code_challenge") ?? "" });
        redirect.searchParams.set("code", code);
        redirect.searchParams.set("state", searchParams.get("state") ?? "");
        return new Response(null, { status: 303, headers: { Location: redirect.href } });
      }
      if (pathname === "/userinfo") {
        const [, token = ""] = (request.headers.get("Authorization") ?? "").split(" ");
        return accessTokens.has(token) ? Response.json({ sub: "Ada" }) : new Response(null, { status: 401 });
      }
      if (pathname === "/outage") {
        isDown = true;
        return new Response("The next request for a token fails\n");
      }
      if (isDown) {
        isDown = false;
        return new Response(null, { status: 503 });
      }
      const form = new URLSearchParams(await request.text());
      if (form.get("client_id") !== clientId) return refusal();
      // A token that was used before is rejected.
      if (form.get("grant_type") === "refresh_token")
        return refreshTokens.delete(form.get("refresh_token") ?? "") ? tokens() : refusal();
      const grant = codes.get(form.get("code") ?? "");
      codes.delete(form.get("code") ?? "");
      const proof = createHash("sha256")
        .update(form.get("code_verifier") ?? "")
        .digest("base64url");
      return grant?.challenge === proof && grant.redirect === form.get("redirect_uri") ? tokens() : refusal();
    },
  };
}

function refusal(): Response {
  return Response.json({ error: "invalid_grant" }, { status: 400 });
}
