// The Inspector's command line, over both transports and in both eras: as a person tries a server out.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';

import { approve, EXPECTED, HELD, httpOptions, refusal, stdioOptions, url } from './exercise.mjs';

const program = 'node_modules/.bin/mcp-inspector';

function run(target, ...more) {
  const words = ['--cli', ...target, '--format', 'json', ...more];
  const done = spawnSync(program, words, { encoding: 'utf8', cwd: import.meta.dirname });
  const shown = `${words.join(' ')}\n${done.stdout}\n${done.stderr}`;
  assert.equal(done.error, undefined, shown);
  const start = done.stdout.indexOf('{');
  return { code: done.status, shown, answer: start < 0 ? {} : JSON.parse(done.stdout.slice(start)) };
}

const header = ['--header', `Authorization: ${httpOptions.requestInit.headers.Authorization}`];
for (const [where, target] of [
  ['stdio', [stdioOptions.command, ...stdioOptions.args]],
  ['http', [url.href, '--transport', 'http', ...header]],
]) {
  for (const era of ['legacy', 'modern']) {
    const at = `inspector, ${where}, ${era}`;
    const ask = (...more) => run(target, '--protocol-era', era, ...more);
    const list = ask('--method', 'tools/list');
    assert.equal(list.code, 0, `${at}: ${list.shown}`);
    assert.deepEqual(list.answer.tools.map((tool) => tool.name), EXPECTED, at);
    const call = (tool, ...words) =>
      ask('--method', 'tools/call', '--tool-name', tool, ...words.flatMap((word) => ['--tool-arg', word]));
    const zones = call('time_zones', 'search=berlin');
    assert.equal(zones.code, 0, `${at}: ${zones.shown}`);
    assert.deepEqual(zones.answer.structuredContent.names, ['Europe/Berlin'], at);
    const words = Object.entries(HELD).map(([name, value]) => `${name}=${value}`);
    const held = call('time_difference', ...words);
    assert.notEqual(held.code, 0, `${at}: ${held.shown}`);
    const told = refusal(held.answer);
    assert.equal(told?.code, 'approval_required', `${at}: ${held.shown}`);
    approve(told.approvalId);
    const done = call('time_difference', ...words);
    assert.equal(done.answer.structuredContent?.days, 21, `${at}: ${done.shown}`);
    console.log(`${at}: passed`);
  }
}
