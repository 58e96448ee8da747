/** A Worker that only provides its bindings. */
export default { fetch: (): Response => new Response() };
