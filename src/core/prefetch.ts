/**
 * Whether a browser sends a request in advance, for a page that the user may never open: `Sec-Purpose: prefetch`, also
 * with `;prerender` (https://html.spec.whatwg.org/multipage/speculative-loading.html). Older browsers send `Purpose` or
 * `X-Moz`.
 */
export function isPrefetch({ headers }: Request): boolean {
  return ["Sec-Purpose", "Purpose", "X-Moz"].some((name) => /^prefetch/i.test(headers.get(name) ?? ""));
}
