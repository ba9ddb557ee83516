// Owns the list of images: what each is made of, who it runs as, and why.

/** A program of the machine, with what it may be called besides. */
export interface Program { readonly path: string; readonly names?: readonly string[] }

export type Part = "istiod-lite" | "ztunnel" | "waypoint" | "cni";

export interface Component<Name extends string = string> {
  readonly name: Name;
  readonly description: string;
  /** Files of the source, by the name their bundle gets in /app. Threads have bundles of their own. */
  readonly bundles: Readonly<Record<string, string>>;
  readonly user: string;
  /** Whether koffi, the one native library, is called. */
  readonly native: boolean;
  /** Programs that it runs. */
  readonly programs: readonly Program[];
  /** Folders with files that a program loads at run time, unseen by its dynamic section. */
  readonly modules: readonly string[];
  /** Carries the CNI plugin as an executable of its own, for nodes without Node. */
  readonly plugin?: string;
}

/** As Istio's proxies do. */
const NOBODY = "1337:1337";
/** Capabilities of others than uid 0 do not survive exec. */
const ROOT = "0:0";
const SEQPACKET = { "seqpacket-worker": "packages/linux/src/seqpacket-worker.ts" };

export const COMPONENTS: readonly Component<Part>[] = [
  { name: "istiod-lite", description: "Ambit's control plane", bundles: { main: "packages/istiod-lite/src/main.ts" }, user: NOBODY, native: false, programs: [], modules: [] },
  { name: "waypoint", description: "Ambit's L7 proxy", bundles: { main: "packages/waypoint/src/main.ts" }, user: NOBODY, native: true, programs: [], modules: [] },
  {
    name: "ztunnel", description: "Ambit's L4 proxy of a node", bundles: { main: "packages/ztunnel/src/main.ts", worker: "packages/ztunnel/src/workers/worker.ts", ...SEQPACKET },
    user: ROOT, native: true, programs: [], modules: [],
  },
  {
    name: "cni", description: "Ambit's node agent, and its CNI plugin", bundles: { main: "packages/cni/src/main.ts", ...SEQPACKET },
    user: ROOT, native: true,
    // Rules are written by a script within a pod's network namespace.
    programs: [
      { path: "/bin/sh" }, { path: "/bin/grep" }, { path: "/usr/bin/nsenter" }, { path: "/usr/bin/unshare" }, { path: "/sbin/ip" }, { path: "/usr/sbin/nft" },
      { path: "/usr/sbin/xtables-nft-multi", names: ["iptables-nft-save", "iptables-nft-restore", "ip6tables-nft-save", "ip6tables-nft-restore"] },
    ],
    modules: ["xtables"], plugin: "packages/cni/src/plugin/main.ts",
  },
];

/**
 * What the end-to-end tests put into pods of a cluster that has no lab images: the sample application, the programs of the tests, and what they look
 * at a node with. No part of the mesh; `pnpm images --sample` makes it.
 */
export const SAMPLE: Component = {
  name: "sample", description: "Ambit's sample application and the programs of its end-to-end tests",
  bundles: {
    main: "packages/lab/src/sample/main.ts", streams: "test/e2e/programs/streams.ts", resolve: "test/e2e/programs/resolve.ts", authorizer: "test/e2e/programs/authorizer.ts",
    garbage: "test/e2e/programs/garbage.ts", echo: "test/conformance/echo.ts",
  },
  user: ROOT, native: false,
  programs: [
    ..."sh cat chmod cp date env find grep head kill ls mkdir readlink rm seq sha256sum sleep sort stat timeout tr curl getent nsenter tcpdump".split(" ").map((name) => ({ path: `/bin/${name}` })),
    { path: "/sbin/ip" }, { path: "/usr/sbin/nft" },
    { path: "/usr/sbin/xtables-nft-multi", names: ["iptables-nft-save", "ip6tables-nft-save"] }, { path: "/usr/sbin/xtables-legacy-multi", names: ["iptables-legacy-save", "ip6tables-legacy-save"] },
  ],
  modules: ["xtables"],
};
