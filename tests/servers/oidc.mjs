// A real authorization server (the package `oidc-provider`) on loopback, for the tests of refresh tokens.
//
// Prints one line of JSON: where it listens, and a refresh token that a person consented to. It rotates refresh tokens at
// each use, and takes a second use of one for theft: then the whole grant is void. It ends with its standard input.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'tollgate',
      client_secret: process.argv[2],
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['http://127.0.0.1/none'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  features: { devInteractions: { enabled: false } },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, RefreshToken: 3600, Grant: 3600 },
});
server.on('request', provider.callback());

const client = await provider.Client.find('tollgate');
const grant = new provider.Grant({ accountId: 'anna', clientId: 'tollgate' });
grant.addOIDCScope('openid offline_access');
const grantId = await grant.save();
const refresh = new provider.RefreshToken({
  accountId: 'anna',
  client,
  grantId,
  gty: 'authorization_code',
  scope: 'openid offline_access',
});
const token = await refresh.save();
process.stdout.write(`${JSON.stringify({ issuer, token })}\n`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
