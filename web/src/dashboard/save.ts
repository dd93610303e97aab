// Files that want the operator's token: fetched, then handed to the browser as a download.

import type { Api } from "./api";
import { h } from "./dom";

export async function save(api: Api, path: string, name: string): Promise<void> {
  const response = await api.fetch(path);
  const address = URL.createObjectURL(await response.blob());
  const link = h("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
