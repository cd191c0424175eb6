// One flow of openid-client, unmodified, as its documentation shows it. The first line of stdin is what to do; the address
// for the person's browser is the first line of stdout, the address that it came back to the second line of stdin, and
// what was reached the last line of stdout.
import { createPrivateKey, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => (await lines.next()).value
const asked = JSON.parse(await next())

const resolve = createRequire(pathToFileURL(asked.modules + '/'))
const client = await import(pathToFileURL(asked.modules + '/openid-client/build/index.js').href)
const undici = resolve('undici')

const ALGORITHMS = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  Ed25519: { name: 'Ed25519' },
}

// JWK → CryptoKey through PKCS#8, since the two disagree about the `alg` of an Ed25519 key
async function signingKey() {
  const der = createPrivateKey({ key: asked.key, format: 'pem' }).export({ type: 'pkcs8', format: 'der' })
  const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHMS[asked.alg], false, ['sign'])
  return { key, kid: asked.kid }
}

async function configured() {
  const ca = readFileSync(asked.ca)
  const certificate = asked.certificate ? { key: asked.certificate.key, cert: asked.certificate.chain } : {}
  const agent = new undici.Agent({ connect: { ca, ...certificate } })
  const fetch = (url, options) => undici.fetch(url, { ...options, dispatcher: agent })
  const authentication = asked.certificate && !asked.key_authenticates
    ? client.TlsClientAuth()
    : client.PrivateKeyJwt(await signingKey())
  const config = await client.discovery(new URL(asked.issuer), asked.client_id, asked.metadata, authentication, {
    [client.customFetch]: fetch,
    execute: asked.openid ? [client.enableNonRepudiationChecks] : [],
    algorithm: asked.openid ? 'oidc' : 'oauth2',
  })
  config[client.customFetch] = fetch
  if (asked.jarm) client.useJwtResponseMode(config)
  return config
}

async function authorizationUrl(config, parameters, options) {
  if (!asked.jar) return client.buildAuthorizationUrlWithPAR(config, parameters, options)
  const signed = await client.buildAuthorizationUrlWithJAR(config, parameters, await signingKey())
  return client.buildAuthorizationUrlWithPAR(config, signed.searchParams, options)
}

async function run() {
  const config = await configured()
  const proof = asked.dpop
    ? { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair(asked.alg === 'PS256' ? 'PS256' : 'ES256')) }
    : undefined
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const nonce = asked.openid ? client.randomNonce() : undefined
  const target = asked.openid ? {} : { resource: asked.resource } // without a resource it is the issuer, for its userinfo
  const parameters = {
    redirect_uri: asked.redirect_uri,
    scope: asked.scope,
    ...target,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    ...(nonce ? { nonce, prompt: 'consent' } : {}), // offline_access wants to be consented to
  }
  console.log(JSON.stringify({ url: (await authorizationUrl(config, parameters, proof)).href }))
  const came = new URL(await next())
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: asked.openid }
  const tokens = await client.authorizationCodeGrant(config, came, checks, target, proof)
  const renewed = await client.refreshTokenGrant(config, tokens.refresh_token, target, proof)
  const own = await client.clientCredentialsGrant(config, { scope: asked.own_scope, resource: asked.resource }, proof)
  const person = asked.openid
    ? await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, proof)
    : undefined
  return {
    person,
    came_back_with: [...came.searchParams.keys()],
    token_type: tokens.token_type,
    scope: tokens.scope,
    access_token: tokens.access_token,
    renewed: renewed.access_token,
    own: own.access_token,
    id_token: tokens.claims(),
  }
}

try {
  console.log(JSON.stringify({ reached: await run() }))
} catch (error) {
  const told = { name: error.name, code: error.code, message: error.message, error: error.error, cause: `${error.cause}` }
  console.log(JSON.stringify({ failed: told }))
}
process.exit(0)
