// The official TypeScript SDK before it was split, over both transports.

import assert from 'node:assert/strict';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { exercise, httpOptions, stdioOptions, url } from './exercise.mjs';

for (const [where, transport] of [
  ['stdio', () => new StdioClientTransport(stdioOptions)],
  ['http', () => new StreamableHTTPClientTransport(url, httpOptions)],
]) {
  const client = new Client({ name: 'tests', version: '1.0.0' });
  await client.connect(transport());
  await exercise(assert, client, `sdk, ${where}`);
  await client.close();
}
