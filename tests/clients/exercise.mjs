// What every client does, and what must come of it.

import { execFileSync } from 'node:child_process';

const [program, home, endpoint, token] = process.argv.slice(2);

// The person's credential is nowhere where a client could find it.
const person = process.env.APPROVER;
delete process.env.APPROVER;

export const url = new URL(endpoint);
export const httpOptions = { requestInit: { headers: { Authorization: `Bearer ${token}` } } };
export const stdioOptions = { command: program, args: ['--home', home, 'serve', '--stdio', '--agent', 'tester'] };

export const EXPECTED = ['jq_filter', 'time_convert', 'time_difference', 'time_now', 'time_zones'];

// The call that a person has to agree to.
export const HELD = { from: '2026-11-01T00:00:00Z', to: '2026-11-22T00:00:00Z' };

export function approve(approval) {
  execFileSync(program, ['--home', home, '--quiet', 'approvals', 'approve', approval], {
    env: { ...process.env, TOLLGATE_PERSON_TOKEN: person },
  });
}

// What the host says of a refusal: in `_meta`, where the tool promises a form for its content.
export function refusal(result) {
  return result.structuredContent ?? result._meta?.['dev.tollgate/refusal'];
}

export async function exercise(assert, client, where) {
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name), EXPECTED, where);
  for (const tool of tools) {
    assert.ok(tool.description && tool.inputSchema.type === 'object', where);
  }

  let result = await client.callTool({ name: 'jq_filter', arguments: { filter: '.a + 1', input: { a: 41 } } });
  assert.ok(!result.isError, `${where}: ${JSON.stringify(result)}`);
  assert.deepEqual(result.structuredContent.results, [42], where);

  result = await client.callTool({
    name: 'time_convert',
    arguments: { time: '2026-11-22T14:30:00+01:00', to: 'Asia/Tokyo' },
  });
  assert.equal(result.structuredContent.time, '2026-11-22T22:30:00+09:00', where);

  result = await client.callTool({ name: 'time_zones', arguments: { search: 'berlin' } });
  assert.deepEqual(result.structuredContent.names, ['Europe/Berlin'], where);

  const held = await client.callTool({ name: 'time_difference', arguments: HELD });
  const told = refusal(held);
  assert.equal(told?.code, 'approval_required', `${where}: ${JSON.stringify(held)}`);
  approve(told.approvalId);
  const done = await client.callTool({ name: 'time_difference', arguments: HELD });
  assert.ok(!done.isError, `${where}: ${JSON.stringify(done)}`);
  assert.equal(done.structuredContent.days, 21, where);
  console.log(`typescript, ${where}: passed`);
}

// The client opens the page that it is asked to; what a person answers there comes back with the call.
export async function shownAPage(assert, client, where, pages) {
  const done = await client.callTool({ name: 'time_difference', arguments: HELD });
  assert.ok(!done.isError, `${where}: ${JSON.stringify(done)}`);
  assert.equal(done.structuredContent.days, 21, where);
  assert.equal(pages.length, 1, where);
  pages.length = 0;
  console.log(`typescript, ${where}, with a page: passed`);
}
