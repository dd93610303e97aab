// Which pages may drive the gadget: those that the gateway lets frame it, and its own.

/** True for an origin of the list. */
export type OriginCheck = (origin: string) => boolean;

/**
 * From a Content-Security-Policy. What may frame the gadget is what `http.allowed_origins` lists, so there is one list.
 * `*` lets any page call the API, which takes a secret; it lets none drive a phone that is signed in already.
 */
export function originsOf(policy: string, self: string): OriginCheck {
  const directive = policy.split(";").map((part) => part.trim()).find((part) => part.startsWith("frame-ancestors "));
  const sources = directive?.split(/\s+/).slice(1) ?? [];
  return (origin) => origin === self || sources.some((source) => source !== "*" && matches(source, origin));
}

/** `http://localhost:*` is any port of it. */
function matches(source: string, origin: string): boolean {
  if (!source.endsWith(":*")) return source === origin;
  const host = source.slice(0, -2);
  return origin === host || (origin.startsWith(`${host}:`) && /^\d+$/.test(origin.slice(host.length + 1)));
}

/** Asks the gateway. When it cannot be asked, only pages of its own are let in. */
export async function allowedOrigins(): Promise<OriginCheck> {
  try {
    const response = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
    return originsOf(response.headers.get("Content-Security-Policy") ?? "", location.origin);
  } catch {
    return originsOf("", location.origin);
  }
}
