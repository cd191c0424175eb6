// One peer in a process of its own: oauth4webapi's check of a resource server, as its documentation uses it.
// Told `run FIRST LAST`, `raw FIRST LAST` or `same`, a line each, it answers with CPU seconds, or with how often it
// accepted one and the same request. `raw` is the same two signatures with Node's Web Cryptography alone.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [fixture, modules] = process.argv.slice(2);
const oauth = await import(pathToFileURL(createRequire(`${modules}/`).resolve('oauth4webapi')));
const told = JSON.parse(readFileSync(fixture, 'utf8'));
const server = { issuer: told.issuer, jwks_uri: `${told.issuer}/jwks` };
const options = {
  requireDPoP: true,
  [oauth.jwksCache]: { jwks: told.jwks, uat: Math.floor(Date.now() / 1000) },
};
const request = (headers) => new Request(told.url, { method: 'POST', headers });
const requests = told.calls.map(request);
const check = (one) => oauth.validateJwtAccessToken(server, one, told.url, options);

const octets = (text) => Buffer.from(text, 'base64url');
const curve = { name: 'ECDSA', namedCurve: 'P-256' };
const how = { name: 'ECDSA', hash: 'SHA-256' };
async function signature(jws, jwk) {
  const { kty, crv, x, y } = jwk ?? JSON.parse(octets(jws.split('.')[0])).jwk;
  const key = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, curve, false, ['verify']);
  const at = jws.lastIndexOf('.');
  return [how, key, octets(jws.slice(at + 1)), Buffer.from(jws.slice(0, at))];
}
const signatures = [];
for (const call of told.calls) {
  signatures.push(await signature(call.authorization.split(' ')[1], told.jwks.keys[0]), await signature(call.dpop));
}

// the thread pool that does the arithmetic is counted, too
async function cpu(work) {
  const before = process.cpuUsage();
  await work();
  const used = process.cpuUsage(before);
  return (used.user + used.system) / 1e6;
}

const answers = {
  run: (first, last) =>
    cpu(async () => {
      for (const one of requests.slice(first, last)) await check(one);
    }),
  raw: (first, last) =>
    cpu(async () => {
      for (const one of signatures.slice(2 * first, 2 * last)) {
        if (!(await crypto.subtle.verify(...one))) throw new Error('a signature of the benchmark does not verify');
      }
    }),
  async same() {
    let accepted = 0;
    for (let time = 0; time < 16; time += 1) {
      accepted += await check(request(told.same)).then(
        () => 1,
        () => 0,
      );
    }
    return accepted;
  },
};

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [what, ...numbers] = line.split(' ');
  console.log(await answers[what](...numbers.map(Number)));
}
