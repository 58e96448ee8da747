/** The text under a heading of the second level, such as `## 0.1.0 - 2026-01-31`, without the heading; undefined if there is no such heading. */
export function sectionOf(changelog: string, title: string): string | undefined {
  const lines = changelog.split("\n");
  const start = lines.findIndex((line) => line === `## ${title}` || line.startsWith(`## ${title} `));
  if (start === -1) return undefined;
  const length = lines.slice(start + 1).findIndex((line) => line.startsWith("## "));
  return lines
    .slice(start + 1, length === -1 ? undefined : start + 1 + length)
    .join("\n")
    .trim();
}

/** Whether a section has text. Headings alone, as in a new `Unreleased`, do not count. */
export function saysAnything(section: string): boolean {
  return section.split("\n").some((line) => line.trim() !== "" && !line.startsWith("#") && !/^\s*[-*]\s*$/.test(line));
}
