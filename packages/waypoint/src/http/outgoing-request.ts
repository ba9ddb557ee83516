// Owns one request as it leaves for an endpoint: the client's fields as they are where nothing changes them, and what is added behind.
import type { BodySize, Fields } from "@ambit/http";
import type { OutgoingHead } from "../plan/request-plan.ts";
import type { AttemptRequest } from "./upstream/upstreams.ts";

export class OutgoingRequest implements AttemptRequest, OutgoingHead {
  readonly method: string;
  readonly authority: string;
  readonly target: string;
  readonly passed: Fields;
  readonly added: Fields;
  readonly body: BodySize;
  readonly upgrade: string | undefined;

  constructor(head: OutgoingHead, passed: Fields, added: Fields, body: BodySize, upgrade: string | undefined) {
    this.method = head.method;
    this.authority = head.authority;
    this.target = head.target;
    this.passed = passed;
    this.added = added;
    this.body = body;
    this.upgrade = upgrade;
  }

  /** All of them in one list, made anew: few records are asked for it. */
  get fields(): Fields {
    return this.passed.concat(this.added);
  }
}
