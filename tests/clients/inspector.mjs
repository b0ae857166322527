// The Inspector's command line, as a person tries a server out: one era over each transport, since each command of it
// is a process and a session of its own.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

import { approve, EXPECTED, HELD, httpOptions, refusal, stdioOptions, url } from './exercise.mjs';

const program = 'node_modules/.bin/mcp-inspector';

function run(target, ...more) {
  const words = ['--cli', ...target, '--format', 'json', ...more];
  const done = spawnSync(program, words, {
    encoding: 'utf8',
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  });
  const shown = `${words.join(' ')}\n${done.stdout}\n${done.stderr}`;
  assert.equal(done.error, undefined, shown);
  const line = done.stdout.split('\n').find((line) => line.startsWith('{'));
  const said = line ? JSON.parse(line) : {};
  return { code: done.status, shown, answer: said.result ?? said };
}

const header = ['--header', `Authorization: ${httpOptions.requestInit.headers.Authorization}`];
for (const [where, era, target] of [
  ['http', 'modern', [url.href, '--transport', 'http', ...header]],
  ['stdio', 'legacy', [stdioOptions.command, ...stdioOptions.args]],
]) {
  const at = `inspector, ${where}, ${era}`;
  const ask = (...more) => run(target, '--protocol-era', era, ...more);
  const list = ask('--method', 'tools/list');
  assert.equal(list.code, 0, `${at}: ${list.shown}`);
  assert.deepEqual(list.answer.tools.map((tool) => tool.name), EXPECTED, at);
  const words = Object.entries(HELD).flatMap(([name, value]) => ['--tool-arg', `${name}=${value}`]);
  const call = () => ask('--method', 'tools/call', '--tool-name', 'time_difference', ...words);
  const held = call();
  assert.notEqual(held.code, 0, `${at}: ${held.shown}`);
  assert.equal(refusal(held.answer)?.code, 'approval_required', `${at}: ${held.shown}`);
  approve(refusal(held.answer).approvalId);
  const done = call();
  assert.equal(done.answer.structuredContent?.days, 21, `${at}: ${done.shown}`);
  console.log(`${at}: passed`);
}
