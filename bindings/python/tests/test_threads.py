"""Threads that do everything at once: what a Python without the GIL makes of it too."""

import asyncio
import gc
import threading

import librevenium
from conftest import params
from librevenium import meter, usage_metadata

THREADS, ROUNDS = 16, 20


def test_threads_that_call_stream_drop_and_wait_at_once(sandbox):
    together, failed = threading.Barrier(THREADS), []

    async def three():
        await asyncio.gather(*(librevenium.async_messages.create(**params()) for _ in range(3)))

    def work(number):
        try:
            together.wait()
            for turn in range(ROUNDS):
                with usage_metadata(agent=f"thread {number}"):
                    with meter():
                        librevenium.messages.create(**params())
                    assert len(list(librevenium.messages.create(**params(), stream=True))) > 3
                    dropped = librevenium.messages.create(**params(), stream=True)
                    next(dropped)
                    del dropped
                    asyncio.run(three())
                if turn % 5 == 0:
                    gc.collect()
                    assert librevenium.status().initialized
        except BaseException as fault:
            failed.append(fault)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    records = sandbox.records(THREADS * ROUNDS * 6)
    agents = [record["agent"] for record in records]
    assert {agent: agents.count(agent) for agent in agents} == {f"thread {n}": ROUNDS * 6 for n in range(THREADS)}
