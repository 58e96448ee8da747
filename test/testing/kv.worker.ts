/** A Worker that only lends its bindings. */
export default { fetch: (): Response => new Response() };
