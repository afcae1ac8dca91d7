"""The thin asyncio shell: datagrams in and out, nothing decided."""
