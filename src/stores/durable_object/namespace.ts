/** The part of a Durable Object binding (Cloudflare's `DurableObjectNamespace`) that the store needs. */
export interface SessionObjectNamespace<Id = unknown> {
  /** The id of the object with a name. */
  idFromName(name: string): Id;
  /** A stub of the object, which begins to exist when it is first called. */
  get(id: Id, options?: { locationHint?: SessionLocationHint }): SessionObjectStub;
  /** The same namespace, whose objects stay within a jurisdiction. */
  jurisdiction?(name: SessionJurisdiction): SessionObjectNamespace<Id>;
}

/** The part of a stub of a Durable Object that the store needs. */
export interface SessionObjectStub {
  /** Calls the object. */
  fetch(
    url: string,
    init: { method: "POST"; body: string; signal?: AbortSignal },
  ): Promise<{
    readonly ok: boolean;
    readonly status: number;
    text(): Promise<string>;
  }>;
}

/** A part of the world (https://developers.cloudflare.com/durable-objects/reference/data-location/#provide-a-location-hint). */
export type SessionLocationHint = "wnam" | "enam" | "sam" | "weur" | "eeur" | "apac" | "oc" | "afr" | "me";

/** A jurisdiction (https://developers.cloudflare.com/durable-objects/reference/data-location/#restrict-durable-objects-to-a-jurisdiction). */
export type SessionJurisdiction = "eu" | "fedramp";

/** The namespace whose objects stay within a jurisdiction, if one is given. @throws {TypeError} If the binding cannot do this */
export function within<Id>(
  namespace: SessionObjectNamespace<Id>,
  jurisdiction: SessionJurisdiction | undefined,
): SessionObjectNamespace<Id> {
  if (jurisdiction === undefined) return namespace;
  if (typeof namespace.jurisdiction === "function") return namespace.jurisdiction(jurisdiction);
  throw new TypeError("durableObjectStore: this binding cannot be restricted to a jurisdiction; leave the option out");
}
