// Serves a folder of examples/ from an origin of its own, as a site's web server would.

import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { after, before } from "node:test";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8" };

/** For the tests of one file; gives what makes an address of a page, with the gateway's own in its query. */
export function serveExample(folder) {
  let server;
  before(async () => {
    server = createServer(async (request, response) => {
      const { pathname } = new URL(request.url, "http://localhost");
      const name = pathname === "/" ? "index.html" : pathname.slice(1);
      const file = /^[\w.-]+$/.test(name)
        ? await readFile(new URL(`../../../examples/${folder}/${name}`, import.meta.url)).catch(() => null)
        : null;
      if (!file) return response.writeHead(404).end();
      response.writeHead(200, { "Content-Type": TYPES[extname(name)] ?? "text/plain" }).end(file);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // Where all tests are left out nobody calls what comes after them.
    server.unref();
  });
  after(() => server.close());
  return (demo, page = "") => {
    const gateway = encodeURIComponent(demo.url.replace(/\/$/, ""));
    return `http://127.0.0.1:${server.address().port}/${page}?audio=raw&gateway=${gateway}`;
  };
}
