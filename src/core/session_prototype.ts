/** What all sessions share is safe from a program, and from a middleware, that writes on a session. */
export function protectPrototype(prototype: object): void {
  // What was written on a method, every client would see.
  for (const { value } of Object.values(Object.getOwnPropertyDescriptors(prototype))) Object.freeze(value);
  const set = (_target: object, name: string | symbol, value: unknown, receiver: object): boolean => {
    const isSession = Object.getPrototypeOf(receiver) === prototype;
    if (isSession || !Object.prototype.isPrototypeOf.call(prototype, receiver)) refuseAssignment(name);
    // It is an object that a program has made on top of a session.
    return Reflect.defineProperty(receiver, name, { value, writable: true, enumerable: true, configurable: true });
  };
  // It is asked for names that no session has, and costs the others nothing.
  Object.setPrototypeOf(prototype, new Proxy({}, { set }));
}

/** @throws {TypeError} For `session.user = …`, which would store nothing: the language itself refuses it only in modules, and only if an object takes no more properties */
function refuseAssignment(name: string | symbol): never {
  const key = String(name);
  throw new TypeError(`session.${key} = … stores nothing: write session.set(${JSON.stringify(key)}, …)`);
}
