"""LangChain's adapter, over both transports: what an agent of it is given are LangChain's own tools."""

import asyncio
import sys

from langchain_core.tools import ToolException
from langchain_mcp_adapters.client import MultiServerMCPClient

from exercise import EXPECTED, HELD, Home

PROGRAM, HOME, ENDPOINT, TOKEN = sys.argv[1:]
home = Home(PROGRAM, HOME)


async def read(tool, arguments):
    """What a model reads of a call, however it ended: the adapter gives it errors as text, or raises them."""
    try:
        return str(await tool.ainvoke(arguments))
    except ToolException as error:
        return str(error)


async def exercise(tools, where):
    assert sorted(tools) == EXPECTED, (where, sorted(tools))
    answer = str(await tools["jq_filter"].ainvoke({"filter": ".a + 1", "input": {"a": 41}}))
    assert "42" in answer, (where, answer)
    said = await read(tools["jq_filter"], {"filter": "error(\"no\")"})
    assert "plugin.failed" in said, (where, said)
    said = await read(tools["time_difference"], HELD)
    waiting = home.waiting()
    assert len(waiting) == 1 and waiting[0] in said, (where, waiting, said)
    home.approve(waiting[0])
    answer = str(await tools["time_difference"].ainvoke(HELD))
    assert "21" in answer, (where, answer)
    print(f"langchain, {where}: passed")


async def main():
    client = MultiServerMCPClient(
        {
            "stdio": {
                "transport": "stdio",
                "command": PROGRAM,
                "args": ["--home", HOME, "serve", "--stdio", "--agent", "tester"],
            },
            "http": {
                "transport": "streamable_http",
                "url": ENDPOINT,
                "headers": {"Authorization": f"Bearer {TOKEN}"},
            },
        }
    )
    for where in ("stdio", "http"):
        tools = await client.get_tools(server_name=where)
        await exercise({tool.name: tool for tool in tools}, where)


asyncio.run(main())
