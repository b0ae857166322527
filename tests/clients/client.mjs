// The official TypeScript client, of both eras of the protocol and over both transports.

import assert from 'node:assert/strict';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { approve, exercise, httpOptions, shownAPage, stdioOptions, url } from './exercise.mjs';

const pages = [];

for (const mode of ['legacy', 'auto']) {
  const options = mode === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
  for (const [where, transport] of [
    ['stdio', () => new StdioClientTransport(stdioOptions)],
    ['http', () => new StreamableHTTPClientTransport(url, httpOptions)],
  ]) {
    const client = new Client({ name: 'tests', version: '1.0.0' }, options);
    await client.connect(transport());
    await exercise(assert, client, `client, ${where}, ${mode}`);
    await client.close();

    const opens = new Client(
      { name: 'tests', version: '1.0.0' },
      { ...options, capabilities: { elicitation: { url: {} } } },
    );
    opens.setRequestHandler('elicitation/create', async ({ params }) => {
      assert.equal(params.mode, 'url');
      pages.push(params.url);
      approve(params.url.split('/').pop());
      return { action: 'accept' };
    });
    await opens.connect(transport());
    await shownAPage(assert, opens, `client, ${where}, ${mode}`, pages);
    await opens.close();
  }
}
