// Owns the public authorities of an image: Mozilla's, as the pinned Node carries them, and not what this machine happens to trust.
import { rootCertificates as ofNode } from "node:tls";

/** PEM, one after the other. */
export const rootCertificates = (): string => `${ofNode.join("\n")}\n`;
