import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";

/** The real OpenTelemetry SDK, with exporters that keep all they get. */
export function telemetry() {
  const spans = new InMemorySpanExporter();
  const tracerProvider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] });
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  return {
    tracer: tracerProvider.getTracer("test"),
    meter: meterProvider.getMeter("test"),
    spans: (): ReadableSpan[] => spans.getFinishedSpans(),
    /** The points of a metric: the attributes and the value or count of each. */
    async points(name: string): Promise<{ unit: string; points: [object, number][] }> {
      await reader.forceFlush();
      const metric = exporter
        .getMetrics()
        .at(-1)
        ?.scopeMetrics.flatMap((scope) => scope.metrics)
        .find((each) => each.descriptor.name === name);
      if (metric === undefined) throw new Error(`There is no metric ${name}`);
      const points =
        metric.dataPointType === DataPointType.HISTOGRAM
          ? metric.dataPoints.map((point): [object, number] => [point.attributes, point.value.count])
          : metric.dataPoints.map((point): [object, number] => [point.attributes, point.value as number]);
      return { unit: metric.descriptor.unit, points };
    },
  };
}
