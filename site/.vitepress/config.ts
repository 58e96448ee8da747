import { readdirSync, readFileSync } from "node:fs";
import { defineConfig } from "vitepress";
import manifest from "../../package.json" with { type: "json" };
import { addressOf, REPOSITORY, SECTIONS } from "../navigation.ts";
import { slugOf } from "../slug.ts";

const pages = new URL("../pages/", import.meta.url);
const entries: { text: string; link: string }[] = JSON.parse(readFileSync(new URL("api/entries.json", pages), "utf8"));

const decisions = readdirSync(new URL("decisions/", pages))
  .filter((file) => /^\d/.test(file))
  .sort()
  .map((file) => {
    const [, title = file] = /^# (.*)$/m.exec(readFileSync(new URL(`decisions/${file}`, pages), "utf8")) ?? [];
    return { text: title, link: `/decisions/${file.replace(/\.md$/, ".html")}` };
  });

export default defineConfig({
  title: manifest.name,
  description: manifest.description,
  lang: "en",
  // No icon, and no request for one.
  head: [["link", { rel: "icon", href: "data:," }]],
  srcDir: "pages",
  outDir: "dist",
  cacheDir: "node_modules/.cache/vitepress",
  markdown: {
    // GitHub shows the pages as well, so they have the same anchors and no markup of VitePress.
    anchor: { slugify: slugOf },
    attrs: { disable: true },
    html: false,
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
  },
  themeConfig: {
    search: {
      provider: "local",
      // The index needs no colours: code is rendered as plain text, which shortens the build by a third.
      options: {
        _render: (source, env, markdown) => markdown.render(source.replaceAll(/^```\w+$/gm, "```text"), env),
      },
    },
    outline: [2, 3],
    nav: [
      { text: "Quick start", link: "/quick-start.html" },
      { text: "Stores", link: "/stores.html" },
      { text: "API", link: "/api/" },
    ],
    sidebar: [
      ...SECTIONS.slice(0, -1).map(group),
      { text: "Decisions", collapsed: true, items: [{ text: "All decisions", link: "/decisions/" }, ...decisions] },
      ...SECTIONS.slice(-1).map(group),
      { text: "API", collapsed: true, items: entries },
    ],
    socialLinks: [{ icon: "github", link: REPOSITORY }],
  },
});

function group({ text, isClosed = false, pages }: (typeof SECTIONS)[number]): {
  text: string;
  collapsed: boolean;
  items: { text: string; link: string }[];
} {
  const items = pages.map((page) => ({ text: page.text, link: addressOf(page.file) ?? "/" }));
  return { text, collapsed: isClosed, items };
}
