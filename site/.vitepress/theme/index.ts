/** The default theme with the fonts of the reader's system. */
import theme from "vitepress/theme-without-fonts";
// oxlint-disable-next-line no-unassigned-import -- styles are added by importing them
import "./style.css";

export default theme;
