/**
 * The anchors of headings, as GitHub makes them, so that one link works in the repository and on the site.
 *
 * @module
 */

/**
 * The anchor of a heading without markup. The second heading with the same text gets `-1` at its end, the third `-2`.
 */
export function slugOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
