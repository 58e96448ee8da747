/**
 * Whether Next.js throws an error to leave a function on purpose: `redirect()`, `notFound()`, `forbidden()` and
 * `unauthorized()`.
 */
export function isControlFlow(error: unknown): error is { readonly digest: unknown } {
  if (typeof error !== "object" || error === null || !("digest" in error)) return false;
  return /^NEXT_(?:REDIRECT|NOT_FOUND|HTTP_ERROR_FALLBACK)/.test(String(error.digest));
}

/**
 * The status with which Next.js answers a route that `notFound()`, `forbidden()` or `unauthorized()` has left: 404, 403 or 401.
 *
 * @returns Null if the error is another one
 */
export function refusalStatus(error: unknown): number | null {
  if (!isControlFlow(error)) return null;
  const digest = String(error.digest);
  // Next.js 15.0 has this digest without a status.
  if (digest === "NEXT_NOT_FOUND") return 404;
  const status = /^NEXT_HTTP_ERROR_FALLBACK;(4\d\d)$/.exec(digest)?.[1];
  return status === undefined ? null : Number(status);
}
