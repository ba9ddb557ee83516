// Owns the static table of RFC 7541 appendix A. Index 0 is not used.

const ENTRIES: readonly (readonly [name: string, value?: string])[] = [
  [":authority"], [":method", "GET"], [":method", "POST"], [":path", "/"], [":path", "/index.html"], [":scheme", "http"], [":scheme", "https"],
  [":status", "200"], [":status", "204"], [":status", "206"], [":status", "304"], [":status", "400"], [":status", "404"], [":status", "500"],
  ["accept-charset"], ["accept-encoding", "gzip, deflate"], ["accept-language"], ["accept-ranges"], ["accept"], ["access-control-allow-origin"],
  ["age"], ["allow"], ["authorization"], ["cache-control"], ["content-disposition"], ["content-encoding"], ["content-language"], ["content-length"],
  ["content-location"], ["content-range"], ["content-type"], ["cookie"], ["date"], ["etag"], ["expect"], ["expires"], ["from"], ["host"],
  ["if-match"], ["if-modified-since"], ["if-none-match"], ["if-range"], ["if-unmodified-since"], ["last-modified"], ["link"], ["location"],
  ["max-forwards"], ["proxy-authenticate"], ["proxy-authorization"], ["range"], ["referer"], ["refresh"], ["retry-after"], ["server"],
  ["set-cookie"], ["strict-transport-security"], ["transfer-encoding"], ["user-agent"], ["vary"], ["via"], ["www-authenticate"],
];

export const STATIC_ENTRIES = 61;
export const staticNames: readonly string[] = ["", ...ENTRIES.map(([name]) => name)];
export const staticValues: readonly string[] = ["", ...ENTRIES.map(([, value]) => value ?? "")];

/** name → first index with that name. */
export const staticNameIndex: ReadonlyMap<string, number> = new Map(ENTRIES.map(([name], i) => [name, i + 1] as const).reverse());
/** name → value → index. */
export const staticFieldIndex: ReadonlyMap<string, ReadonlyMap<string, number>> = new Map([...staticNameIndex.keys()].map((name) =>
  [name, new Map(ENTRIES.flatMap(([n, value], i): [string, number][] => (n === name ? [[value ?? "", i + 1]] : [])))]));
