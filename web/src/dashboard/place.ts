// What the address names: `#/`, `#/calls?q=...`, `#/calls/ID`, `#/agents/DN`.

export type Place =
  | { page: "overview" }
  | { page: "search"; query: URLSearchParams }
  | { page: "call"; id: string }
  | { page: "agent"; dn: string };

export function parsePlace(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [kind, ...rest] = path.split("/");
  const name = decoded(rest.join("/"));
  if (kind === "calls") return name === "" ? { page: "search", query: new URLSearchParams(query) } : { page: "call", id: name };
  if (kind === "agents" && name !== "") return { page: "agent", dn: name };
  return { page: "overview" };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
