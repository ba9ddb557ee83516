// Owns names of hosts: comparing them with patterns, and taking an authority apart.

/** `*.example.com` matches any depth of labels before it, not the bare name. Case does not matter. */
export function hostnameMatches(pattern: string, host: string): boolean {
  const wanted = pattern.toLowerCase();
  const name = host.toLowerCase();
  if (wanted === "*") return true;
  return wanted.startsWith("*.") ? name.length > wanted.length - 1 && name.endsWith(wanted.slice(1)) : name === wanted;
}

/** Negative: `a` says more than `b` (exact before wildcard, then the longer). */
export function compareHostnames(a: string, b: string): number {
  const wild = Number(a.startsWith("*")) - Number(b.startsWith("*"));
  return wild === 0 ? b.length - a.length : wild;
}

/** `host`, `host:port`, `[v6]:port`; brackets stay with the host. A port that is no number is part of the name. */
export function splitAuthority(authority: string): { readonly host: string; readonly port: number | undefined } {
  const colon = authority.lastIndexOf(":");
  if (colon < 0 || authority.indexOf("]", colon) >= 0) return { host: authority, port: undefined };
  const port = authority.slice(colon + 1);
  if (!/^[0-9]{1,5}$/.test(port)) return { host: authority, port: undefined };
  return { host: authority.slice(0, colon), port: Number(port) };
}

/** Without port and final dot: how a careless `Host` still names the same host. */
export function bareHost(authority: string): string {
  const { host } = splitAuthority(authority);
  return host.endsWith(".") ? host.slice(0, -1) : host;
}
