// Public names of @ambit/charts.
export { readChart, readValues, renderChart, ValuesError, type Chart, type ChartObject, type Release, type Rendered } from "./chart.ts";
export { TemplateError } from "./template/error.ts";
export type { Value, ValueMap } from "./template/value.ts";
export { layValues } from "./values/merge.ts";
export { setValues } from "./values/set.ts";
