// Owns which release of the control plane this is.
import manifest from "../package.json" with { type: "json" };

export const VERSION = manifest.version;
/** As istioctl reads it: version, revision of the source, status of the build. */
export const VERSION_TEXT = `${VERSION}-unknown-Clean`;
