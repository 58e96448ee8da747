import { context, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, SessionError, type SessionEvent, SessionManager, withSession } from "../mod.ts";
import { openTelemetry, type TelemetryMeter, type TelemetryTracer } from "../src/opentelemetry.ts";
import { cookieJar } from "../src/testing.ts";
import { failing } from "./setup/sessions.ts";
import { telemetry } from "./setup/telemetry.ts";

const SHOP = "https://shop.example/";

beforeAll(() => void context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()));
afterAll(() => context.disable());

describe("openTelemetry()", () => {
  test("counts events by type, and measures in seconds how long loading and storing took", async () => {
    const { meter, points } = telemetry();
    const sessions = new SessionManager<{ visits?: number }>({ onEvent: openTelemetry({ meter }) });
    const handler = withSession<{ visits?: number }>(
      async (_request, session) => new Response(`${await session.update("visits", (n = 0) => n + 1)}`),
      sessions,
    );
    const jar = cookieJar();
    for (let visit = 0; visit < 3; visit++) await jar.fetch(handler, SHOP);
    const events = await points("with_session.events");
    expect(events.unit).toBe("{event}");
    const counted = Object.fromEntries(
      events.points.map(([attributes, count]) => [(attributes as Record<string, string>)["session.event"], count]),
    );
    expect(counted).toEqual({ created: 1, loaded: 2, changed: 2 });
    const durations = await points("with_session.operation.duration");
    expect(durations.unit).toBe("s");
    expect(durations.points.reduce((sum, [, count]) => sum + count, 0)).toBeGreaterThanOrEqual(3);
  });

  test("makes a span for each load and store, as a child of the span that is active", async () => {
    const { tracer, spans } = telemetry();
    const onEvent = openTelemetry({ tracer });
    const handler = withSession<{ visits?: number }>(
      async (_request, session) => {
        await session.update("visits", (n = 0) => n + 1);
        return new Response("Hello");
      },
      { onEvent, store: delayed() },
    );
    const jar = cookieJar();
    await jar.fetch(handler, SHOP);
    const parent = tracer.startSpan("request");
    const before = Date.now();
    await context.with(trace.setSpan(context.active(), parent), () => jar.fetch(handler, SHOP));
    parent.end();
    const children = spans().filter((span) => span.parentSpanContext?.spanId === parent.spanContext().spanId);
    expect(children.map((span) => [span.name, span.attributes["session.event"]])).toEqual([
      ["session load", "loaded"],
      ["session store", "changed"],
    ]);
    for (const span of children) {
      const [start, end] = [milliseconds(span.startTime), milliseconds(span.endTime)];
      expect(end - start).toBeGreaterThan(2);
      expect(start).toBeGreaterThanOrEqual(before - 50);
      expect(span.attributes["session.name"]).toBe("__Host-session");
      expect(span.status.code).toBe(SpanStatusCode.UNSET);
    }
  });

  test("marks the span of a failure with the error's code, and tells neither ids nor data nor the engine's own error", async () => {
    const { tracer, meter, spans, points } = telemetry();
    const onEvent = openTelemetry({ tracer, meter });
    const jar = cookieJar();
    let isDown = false;
    const store = failing(memoryStore(), undefined, () => isDown);
    const handler = withSession<{ secret?: string }>(
      async (_request, session) => {
        session.set("secret", `${await session.get("secret", "")}classified`);
        return new Response("Hello");
      },
      { onEvent, store },
    );
    await jar.fetch(handler, SHOP);
    isDown = true;
    await expect(jar.fetch(handler, SHOP)).rejects.toThrow();
    const failed = spans().find((span) => span.attributes["session.event"] === "failed");
    expect(failed?.name).toBe("session load");
    expect(failed?.status.code).toBe(SpanStatusCode.ERROR);
    expect(failed?.attributes["error.type"]).toBe("ERR_STORE");
    const told = JSON.stringify([
      spans().map(({ name, attributes, status }) => ({ name, attributes, status })),
      await points("with_session.events"),
    ]);
    expect(told).not.toContain("classified");
    expect(told).not.toContain("down");
    const [cookie] = jar.cookies();
    expect(told).not.toContain(cookie?.value);
  });

  test("tells why a session was rejected", async () => {
    const { meter, points } = telemetry();
    const handler = withSession(async (_request, session) => new Response(await session.get("user", "nobody")), {
      onEvent: openTelemetry({ meter }),
    });
    await handler(new Request(SHOP, { headers: { Cookie: `__Host-session=${"A".repeat(32)}` } }));
    const { points: events } = await points("with_session.events");
    expect(events).toEqual([
      [{ "session.event": "rejected", "session.name": "__Host-session", "session.reason": "unknown" }, 1],
    ]);
  });

  test("tells of each event what it has, and makes spans of what took time and of failures", () => {
    const counted: unknown[] = [];
    const measured: unknown[] = [];
    const spans: unknown[] = [];
    const tracer: TelemetryTracer = {
      startSpan(name, { startTime = 0, attributes = {} } = {}) {
        const span: unknown[] = [name, attributes["session.event"]];
        spans.push(span);
        return {
          setStatus: ({ code, message }) => span.push(code, message),
          end: (endTime = 0) => void span.push(endTime - startTime),
        };
      },
    };
    const instruments: unknown[] = [];
    const meter: TelemetryMeter = {
      createCounter: (...made) => (instruments.push(made), { add: (...given) => void counted.push(given) }),
      createHistogram: (...made) => (instruments.push(made), { record: (...given) => void measured.push(given) }),
    };
    const error = new SessionError("ERR_STORE", "It is down");
    const name = "__Host-session";
    const events: SessionEvent[] = [
      { type: "loaded", name, durationMs: 1500 },
      { type: "rejected", name, reason: "expired", durationMs: 20 },
      { type: "conflict", name, attempts: 3 },
      { type: "revoked", name, sessions: 2 },
      { type: "revoked", name, sessions: 1, reason: "limit" },
      { type: "failed", name, during: "load", error },
      { type: "failed", name, during: "store", error, durationMs: 40 },
    ] as SessionEvent[];
    const both = openTelemetry({ tracer, meter });
    for (const event of events) both(event);
    expect(instruments.map((each) => (each as string[])[0])).toEqual([
      "with_session.events",
      "with_session.operation.duration",
    ]);
    const base = (event: string) => ({ "session.event": event, "session.name": name });
    expect(counted).toStrictEqual([
      [1, base("loaded")],
      [1, { ...base("rejected"), "session.reason": "expired" }],
      [1, { ...base("conflict"), "session.attempts": 3 }],
      [1, { ...base("revoked"), "session.count": 2 }],
      [1, { ...base("revoked"), "session.count": 1, "session.reason": "limit" }],
      [1, { ...base("failed"), "error.type": "ERR_STORE" }],
      [1, { ...base("failed"), "error.type": "ERR_STORE" }],
    ]);
    expect(measured.map((each) => (each as number[])[0])).toEqual([1.5, 0.02, 0.04]);
    expect(spans).toEqual([
      ["session load", "loaded", 1500],
      ["session load", "rejected", 20],
      ["session load", "failed", 2, "It is down", 0],
      ["session store", "failed", 2, "It is down", 40],
    ]);
    const counts = counted.length;
    openTelemetry({ tracer })(events[0]!);
    expect(counted).toHaveLength(counts);
    openTelemetry({ meter })(events[0]!);
    expect([counted.length, spans.length]).toEqual([counts + 1, 5]);
  });

  test("throws a TypeError for a tracer or a meter that is none", () => {
    for (const options of [{ tracer: {} }, { meter: {} }, { tracer: null }, { tracer: 7, meter: {} }] as never[])
      expect(() => openTelemetry(options)).toThrow("openTelemetry needs a tracer, a meter, or both");
  });

  test("throws a TypeError when it has nothing to tell to, or an unknown option", () => {
    expect(() => openTelemetry({})).toThrow("openTelemetry needs a tracer, a meter, or both");
    expect(() => openTelemetry({ tracr: telemetry().tracer } as never)).toThrow(/tracr.*tracer/);
  });
});

function milliseconds([seconds, nanoseconds]: readonly [number, number]): number {
  return seconds * 1000 + nanoseconds / 1_000_000;
}

function delayed() {
  const store = memoryStore();
  const wait = () => new Promise((resolve) => setTimeout(resolve, 6));
  return {
    ...store,
    load: async (...args: Parameters<typeof store.load>) => (await wait(), store.load(...args)),
    save: async (...args: Parameters<typeof store.save>) => (await wait(), store.save(...args)),
  };
}
