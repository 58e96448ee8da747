/**
 * The source of each page of the site, in the order in which a reader needs them.
 *
 * @module
 */
import manifest from "../package.json" with { type: "json" };

/** The address of the repository, for files that have no page. */
export const REPOSITORY: string = manifest.repository.url.replace(/^git\+(.*)\.git$/, "$1");

/** A page of the site. */
export interface Page {
  /** Its name in the navigation. */
  readonly text: string;
  /** The file in the repository. */
  readonly file: string;
}

/** A group of the navigation. */
export interface Section {
  readonly text: string;
  /** Whether the group is closed until a page of it is open. Default false. */
  readonly isClosed?: boolean;
  readonly pages: readonly Page[];
}

/** All groups, without the API reference, whose pages are the entries of the package. */
export const SECTIONS: readonly Section[] = [
  {
    text: "Begin",
    pages: [
      page("Overview", "README.md"),
      page("Quick start", "docs/quick-start.md"),
      page("Sessions in five minutes", "docs/sessions.md"),
      page("The session's calls", "docs/session.md"),
      page("Login and logout", "docs/login.md"),
      page("Options", "docs/options.md"),
    ],
  },
  {
    text: "Capabilities",
    pages: [
      page("Signed ids", "docs/signed-ids.md"),
      page("Encrypted records", "docs/encryption.md"),
      page("Cookie sessions", "docs/cookie-sessions.md"),
      page("User sessions", "docs/user-sessions.md"),
      page("CSRF and cross-origin", "docs/csrf.md"),
      page("Read your writes", "docs/read-your-writes.md"),
      page("Exclusive effects", "docs/exclusive.md"),
      page("Device-bound sessions", "docs/device-bound.md"),
      page("DPoP", "docs/dpop.md"),
      page("NIST timeouts", "docs/nist.md"),
    ],
  },
  {
    text: "Stores and frameworks",
    pages: [
      page("Stores", "docs/stores.md"),
      page("Node", "docs/node.md"),
      page("Next.js", "docs/next.md"),
      page("Streaming", "docs/streaming.md"),
      page("Examples", "examples/README.md"),
    ],
  },
  {
    text: "In production",
    pages: [
      page("Deploying", "docs/deploying.md"),
      page("Operating", "docs/operating.md"),
      page("Events", "docs/events.md"),
      page("Testing your program", "docs/testing.md"),
      page("Errors", "docs/errors.md"),
      page("Why was I signed out?", "docs/why-signed-out.md"),
      page("Security", "SECURITY.md"),
      page("What it costs", "bench/README.md"),
    ],
  },
  {
    text: "Extending",
    pages: [page("Plugins", "docs/plugins.md"), page("Writing a store", "docs/writing-a-store.md")],
  },
  {
    text: "Changing libraries",
    pages: [
      page("Migrating", "docs/migrating.md"),
      page("Comparison", "docs/comparison.md"),
      page("Changes", "CHANGELOG.md"),
    ],
  },
  {
    text: "The project",
    isClosed: true,
    pages: [
      page("Support", ".github/SUPPORT.md"),
      page("Contributing", "CONTRIBUTING.md"),
      page("Releasing", "docs/releasing.md"),
    ],
  },
];

/** The address of a file's page, from the root of the site; undefined if the file has no page. */
export function addressOf(file: string): string | undefined {
  if (file === "README.md") return "/";
  if (file === "docs/decisions/README.md") return "/decisions/";
  const [, own] = /^docs\/(.*)\.md$/.exec(file) ?? [];
  if (own !== undefined) return `/${own}.html`;
  const isListed = SECTIONS.some(({ pages }) => pages.some((each) => each.file === file));
  if (!isListed) return undefined;
  return `/${file
    .replace(/^\.github\//, "")
    .replace(/(?:\/README)?\.md$/, "")
    .toLowerCase()}.html`;
}

function page(text: string, file: string): Page {
  return { text, file };
}
