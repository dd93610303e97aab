// A self-signed certificate for 127.0.0.1, and what makes Chromium take it.

import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { onPath } from "./programs.mjs";
import { secret } from "./wrote.mjs";

/** Files of a fresh certificate and its key; `remove` them when done. */
export async function selfSigned() {
  const folder = await mkdtemp(join(tmpdir(), "wrtc-e2e-certificate-"));
  const [cert, key] = [join(folder, "cert.pem"), join(folder, "key.pem")];
  await promisify(execFile)(onPath(["openssl"], "openssl"), [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert,
  ]);
  secret("a private key", await readFile(key, "utf8"));
  const spki = new X509Certificate(await readFile(cert)).publicKey.export({ type: "spki", format: "der" });
  const pin = createHash("sha256").update(spki).digest("base64");
  return {
    cert,
    key,
    trusting: [`--ignore-certificate-errors-spki-list=${pin}`],
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
