"""The official Python client lists and calls tools, in both eras of the protocol and over both transports; a call that
is held runs once a person agreed, whether the client shows pages or not."""

import asyncio
import sys

import mcp
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from exercise import EXPECTED, HELD, Home, refusal

PROGRAM, HOME, ENDPOINT, TOKEN = sys.argv[1:]
home = Home(PROGRAM, HOME)


async def exercise(client, where):
    listed = await client.list_tools()
    names = [tool.name for tool in listed.tools]
    assert names == EXPECTED, (where, names)
    assert all(tool.description and tool.input_schema["type"] == "object" for tool in listed.tools), where

    result = await client.call_tool("jq_filter", {"filter": ".a + 1", "input": {"a": 41}})
    assert not result.is_error, (where, result)
    assert result.structured_content["results"] == [42], (where, result.structured_content)

    result = await client.call_tool("time_convert", {"time": "2026-11-22T14:30:00+01:00", "to": "Asia/Tokyo"})
    assert result.structured_content["time"] == "2026-11-22T22:30:00+09:00", (where, result.structured_content)

    refused = await client.call_tool("jq_filter", {"filter": ".", "unknown": 1})
    assert refused.is_error, (where, refused)
    assert refusal(refused)["code"] == "args.unknown_property", (where, refused)

    held = await client.call_tool("time_difference", HELD)
    assert held.is_error and refusal(held)["code"] == "approval_required", (where, held)
    home.approve(refusal(held)["approvalId"])
    done = await client.call_tool("time_difference", HELD)
    assert not done.is_error and done.structured_content["days"] == 21, (where, done)
    print(f"python, {where}: passed")


async def shown_a_page(client, where, pages):
    """The client opens the page that it is asked to; what a person answers there comes back with the call."""
    done = await client.call_tool("time_difference", HELD)
    assert not done.is_error and done.structured_content["days"] == 21, (where, done)
    assert len(pages) == 1 and "/approvals/" in pages.pop(), where
    print(f"python, {where}, with a page: passed")


async def main():
    pages = []

    async def opens(context, params):
        assert params.mode == "url", params
        pages.append(params.url)
        home.approve(params.url.rsplit("/", 1)[1])
        return mcp.types.ElicitResult(action="accept")

    stdio = mcp.StdioServerParameters(command=PROGRAM, args=["--home", HOME, "serve", "--stdio", "--agent", "tester"])
    for mode in ("auto", "legacy"):
        for options in ({}, {"elicitation_callback": opens}):
            check = (lambda client, where: shown_a_page(client, where, pages)) if options else exercise
            async with mcp.Client(stdio, mode=mode, **options) as client:
                await check(client, f"stdio, {mode}")
            async with create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
                async with mcp.Client(streamable_http_client(ENDPOINT, http_client=http), mode=mode, **options) as client:
                    await check(client, f"http, {mode}")


asyncio.run(main())
