// Owns the decoding of Kubernetes' protobuf bodies into the JSON they stand for, by the table of field numbers.
import { readFileSync } from "node:fs";
import { isObject, MAX_JSON_DEPTH, type Json, type JsonObject } from "../json.ts";
import { goDuration, timeText } from "./scalars.ts";
import { readFields, WireError, type WireValue } from "./wire.ts";

/** Every protobuf body of Kubernetes begins with these bytes. */
const MAGIC = Uint8Array.of(0x6b, 0x38, 0x73, 0x00);

type FieldRow = readonly [number: number, json: string, type: string, flags: string];

interface Field {
  readonly json: string;
  readonly type: string;
  /** A pointer in Go: zero is a value of its own. */
  readonly pointer: boolean;
  readonly omitEmpty: boolean;
}

interface Table {
  readonly kinds: ReadonlyMap<string, string>;
  readonly messages: ReadonlyMap<string, ReadonlyMap<number, Field>>;
}

let loaded: Table | undefined;

function table(): Table {
  if (loaded !== undefined) return loaded;
  const text = readFileSync(new URL("./wire-table.json", import.meta.url), "utf8");
  const raw = JSON.parse(text) as { kinds: Record<string, string>; messages: Record<string, FieldRow[]> }; // generated beside this file
  const messages = new Map<string, Map<number, Field>>();
  for (const [name, rows] of Object.entries(raw.messages)) {
    const fields = rows.map(([number, json, type, flags]): [number, Field] => {
      return [number, { json, type, pointer: flags.includes("p"), omitEmpty: flags.includes("o") }];
    });
    messages.set(name, new Map(fields));
  }
  loaded = { kinds: new Map(Object.entries(raw.kinds)), messages };
  return loaded;
}

/** The object of an enveloped body. Throws WireError for malformed bytes and for kinds the table does not have. */
export function decodeKubernetes(body: Uint8Array): JsonObject {
  if (body.length < MAGIC.length || MAGIC.some((byte, i) => body[i] !== byte)) {
    throw new WireError("the body does not begin with the protobuf envelope of Kubernetes");
  }
  let apiVersion = "";
  let kind = "";
  let raw: Uint8Array = new Uint8Array();
  readFields(body.subarray(MAGIC.length), (number, value) => {
    if (number === 1) {
      readFields(bytesOf(value), (inner, item) => {
        if (inner === 1) apiVersion = textOf(item);
        if (inner === 2) kind = textOf(item);
      });
    }
    if (number === 2) raw = bytesOf(value);
    if (number === 3 && bytesOf(value).length > 0) throw new WireError("the envelope has a content encoding");
  });
  const message = table().kinds.get(`${apiVersion} ${kind}`) ?? table().kinds.get(kind);
  if (message === undefined) throw new WireError(`no protobuf form is known of ${kind} in ${apiVersion}; send it as JSON`);
  return { apiVersion, kind, ...decodeMessage(message, raw, 0) };
}

function decodeMessage(name: string, bytes: Uint8Array, depth: number): JsonObject {
  if (depth > MAX_JSON_DEPTH) throw new WireError(`nested deeper than ${MAX_JSON_DEPTH} levels`);
  const fields = table().messages.get(name);
  if (fields === undefined) throw new WireError(`no message ${name}`);
  const object: JsonObject = {};
  readFields(bytes, (number, value) => {
    const field = fields.get(number);
    if (field === undefined || field.json === "-") return; // a newer client's field: dropped, as upstream does
    if (field.json === "") Object.assign(object, decodeMessage(field.type, bytesOf(value), depth + 1));
    else addField(object, field, value, depth + 1);
  });
  return object;
}

function addField(object: JsonObject, field: Field, value: WireValue, depth: number): void {
  const { json, type } = field;
  if (type.startsWith("map:")) {
    const map = isObject(object[json]) ? object[json] : {};
    const [key, item] = decodeEntry(type.slice("map:".length), value, depth);
    if (key === "__proto__") throw new WireError(`${json}: __proto__ is not a permitted key`);
    map[key] = item;
    object[json] = map;
    return;
  }
  if (type.startsWith("[]") && type !== "[]wrapped") {
    const list = Array.isArray(object[json]) ? object[json] : [];
    list.push(decodeValue(type.slice(2), value, depth));
    object[json] = list;
    return;
  }
  const decoded = decodeValue(type, value, depth);
  const isZero = decoded === "" || decoded === 0 || decoded === false || decoded === null;
  if (isZero && !field.pointer && (field.omitEmpty || decoded === null)) return;
  object[json] = decoded;
}

function decodeEntry(type: string, value: WireValue, depth: number): [string, Json] {
  let key = "";
  let item: Json | undefined;
  readFields(bytesOf(value), (number, part) => {
    if (number === 1) key = textOf(part);
    if (number === 2) item = decodeValue(type, part, depth);
  });
  return [key, item ?? (type === "string" || type === "bytes" ? "" : decodeValue(type, { kind: "bytes", bytes: new Uint8Array() }, depth))];
}

function decodeValue(type: string, value: WireValue, depth: number): Json {
  switch (type) {
    case "string":
      return textOf(value);
    case "bytes":
      return Buffer.from(bytesOf(value)).toString("base64");
    case "bool":
      return numberOf(value) !== 0n;
    case "int":
      return Number(BigInt.asIntN(64, numberOf(value)));
    case "double":
      return doubleOf(value);
    case "[]wrapped": {
      const items: Json[] = [];
      readFields(bytesOf(value), (number, item) => void (number === 1 && items.push(textOf(item))));
      return items;
    }
    default:
      return type.startsWith("!") ? decodeSpecial(type.slice(1), bytesOf(value), depth) : decodeMessage(type, bytesOf(value), depth);
  }
}

/** Types whose JSON is not an object of their fields. */
function decodeSpecial(type: string, bytes: Uint8Array, depth: number): Json {
  const parts = new Map<number, WireValue[]>();
  readFields(bytes, (number, value) => parts.set(number, [...(parts.get(number) ?? []), value]));
  const first = (number: number) => parts.get(number)?.[0];
  const integer = (number: number) => BigInt.asIntN(64, numberOf(first(number) ?? { kind: "varint", bits: 0n }));
  const text = (number: number) => {
    const value = first(number);
    return value === undefined ? "" : textOf(value);
  };
  const schema = (value: WireValue) => decodeMessage("apiextensions.v1.JSONSchemaProps", bytesOf(value), depth + 1);
  switch (type) {
    case "Time":
    case "MicroTime":
      return parts.size === 0 ? null : timeText(integer(1), integer(2), type === "MicroTime");
    case "Duration":
      return goDuration(integer(1));
    case "IntOrString":
      return integer(1) === 0n ? Number(integer(2)) : text(3);
    case "Quantity":
      return text(1) === "" ? "0" : text(1);
    case "RawExtension":
    case "FieldsV1":
    case "JSON": {
      const raw = first(1);
      return raw === undefined || bytesOf(raw).length === 0 ? null : embedded(bytesOf(raw));
    }
    case "JSONSchemaPropsOrBool": {
      const inner = first(2);
      return inner === undefined ? integer(1) !== 0n : schema(inner);
    }
    case "JSONSchemaPropsOrArray": {
      const inner = first(1);
      return inner === undefined ? (parts.get(2) ?? []).map(schema) : schema(inner);
    }
    case "JSONSchemaPropsOrStringArray": {
      const inner = first(1);
      return inner === undefined ? (parts.get(2) ?? []).map(textOf) : schema(inner);
    }
    default:
      throw new WireError(`no rule for ${type}`);
  }
}

function embedded(bytes: Uint8Array): Json {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8")) as Json;
  } catch {
    throw new WireError("an embedded document is not valid JSON");
  }
}

function bytesOf(value: WireValue): Uint8Array {
  if (value.kind !== "bytes") throw new WireError(`a ${value.kind} where bytes belong`);
  return value.bytes;
}

function numberOf(value: WireValue): bigint {
  if (value.kind === "bytes") throw new WireError("bytes where a number belongs");
  return value.bits;
}

function doubleOf(value: WireValue): number {
  if (value.kind !== "fixed64") throw new WireError(`a ${value.kind} where a double belongs`);
  return new DataView(BigUint64Array.of(value.bits).buffer).getFloat64(0, true);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function textOf(value: WireValue): string {
  try {
    return UTF8.decode(bytesOf(value));
  } catch (error) {
    if (error instanceof WireError) throw error;
    throw new WireError("a string is not valid UTF-8");
  }
}
