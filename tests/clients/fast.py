"""fastmcp's client, over both transports."""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport

from exercise import EXPECTED, HELD, Home, refusal

PROGRAM, HOME, ENDPOINT, TOKEN = sys.argv[1:]
home = Home(PROGRAM, HOME)


async def exercise(client, where):
    names = [tool.name for tool in await client.list_tools()]
    assert names == EXPECTED, (where, names)
    result = await client.call_tool("jq_filter", {"filter": ".a + 1", "input": {"a": 41}})
    assert result.structured_content["results"] == [42], (where, result)
    refused = await client.call_tool("jq_filter", {"filter": ".", "unknown": 1}, raise_on_error=False)
    assert refused.is_error and refusal(refused)["code"] == "args.unknown_property", (where, refused)
    held = await client.call_tool("time_difference", HELD, raise_on_error=False)
    assert held.is_error and refusal(held)["code"] == "approval_required", (where, held)
    home.approve(refusal(held)["approvalId"])
    done = await client.call_tool("time_difference", HELD)
    assert done.structured_content["days"] == 21, (where, done)
    print(f"fastmcp, {where}: passed")


async def main():
    stdio = StdioTransport(
        command=PROGRAM, args=["--home", HOME, "serve", "--stdio", "--agent", "tester"], keep_alive=False
    )
    async with Client(stdio) as client:
        await exercise(client, "stdio")
    http = StreamableHttpTransport(ENDPOINT, headers={"Authorization": f"Bearer {TOKEN}"})
    async with Client(http) as client:
        await exercise(client, "http")


asyncio.run(main())
