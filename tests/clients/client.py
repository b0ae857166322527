"""The official Python client lists and calls tools, in both eras of the protocol and over both transports."""

import asyncio
import sys

import mcp
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

PROGRAM, HOME, ENDPOINT, TOKEN = sys.argv[1:]

EXPECTED = ["jq_filter", "time_convert", "time_difference", "time_now", "time_zones"]


async def exercise(client, where):
    listed = await client.list_tools()
    names = sorted(tool.name for tool in listed.tools)
    assert names == EXPECTED, (where, names)
    assert all(tool.description and tool.input_schema["type"] == "object" for tool in listed.tools), where

    result = await client.call_tool("jq_filter", {"filter": ".a + 1", "input": {"a": 41}})
    assert not result.is_error, (where, result)
    assert result.structured_content["results"] == [42], (where, result.structured_content)

    result = await client.call_tool("time_convert", {"time": "2026-11-22T14:30:00+01:00", "to": "Asia/Tokyo"})
    assert result.structured_content["time"] == "2026-11-22T22:30:00+09:00", (where, result.structured_content)

    refused = await client.call_tool("jq_filter", {"filter": ".", "unknown": 1})
    assert refused.is_error, (where, refused)
    assert refused.structured_content["code"] == "args.unknown_property", (where, refused.structured_content)
    print(f"python, {where}: passed")


async def main():
    stdio = mcp.StdioServerParameters(command=PROGRAM, args=["--home", HOME, "serve", "--stdio", "--agent", "tester"])
    for mode in ("auto", "legacy"):
        async with mcp.Client(stdio, mode=mode) as client:
            await exercise(client, f"stdio, {mode}")
        async with create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            async with mcp.Client(streamable_http_client(ENDPOINT, http_client=http), mode=mode) as client:
                await exercise(client, f"http, {mode}")


asyncio.run(main())
