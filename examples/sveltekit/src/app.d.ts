import type { Session } from "with-session";
import type { Data } from "./data";

declare global {
  namespace App {
    interface Locals {
      session: Session<Data>;
    }
  }
}
