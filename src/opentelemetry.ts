/**
 * Session events as OpenTelemetry spans and metrics.
 *
 * @module
 */
import type { SessionEvent } from "./core/events.ts";
import { assertKnown } from "./core/known_options.ts";

/** Attributes of a span or a measurement. */
export type TelemetryAttributes = Record<string, string | number | boolean>;

/** The part of an OpenTelemetry `Tracer` that is used (`@opentelemetry/api` 1.x). */
export interface TelemetryTracer {
  /** Begins a span. */
  startSpan(name: string, options?: { startTime?: number; attributes?: TelemetryAttributes }): TelemetrySpan;
}

/** The part of an OpenTelemetry `Span` that is used. */
export interface TelemetrySpan {
  /** Sets the outcome; code 2 is an error. */
  setStatus(status: { code: number; message?: string }): unknown;
  /** Ends the span. */
  end(endTime?: number): void;
}

/** The part of an OpenTelemetry `Meter` that is used. */
export interface TelemetryMeter {
  /** Makes a counter. */
  createCounter(
    name: string,
    options?: { description?: string; unit?: string },
  ): { add(value: number, attributes?: TelemetryAttributes): void };
  /** Makes a histogram. */
  createHistogram(
    name: string,
    options?: { description?: string; unit?: string },
  ): { record(value: number, attributes?: TelemetryAttributes): void };
}

/** Where session events are recorded. */
export interface OpenTelemetryOptions {
  /** Makes a span for each event that took time, and for each failure: `trace.getTracer("my-app")`. @default No spans */
  readonly tracer?: TelemetryTracer | undefined;
  /** Counts events and measures durations: `metrics.getMeter("my-app")`. @default No metrics */
  readonly meter?: TelemetryMeter | undefined;
}

/** `SpanStatusCode.ERROR` of the API. */
const ERROR = 2;
/** The events that belong to loading. All other events with a duration belong to storing. */
const LOADING: ReadonlySet<string> = new Set(["loaded", "rejected"]);

/**
 * A listener for the option `onEvent`. A span has the name `session load` or `session store`, begins when the operation
 * began, and is a child of the span that is active at the event. Metrics are `with_session.events` (a counter) and
 * `with_session.operation.duration` (a histogram in seconds, as in the semantic conventions:
 * https://opentelemetry.io/docs/specs/semconv/general/metrics/). The attributes are `session.event`, `session.name`,
 * `session.reason`, `session.attempts`, `session.count`, and `error.type` with the error's code. No id and no data are
 * recorded.
 *
 * @param options A tracer, a meter, or both
 * @returns The value of the option `onEvent`
 * @throws {TypeError} If neither is given, one of them lacks its methods, or an option is unknown
 *
 * @example
 * ```ts ignore
 * import { metrics, trace } from "@opentelemetry/api";
 * import { withSession } from "with-session";
 * import { openTelemetry } from "with-session/opentelemetry";
 *
 * const onEvent = openTelemetry({ tracer: trace.getTracer("shop"), meter: metrics.getMeter("shop") });
 * export const handler = withSession(async () => new Response("Hello"), { onEvent });
 * ```
 */
export function openTelemetry(options: OpenTelemetryOptions): (event: SessionEvent) => void {
  assertKnown(options, ["tracer", "meter"], "openTelemetry");
  const { tracer, meter } = options;
  const isOf = (value: unknown, method: string): boolean =>
    value === undefined || typeof Object(value)[method] === "function";
  if ((tracer ?? meter) === undefined || !isOf(tracer, "startSpan") || !isOf(meter, "createCounter"))
    throw new TypeError("openTelemetry needs a tracer, a meter, or both");
  const events = meter?.createCounter("with_session.events", {
    description: "Session events by type",
    unit: "{event}",
  });
  const durations = meter?.createHistogram("with_session.operation.duration", {
    description: "How long it took to load or store a session",
    unit: "s",
  });
  return (event) => {
    const attributes = attributesOf(event);
    events?.add(1, attributes);
    const { durationMs } = event;
    if (durationMs !== undefined) durations?.record(durationMs / 1000, attributes);
    // A failure gets a span even if its duration is unknown.
    if (tracer === undefined || (durationMs === undefined && event.type !== "failed")) return;
    const endTime = Date.now();
    const isLoading = event.type === "failed" ? event.during === "load" : LOADING.has(event.type);
    const span = tracer.startSpan(isLoading ? "session load" : "session store", {
      startTime: endTime - (durationMs ?? 0),
      attributes,
    });
    if (event.type === "failed") span.setStatus({ code: ERROR, message: event.error.message });
    span.end(endTime);
  };
}

function attributesOf(event: SessionEvent): TelemetryAttributes {
  return {
    "session.event": event.type,
    "session.name": event.name,
    ...("reason" in event && event.reason !== undefined ? { "session.reason": event.reason } : {}),
    ...("attempts" in event ? { "session.attempts": event.attempts } : {}),
    ...("sessions" in event ? { "session.count": event.sessions } : {}),
    ...(event.type === "failed" ? { "error.type": event.error.code } : {}),
  };
}
