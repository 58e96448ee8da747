/**
 * Whether a browser sends a request in advance, for a page that the user may never open: `Sec-Purpose: prefetch`, also
 * with `;prerender` (https://html.spec.whatwg.org/multipage/speculative-loading.html).
 */
export function isPrefetch(request: Request): boolean {
  return request.headers.get("Sec-Purpose")?.toLowerCase().startsWith("prefetch") === true;
}
