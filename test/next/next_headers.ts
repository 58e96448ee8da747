/** Stands in for Next.js in tests of what needs no request of Next.js. */
export function cookies(): Promise<never> {
  throw new Error("There is no request of Next.js");
}

/** As above. */
export function headers(): Promise<never> {
  throw new Error("There is no request of Next.js");
}
