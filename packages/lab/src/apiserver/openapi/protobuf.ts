// Owns the protobuf form of the version 2 document: the message `openapi.v2.Document` that older kubectl asks for.
import { isObject, type Json, type JsonObject } from "../json.ts";

/** What clients name in Accept, and what the answer is labelled with. */
export const OPENAPI_V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
export const OPENAPI_V2_PROTOBUF_LABEL = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

const encoder = new TextEncoder();

/** One encoded field; messages are lists of them, so that lengths are known before bytes are copied. */
type Field = Uint8Array;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

function bytesField(number: number, body: Uint8Array): Field {
  const head = [...varint(number * 8 + 2), ...varint(body.length)];
  const field = new Uint8Array(head.length + body.length);
  field.set(head);
  field.set(body, head.length);
  return field;
}

function text(number: number, value: Json | undefined): Field[] {
  return typeof value === "string" && value !== "" ? [bytesField(number, encoder.encode(value))] : [];
}

function texts(number: number, value: Json | undefined): Field[] {
  return Array.isArray(value) ? value.flatMap((item) => text(number, item)) : [];
}

function flag(number: number, value: Json | undefined): Field[] {
  return value === true ? [Uint8Array.from([...varint(number * 8), 1])] : [];
}

/** int64; the document has no negative ones. */
function count(number: number, value: Json | undefined): Field[] {
  return typeof value === "number" && value > 0 ? [Uint8Array.from([...varint(number * 8), ...varint(value)])] : [];
}

function double(number: number, value: Json | undefined): Field[] {
  if (typeof value !== "number") return [];
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return [Uint8Array.from([...varint(number * 8 + 1), ...bytes])];
}

function join(fields: readonly Field[]): Uint8Array {
  const joined = new Uint8Array(fields.reduce((total, field) => total + field.length, 0));
  let at = 0;
  for (const field of fields) {
    joined.set(field, at);
    at += field.length;
  }
  return joined;
}

function message(number: number, fields: readonly Field[]): Field {
  return bytesField(number, join(fields));
}

/** `Any` with YAML text, of which JSON is a part. */
function any(number: number, value: Json): Field {
  return message(number, [bytesField(2, encoder.encode(JSON.stringify(value)))]);
}

function extensions(number: number, object: JsonObject): Field[] {
  return Object.entries(object)
    .filter(([key]) => key.startsWith("x-"))
    .map(([key, value]) => message(number, [...text(1, key), any(2, value)]));
}

function named<T extends Json>(number: number, object: Json | undefined, write: (value: T) => Field[], inner = 2): Field[] {
  if (!isObject(object)) return [];
  return Object.entries(object).map(([name, value]) => message(number, [...text(1, name), message(inner, write(value as T))]));
}

/** Encodes a document made by `openapiV2`: the keywords that it uses, all of them. */
export function encodeOpenapiV2(document: JsonObject): Uint8Array {
  const info = isObject(document["info"]) ? document["info"] : {};
  return join([
    ...text(1, document["swagger"]),
    message(2, [...text(1, info["title"]), ...text(2, info["version"])]),
    message(8, named<JsonObject>(2, document["paths"], pathItem)),
    message(9, named<JsonObject>(1, document["definitions"], schema)),
  ]);
}

function schema(value: JsonObject): Field[] {
  const fields: Field[] = [
    ...text(1, value["$ref"]),
    ...text(2, value["format"]),
    ...text(3, value["title"]),
    ...text(4, value["description"]),
    ...(value["default"] === undefined ? [] : [any(5, value["default"])]),
    ...double(6, value["multipleOf"]),
    ...double(7, value["maximum"]),
    ...flag(8, value["exclusiveMaximum"]),
    ...double(9, value["minimum"]),
    ...flag(10, value["exclusiveMinimum"]),
    ...count(11, value["maxLength"]),
    ...count(12, value["minLength"]),
    ...text(13, value["pattern"]),
    ...count(14, value["maxItems"]),
    ...count(15, value["minItems"]),
    ...flag(16, value["uniqueItems"]),
    ...count(17, value["maxProperties"]),
    ...count(18, value["minProperties"]),
    ...texts(19, value["required"]),
    ...(Array.isArray(value["enum"]) ? value["enum"].map((item) => any(20, item)) : []),
  ];
  const additional = value["additionalProperties"];
  if (isObject(additional)) fields.push(message(21, [message(1, schema(additional))]));
  else if (additional === true) fields.push(message(21, flag(2, true)));
  if (value["type"] !== undefined) fields.push(message(22, text(1, value["type"])));
  if (isObject(value["items"])) fields.push(message(23, [message(1, schema(value["items"]))]));
  if (isObject(value["properties"])) fields.push(message(25, named<JsonObject>(1, value["properties"], schema)));
  return [...fields, ...extensions(31, value)];
}

const METHODS: readonly (readonly [string, number])[] = [["get", 2], ["put", 3], ["post", 4], ["delete", 5], ["patch", 8]];

function pathItem(value: JsonObject): Field[] {
  const fields: Field[] = [];
  for (const [method, number] of METHODS) {
    const found = value[method];
    if (isObject(found)) fields.push(message(number, operation(found)));
  }
  return [...fields, ...parameters(9, value["parameters"])];
}

function operation(value: JsonObject): Field[] {
  return [
    ...texts(1, value["tags"]),
    ...text(3, value["description"]),
    ...text(5, value["operationId"]),
    ...texts(6, value["produces"]),
    ...texts(7, value["consumes"]),
    ...parameters(8, value["parameters"]),
    message(9, named<JsonObject>(1, value["responses"], (response) => [message(1, responseBody(response))])),
    ...extensions(13, value),
  ];
}

function responseBody(response: JsonObject): Field[] {
  const body = response["schema"];
  return [...text(1, response["description"]), ...(isObject(body) ? [message(2, [message(1, schema(body))])] : [])];
}

function parameters(number: number, list: Json | undefined): Field[] {
  if (!Array.isArray(list)) return [];
  return list.filter(isObject).map((item) => message(number, [message(1, [parameter(item)])]));
}

function parameter(value: JsonObject): Field {
  if (value["in"] === "body") {
    const body = isObject(value["schema"]) ? [message(5, schema(value["schema"]))] : [];
    return message(1, [...text(2, value["name"]), ...text(3, value["in"]), ...flag(4, value["required"]), ...body]);
  }
  const common = [...flag(1, value["required"]), ...text(2, value["in"]), ...text(3, value["description"]), ...text(4, value["name"])];
  if (value["in"] === "query") return message(2, [message(3, [...common, ...text(6, value["type"])])]);
  return message(2, [message(4, [...common, ...text(5, value["type"])])]);
}
