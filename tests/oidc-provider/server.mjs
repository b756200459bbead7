// A real authorization server on a loopback port of its choice: oidc-provider with opaque access tokens by client
// credentials, introspection (RFC 7662) and JWT introspection responses (RFC 9701). Prints one line of JSON with its port
// once it listens. Usage: node server.mjs [--add-jwt]
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { SignJWT } from 'jose';
import Provider from 'oidc-provider';

const addJwt = process.argv.includes('--add-jwt');
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

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `http://127.0.0.1:${port}`;
  const provider = new Provider(issuer, {
    clients: [
      client('app'),
      client('gateway'),
      client('signed-gateway', { introspection_signed_response_alg: 'RS256' }),
    ],
    jwks: { keys: [key] },
    cookies: { keys: [randomUUID()] },
    scopes: ['api:read'],
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
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
  console.log(JSON.stringify({ port }));
});
// ends with the test that started it, however that ends
process.stdin.on('end', () => process.exit(0)).resume();
