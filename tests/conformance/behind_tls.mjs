// Loaded before the suite: its servers listen on TLS and say so in their addresses, because our agent speaks to nothing
// but https. What it checks is untouched.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

const SUITE = '/@modelcontextprotocol/conformance/dist/index.js';
const PLAIN = 'http://localhost:${';
const credentials = {
  cert: readFileSync(process.env.CONFORMANCE_CERTIFICATE),
  key: readFileSync(process.env.CONFORMANCE_KEY),
};

http.createServer = (...given) => https.createServer(credentials, given.at(-1));
syncBuiltinESMExports();

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith(SUITE)) return loaded;
    const source = String(loaded.source);
    if (!source.includes(PLAIN)) throw new Error('the suite names its servers in another way than it did');
    return { ...loaded, source: source.replaceAll(PLAIN, PLAIN.replace('http', 'https')) };
  },
});
