declare namespace App {
  interface Locals {
    visitor: import("with-session").Session<{ visits?: number; likes?: number; user?: string; message?: string }>;
  }
}
