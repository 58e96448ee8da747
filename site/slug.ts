/**
 * The anchors of headings, as GitHub gives them, so that one link serves the repository and the site.
 *
 * @module
 */

/** The anchor of a heading without markup. The second heading of the name gets `-1` behind it, the third `-2`. */
export function slugOf(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
