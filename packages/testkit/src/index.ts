// Public names of @ambit/testkit: fakes and compliance suites, importable from tests only.
export { fakeCa, type FakeCa, type FakeCert, type LeafOptions } from "./fake-ca.ts";
