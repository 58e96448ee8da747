import type { JsonValue, Plugin, SessionStore } from "../../../mod.ts";
import type { Breaking } from "./servers.ts";
import { claimsOf } from "./thief.ts";

const BOUND = "+device-bound";

/** Replaces a part of one of the plugins. */
const plugin = (name: string, change: (plugin: Plugin) => Partial<Plugin>): Breaking => ({
  plugin: (each) => (each.name === name ? { ...each, ...change(each) } : each),
});

/** Changes the facts of `deviceBound` whenever a session is stored. */
const facts = (change: (facts: Record<string, JsonValue>) => JsonValue | undefined): Breaking => {
  const changed = <Contents extends { readonly metadata: object }>(contents: Contents): Contents => {
    const own: unknown = Reflect.get(contents.metadata, BOUND);
    if (typeof own !== "object" || own === null) return contents;
    return { ...contents, metadata: { ...contents.metadata, [BOUND]: change(own as Record<string, JsonValue>) } };
  };
  return {
    repository: (next) => ({
      create: (id, contents, op, replaces) => next.create(id, changed(contents), op, replaces),
      update: (current, contents, op) => next.update(current, changed(contents), op),
    }),
  };
};

/** A store that takes each note of a used proof for the first. */
const forgetsProofs = (store: SessionStore): SessionStore => ({
  ...store,
  save: (key, write) => (write.record.fields.has("proof") ? 1 : store.save(key, write)),
});

/** Faults that the verdict must notice, by what is wrong. */
export const BROKEN: Readonly<Record<string, Breaking>> = {
  "a session that needs no second cookie": plugin("device-bound", () => ({ admit: () => undefined })),
  "a proof of a browser that is valid for too long": { lifetime: 1500 },
  "a proof of a browser that is accepted again after a minute": facts((own) =>
    "at" in own ? { ...own, at: 4e12 } : own,
  ),
  "a key that the session loses": facts(({ id, secret }) => ({ id: id ?? "", secret: secret ?? "" })),
  "a session that is never bound": plugin("device-bound", () => ({
    answer: (request) =>
      /\/dbsc\//.test(request.url) ? Promise.resolve(new Response(null, { status: 403 })) : undefined,
  })),
  "a session that needs no proof of its client": plugin("dpop", () => ({ admit: () => undefined })),
  "a nonce that is valid for too long": { nonceLifetime: 2000 },
  "a proof of a client that is accepted twice": { store: forgetsProofs },
  "a proof that is good for every address": {
    request(request) {
      const proof = request.headers.get("DPoP");
      const { htu } = proof === null ? {} : claimsOf(proof);
      return proof === null || new URL(request.url).search === ""
        ? request
        : new Request(String(htu) + new URL(request.url).search, request);
    },
  },
  "a client that gets no nonce": plugin("dpop", () => ({ respond: () => {}, answer: () => undefined })),
  "a CSRF token that is valid for every session": { verify: () => Promise.resolve(true) },
  "a CSRF token that is valid for no session": { verify: () => Promise.resolve(false) },
};
