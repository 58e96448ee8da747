// The parts of the peers that the benchmarks use, as far as their code needs them: `npm install` does not install the
// peers, and `npm run check` must notice when a change of this package breaks the benchmarks.

declare module "@hono/session" {
  export interface SessionEnv<Data> {
    Variables: { session: { readonly data?: Data; get(): Promise<Data>; update(next: (data?: Data) => Data): void } };
  }
  export const useSession: (options: object) => never;
  export const useSessionStorage: (storage: object) => never;
}
declare module "hono-sessions" {
  export interface Session<Data> {
    get<Key extends keyof Data>(key: Key): Data[Key] | null;
    set<Key extends keyof Data>(key: Key, value: Data[Key]): void;
  }
  export const MemoryStore: new () => object;
  export const sessionMiddleware: (options: object) => never;
}
declare module "iron-session" {
  export const getIronSession: <Data>(cookies: object, options: object) => Promise<Data & { save(): Promise<void> }>;
  export const webCookies: (request: Request, headers: Headers) => object;
}
declare module "react-router" {
  interface Session<Data> {
    get<Key extends keyof Data>(key: Key): Data[Key] | undefined;
    set<Key extends keyof Data>(key: Key, value: Data[Key]): void;
  }
  export const createMemorySessionStorage: <Data>(options: object) => {
    getSession(cookie: string | null): Promise<Session<Data>>;
    commitSession(session: Session<Data>): Promise<string>;
  };
}
declare module "express-session" {
  namespace session {
    interface Session {
      regenerate(done: () => void): void;
    }
  }
  const session: (options: object) => (request: never, response: never, next: () => void) => void;
  export default session;
}
declare module "@remix-run/cookie";
declare module "@remix-run/session/memory-storage";
declare module "cookie";
declare module "seroval";
declare module "svelte-kit-sessions";
