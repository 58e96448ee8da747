/** Protects the prototype, which all sessions share, from a program or middleware that assigns properties to a session. */
export function protectPrototype(prototype: object): void {
  // A property that was assigned to a method would be visible to every client.
  for (const { value } of Object.values(Object.getOwnPropertyDescriptors(prototype))) Object.freeze(value);
  // Another receiver is an object that a program has derived from a session.
  const isProtected = (receiver: object): boolean =>
    Object.getPrototypeOf(receiver) === prototype || !Object.prototype.isPrototypeOf.call(prototype, receiver);
  refuseIds(prototype, isProtected);
  const set = (_target: object, name: string | symbol, value: unknown, receiver: object): boolean => {
    if (isProtected(receiver)) refuseAssignment(name);
    return Reflect.defineProperty(receiver, name, { value, writable: true, enumerable: true, configurable: true });
  };
  // The proxy is reached only for names that no session has, so access to other names costs nothing.
  Object.setPrototypeOf(prototype, new Proxy({}, { set }));
}

/** Refuses `session.id = "…"`, which would seem to choose the id. A test may replace the method, as it may any other. */
function refuseIds(prototype: object, isProtected: (receiver: object) => boolean): void {
  const { value: method } = Object.getOwnPropertyDescriptor(prototype, "id") ?? {};
  Object.defineProperty(prototype, "id", {
    get: () => method as unknown,
    set(this: object, value: unknown) {
      if (typeof value !== "function" && isProtected(this))
        throw new TypeError("session.id = … is refused: the option generateId makes ids");
      Object.defineProperty(this, "id", { value, writable: true, enumerable: true, configurable: true });
    },
  });
}

/**
 * @throws {TypeError} For `session.user = …`, which would store nothing. The language itself refuses it only in
 * modules, and only for an object that takes no more properties
 */
function refuseAssignment(name: string | symbol): never {
  const key = String(name);
  throw new TypeError(`session.${key} = … stores nothing: write session.set(${JSON.stringify(key)}, …)`);
}
