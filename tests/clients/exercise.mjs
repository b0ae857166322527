// What every client does, and what must come of it.

const [program, home, endpoint, token] = process.argv.slice(2);

export const url = new URL(endpoint);
export const httpOptions = { requestInit: { headers: { Authorization: `Bearer ${token}` } } };
export const stdioOptions = { command: program, args: ['--home', home, 'serve', '--stdio', '--agent', 'tester'] };

const EXPECTED = ['jq_filter', 'time_convert', 'time_difference', 'time_now', 'time_zones'];

export async function exercise(assert, client, where) {
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name).sort(), EXPECTED, where);
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
  console.log(`typescript, ${where}: passed`);
}
