// Owns the rows of the review kinds, which are answered and never stored.
import { row, type Row } from "./row.ts";

const AUTHENTICATION = { group: "authentication.k8s.io", version: "v1", namespaced: false, virtual: true };
const AUTHORIZATION = { group: "authorization.k8s.io", version: "v1", namespaced: false, virtual: true };

export const reviewRows: readonly Row[] = [
  row({ ...AUTHENTICATION, resource: "tokenreviews", kind: "TokenReview" }),
  row({ ...AUTHENTICATION, resource: "selfsubjectreviews", kind: "SelfSubjectReview" }),
  row({ ...AUTHORIZATION, resource: "subjectaccessreviews", kind: "SubjectAccessReview" }),
  row({ ...AUTHORIZATION, resource: "localsubjectaccessreviews", kind: "LocalSubjectAccessReview", namespaced: true }),
  row({ ...AUTHORIZATION, resource: "selfsubjectaccessreviews", kind: "SelfSubjectAccessReview" }),
  row({ ...AUTHORIZATION, resource: "selfsubjectrulesreviews", kind: "SelfSubjectRulesReview" }),
];
