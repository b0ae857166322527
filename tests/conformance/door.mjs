// A door in front of the endpoint: it adds the agent's token, which the suite has no way to send, and passes everything
// else on as it came, the head's `Host` and `Origin` included.
//
//   node door.mjs http://127.0.0.1:PORT/mcp TOKEN
//
// prints its own address and ends with its standard input.
import { createServer, request } from 'node:http'

const [, , endpoint, token] = process.argv
const to = new URL(endpoint)

const door = createServer((incoming, outgoing) => {
  const headers = { ...incoming.headers, authorization: `Bearer ${token}` }
  const passed = request(
    { host: to.hostname, port: to.port, method: incoming.method, path: incoming.url, headers, setHost: false },
    (answer) => {
      outgoing.writeHead(answer.statusCode, answer.rawHeaders)
      // The head goes out at once: a stream may say nothing for a long time.
      outgoing.flushHeaders()
      answer.pipe(outgoing)
    },
  )
  // Whoever goes away first takes the other along.
  passed.on('error', () => outgoing.destroy())
  outgoing.on('close', () => passed.destroy())
  incoming.pipe(passed)
})

door.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${door.address().port}${to.pathname}`))
process.stdin.resume().on('end', () => process.exit(0))
