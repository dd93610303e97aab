// The operations API over fetch, with the operator's token where one is wanted.

/** What the gateway refused, in its own words. */
export class Refused extends Error {
  override name = "Refused";
  constructor(readonly status: number, readonly code: string, message: string, readonly retryAfter: number | null = null) {
    super(message);
  }
}

const KEY = "operator-token";

export class Api {
  #token: string | null;

  /** `base`: the gateway's address without a slash at its end. */
  constructor(readonly base: string, private readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null) {
    this.#token = attempt(() => storage?.getItem(KEY) ?? null);
  }

  get hasToken(): boolean {
    return this.#token !== null;
  }

  /** Kept for this tab until it is closed. */
  setToken(token: string | null): void {
    this.#token = token;
    attempt(() => token === null ? this.storage?.removeItem(KEY) : this.storage?.setItem(KEY, token));
  }

  async get(path: string, signal: AbortSignal | null = null): Promise<unknown> {
    return (await this.fetch(path, { signal })).json();
  }

  async send(method: "POST" | "PUT", path: string, body?: unknown): Promise<void> {
    const headers: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
    await this.fetch(path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  }

  /** Any answer that is not a refusal; a refusal is thrown. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#token !== null) headers.set("Authorization", `Bearer ${this.#token}`);
    const response = await fetch(this.base + path, { ...init, headers, cache: "no-store" });
    if (response.ok) return response;
    throw await refusal(response);
  }
}

async function refusal(response: Response): Promise<Refused> {
  const said: unknown = await response.json().catch(() => null);
  const { error, code } = (said ?? {}) as { error?: unknown; code?: unknown };
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  return new Refused(
    response.status, typeof code === "string" ? code : "",
    typeof error === "string" ? error : `the gateway answered ${response.status}`,
    Number.isFinite(retryAfter) ? retryAfter : null,
  );
}

/** Storage may be switched off. */
function attempt<T>(what: () => T): T | null {
  try {
    return what();
  } catch {
    return null;
  }
}
