"""Many calls at once, first for their replies, then as streams; cancelling one."""

import asyncio
import os

import librevenium

client = librevenium.AsyncAnthropic()


def params(content):
    model = os.environ.get("MODEL", "claude-sonnet-5-5")
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": content}]}


async def main():
    # ---- replies ----

    questions = ["First callback.", "Second callback.", "Third callback."]
    replies = await asyncio.gather(*(client.messages.create(**params(question)) for question in questions))
    for number, reply in enumerate(replies, 1):
        print(f"call {number}: {reply.text}")

    # ---- streams ----

    pieces = []

    async def streamed():
        async with client.messages.stream(**params("Into the queue, piece by piece.")) as stream:
            async for text in stream.text_stream:
                pieces.append(text)
        return "".join(pieces)

    async def cancelled():
        question = "Count from one to fifty in words. The end of it will reach nobody."
        stream = await client.messages.create(**params(question), stream=True)
        try:
            async for event in stream:
                if event.type == "content_block_delta":
                    await stream.close()
        except librevenium.APICancelledError as error:
            return error.code

    whole = client.messages.create(**params("Into the queue, whole."))
    first, second, third = await asyncio.gather(whole, streamed(), cancelled())
    for number, text in enumerate((first.text, second, third), 1):
        print(f"call {number}: {text}")
    print(f"call 2 came {'in pieces' if len(pieces) > 1 else 'in one piece'}")


asyncio.run(main())
