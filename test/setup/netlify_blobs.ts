import { createHash } from "node:crypto";

/** A blob on the fake server. */
interface StoredBlob {
  readonly data: string;
  readonly etag: string;
  readonly metadata: string | null;
}

/** How the fake server behaves. */
export interface FakeBlobsOptions {
  /** The status of a conditional write to a missing blob. S3, on which Netlify Blobs is built, answers 404; the documentation says 412. */
  readonly missingStatus?: 404 | 412;
}

/** The URLs of the fake server with and without its cache. */
export const CACHED_URL = "https://cached.test";
export const UNCACHED_URL = "https://uncached.test";

const METADATA = "x-amz-meta-user";
const PAGE = 3;

/**
 * The server side of Netlify Blobs, as the real client calls it at the edge. It compares and writes in one step. An etag is a digest of the data,
 * so equal data have equal etags. `CACHED_URL` repeats its first answer for a blob forever; `UNCACHED_URL` never caches.
 *
 * Netlify's own local server does not suffice: it answers a GET without an etag, and two concurrent `onlyIfNew` writes both succeed.
 */
export class FakeBlobs {
  readonly blobs = new Map<string, StoredBlob>();
  readonly requests: string[] = [];
  /** Called for each request. If it returns a response, that replaces the server's own. */
  interfere: (method: string, key: string) => Response | undefined | Promise<Response | undefined> = () => undefined;
  readonly #cache = new Map<string, StoredBlob | undefined>();
  readonly #missingStatus: number;

  constructor({ missingStatus = 412 }: FakeBlobsOptions = {}) {
    this.#missingStatus = missingStatus;
  }

  /** The `fetch` for `getStore({ fetch })`. */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(String(input));
    const method = (init.method ?? "GET").toUpperCase();
    const [, , store = "", ...rest] = url.pathname.split("/");
    const key = rest.join("/");
    this.requests.push(method);
    // Waits one turn, so that other requests can come first.
    await new Promise((resolve) => setTimeout(resolve));
    const interference = await this.interfere(method, key);
    if (interference !== undefined) return interference;
    const headers = new Headers(init.headers);
    if (key === "") return this.#list(store, url.searchParams.get("cursor") ?? "");
    const place = `${store}/${key}`;
    if (method === "PUT") return this.#put(place, String(init.body), headers);
    if (method === "DELETE") {
      const isThere = this.blobs.delete(place);
      return new Response(null, { status: isThere ? 204 : 404 });
    }
    return answer(url.origin === CACHED_URL ? this.#cached(place) : this.blobs.get(place), method);
  };

  #put(place: string, data: string, headers: Headers): Response {
    const found = this.blobs.get(place);
    const wanted = headers.get("if-match");
    if (wanted !== null && found === undefined) return new Response(null, { status: this.#missingStatus });
    if (wanted !== null && found?.etag !== wanted) return new Response(null, { status: 412 });
    if (headers.get("if-none-match") === "*" && found !== undefined) return new Response(null, { status: 412 });
    const etag = `"${createHash("sha256").update(data).digest("hex")}"`;
    this.blobs.set(place, { data, etag, metadata: headers.get(METADATA) });
    return new Response(null, { status: 200, headers: { etag } });
  }

  #cached(place: string): StoredBlob | undefined {
    if (!this.#cache.has(place)) this.#cache.set(place, this.blobs.get(place));
    return this.#cache.get(place);
  }

  #list(store: string, after: string): Response {
    const keys = [...this.blobs.keys()]
      .filter((place) => place.startsWith(`${store}/`))
      .map((place) => place.slice(store.length + 1));
    const rest = keys.filter((key) => key > after).sort();
    const blobs = rest.slice(0, PAGE).map((key) => ({ key, etag: this.blobs.get(`${store}/${key}`)?.etag }));
    return Response.json({ blobs, directories: [], ...(rest.length > PAGE ? { next_cursor: blobs.at(-1)?.key } : {}) });
  }
}

function answer(found: StoredBlob | undefined, method: string): Response {
  if (found === undefined) return new Response(null, { status: 404 });
  const { etag, metadata, data } = found;
  const headers = { etag, ...(metadata === null ? {} : { [METADATA]: metadata }) };
  return new Response(method === "HEAD" ? null : data, { status: 200, headers });
}
