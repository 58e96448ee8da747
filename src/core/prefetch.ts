/**
 * Whether a browser sends a request in advance, for a page that nobody may ever see: `Sec-Purpose: prefetch`, also with `;prerender`
 * (https://html.spec.whatwg.org/multipage/speculative-loading.html).
 */
export function isPrefetch(request: Request): boolean {
  return request.headers.get("Sec-Purpose")?.toLowerCase().startsWith("prefetch") === true;
}
