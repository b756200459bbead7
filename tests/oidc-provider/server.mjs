// A real authorization server on a loopback port of its choice: oidc-provider with opaque access tokens by client
// credentials, introspection (RFC 7662) and JWT introspection responses (RFC 9701). Prints one line of JSON with its port
// once it listens. Usage: node server.mjs [--add-jwt] [--key ALG FILE]... [--tls FOLDER]
//
// --key ALG FILE   a client "ALG-gateway" that authenticates by private_key_jwt with the key in FILE
// --tls FOLDER     https with server.pem and server.key, and a client "tls-gateway" that authenticates with a certificate of
//                  ca.pem for CN=gateway; the line then has an opaque token, too
import { createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { SignJWT } from 'jose';
import Provider from 'oidc-provider';

const addJwt = process.argv.includes('--add-jwt');
const keys = process.argv.flatMap((arg, i, all) => (arg === '--key' ? [[all[i + 1], all[i + 2]]] : []));
const tls = process.argv.includes('--tls') && process.argv[process.argv.indexOf('--tls') + 1];
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256', use: 'sig' };

const client = (client_id, more = {}) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  token_endpoint_auth_method: 'client_secret_basic',
  introspection_endpoint_auth_method: 'client_secret_basic',
  ...more,
});

const file = (name) => readFileSync(`${tls}/${name}`);
const server = tls
  ? createTlsServer({
      cert: file('server.pem'),
      key: file('server.key'),
      ca: file('ca.pem'),
      requestCert: true,
      rejectUnauthorized: false,
    })
  : createServer();
server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address();
  const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [
      client('app'),
      client('gateway'),
      client('signed-gateway', { introspection_signed_response_alg: 'RS256' }),
      client('post-gateway', {
        token_endpoint_auth_method: 'client_secret_post',
        introspection_endpoint_auth_method: 'client_secret_post',
      }),
      ...keys.map(([alg, path]) =>
        client(`${alg}-gateway`, {
          client_secret: undefined,
          token_endpoint_auth_method: 'private_key_jwt',
          introspection_endpoint_auth_method: 'private_key_jwt',
          token_endpoint_auth_signing_alg: alg,
          jwks: { keys: [{ ...createPublicKey(readFileSync(path)).export({ format: 'jwk' }), kid: 'g1' }] },
        }),
      ),
      ...(tls
        ? [
            client('tls-gateway', {
              client_secret: undefined,
              token_endpoint_auth_method: 'tls_client_auth',
              introspection_endpoint_auth_method: 'tls_client_auth',
              tls_client_auth_subject_dn: 'CN=gateway',
            }),
          ]
        : []),
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(tls ? ['tls_client_auth'] : [])],
    jwks: { keys: [key] },
    cookies: { keys: [randomUUID()] },
    scopes: ['api:read'],
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
      ...(tls && {
        mTLS: {
          enabled: true,
          tlsClientAuth: true,
          getCertificate: (ctx) => ctx.socket.getPeerX509Certificate(),
          certificateAuthorized: (ctx) => ctx.socket.authorized,
          certificateSubjectMatches: (ctx, property, expected) =>
            ctx.socket.getPeerX509Certificate().subject === expected,
        },
      }),
    },
  });
  if (addJwt) {
    // oidc-provider answers JSON without a JWT. Here an active answer gets one, as a token procedure would add it: signed,
    // with the claims of the answer, in the member `phantom_token`.
    provider.use(async (ctx, next) => {
      await next();
      if (ctx.oidc?.route === 'introspection' && ctx.body?.active === true) {
        const { active, token_type, ...claims } = ctx.body;
        ctx.body.phantom_token = await new SignJWT({ ...claims, jti: randomUUID() })
          .setProtectedHeader({ alg: 'RS256', kid: key.kid, typ: 'at+jwt' })
          .sign(privateKey);
      }
    });
  }
  server.on('request', provider.callback());
  const ready = { port };
  if (tls) {
    const app = await provider.Client.find('app');
    ready.token = await new provider.ClientCredentials({ client: app, scope: 'api:read' }).save();
  }
  console.log(JSON.stringify(ready));
});
// ends with the test that started it, however that ends
process.stdin.on('end', () => process.exit(0)).resume();
