import { type Fields, type Leaf, type Metric, STATUS_FIELDS } from "./metrics.ts";
import type { Status } from "./types.ts";

/** One figure of a metric, with what tells it from others of the metric. */
interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with its figures. */
type Family = readonly [Metric, readonly Sample[]];

/** The one metric that is no field of the status. */
export const INFO: Metric = {
  name: "iotcored_info",
  type: "gauge",
  help: "The version of the daemon and where its messages wait.",
};

/** The status in Prometheus's text exposition format, version 0.0.4. */
export function prometheusText(status: Status): string {
  const labels = { version: status.version, storage: status.spool.storage };
  const families: Family[] = [
    [INFO, [{ labels, value: 1 }]],
    ...familiesOf([{ labels: {}, part: status }], STATUS_FIELDS),
  ];
  return families.filter(([, samples]) => samples.length > 0).map(familyText).join("");
}

/** A part of the status, and what its figures are labelled with. */
interface Labelled {
  readonly labels: Sample["labels"];
  readonly part: object;
}

function familiesOf(parts: readonly Labelled[], fields: Fields): Family[] {
  return Object.entries(fields).flatMap(([name, row]): Family[] => {
    const values = parts.map(({ labels, part }) => ({ labels, value: Reflect.get(part, name) }));
    if ("kind" in row) return row.metric === undefined ? [] : [family(row, row.metric, values)];
    if ("section" in row) {
      return familiesOf(values.map(({ labels, value }) => ({ labels, part: value })), row.section);
    }
    const { list, label } = row;
    if (label === undefined) return [];
    const items = values.flatMap(({ value }) => value as readonly object[]);
    return familiesOf(
      items.map((part) => ({ labels: { [label.name]: Reflect.get(part, label.field) }, part })),
      list,
    );
  });
}

function family(
  { optional }: Leaf,
  metric: Metric,
  values: readonly { readonly labels: Sample["labels"]; readonly value: unknown }[],
): Family {
  const unit = metric.name.includes("_seconds") ? 1_000 : 1;
  return [
    metric,
    values.filter(({ value }) => !(optional && value === null))
      .map(({ labels, value }) => ({ labels, value: Number(value) / unit })),
  ];
}

function familyText([{ name, type, help }, samples]: Family): string {
  const lines = samples.map((sample) => `${name}${labelText(sample)} ${sample.value}\n`);
  return `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function labelText({ labels }: Sample): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${escaped(value).replaceAll('"', '\\"')}"`
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
