// A real authorization server (the package `oidc-provider`) on loopback, for the tests of refresh tokens.
//
// Prints one line of JSON: where it listens, and a refresh token that a person consented to. It rotates refresh tokens at
// each use, and takes a second use of one for theft: then the whole grant is void. It takes access tokens back (RFC 7009);
// with them it voids the refresh token, as it does by default, or keeps that, if its second argument is `keeps`. `/state`
// says which access tokens there ever were and which of them it knows still, and `/hold` never answers. It ends with its
// standard input.
import http from 'node:http';
import { Provider } from 'oidc-provider';

const [secret, grants] = process.argv.slice(2);

// What is stored goes alone, not with all of its grant.
class Keeps {
  static stored = new Map();

  constructor(kind) {
    this.kind = kind;
  }

  key(id) {
    return `${this.kind}:${id}`;
  }

  async upsert(id, payload) {
    Keeps.stored.set(this.key(id), payload);
  }

  async find(id) {
    return Keeps.stored.get(this.key(id));
  }

  async findByUid() {}

  async findByUserCode() {}

  async consume(id) {
    Keeps.stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    Keeps.stored.delete(this.key(id));
  }

  async revokeByGrantId() {}
}

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  ...(grants === 'keeps' ? { adapter: Keeps } : {}),
  clients: [
    {
      client_id: 'tollgate',
      client_secret: secret,
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: ['http://127.0.0.1/none'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, RefreshToken: 3600, Grant: 3600 },
});

const made = [];
provider.on('access_token.saved', ({ jti }) => made.push(jti));
let held = 0;
const served = provider.callback();
server.on('request', async (request, response) => {
  if (request.url === '/hold') {
    held += 1;
  } else if (request.url === '/state') {
    const known = await Promise.all(made.map((token) => provider.AccessToken.find(token)));
    const tokens = made.map((token, at) => ({ token, alive: known[at] !== undefined }));
    response.end(JSON.stringify({ made: tokens, held }));
  } else {
    served(request, response);
  }
});

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
