"""Many calls at a time, and for long."""

import json

from conftest import params, run

BEGIN = f"""
import asyncio, gc, json, os, time
import librevenium
P = {params()!r}
def memory():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
def threads(): return len(os.listdir("/proc/self/task"))
"""


def test_load_two_thousand_calls_in_flight(sandbox):
    base = sandbox.place({"deltas": 10, "gap_ms": 1500})
    status, out, err = run(
        f"""{BEGIN}
client = librevenium.AsyncAnthropic(base_url={base!r})
async def one():
    async with client.messages.stream(**P) as stream:
        return await stream.get_final_text()
async def main():
    await librevenium.async_messages.create(**P)
    before = threads()
    tasks = [asyncio.ensure_future(one()) for _ in range(2000)]
    most = 0
    while most < 2000 and not all(task.done() for task in tasks):
        await asyncio.sleep(0.01)
        most = max(most, librevenium.status().calls_in_flight)
    more = threads() - before
    texts = await asyncio.gather(*tasks)
    assert len(texts) == 2000 and len(set(texts)) == 1 and texts[0]
    print(json.dumps([most, more]))
asyncio.run(main())
assert librevenium.flush(30000)
""",
        env={"REVENIUM_MAX_RETRIES": "5"},
    )
    assert (status, err) == (0, "")
    most, more = json.loads(out)
    assert (most, more) == (2000, 0)
    assert len(sandbox.records(2001)) == 2001
    print(f"\nmeasured: {most} streams in flight on one event loop, {more} threads more")


def test_load_ten_thousand_calls_leave_memory_as_it_was(sandbox):
    status, out, err = run(
        f"""{BEGIN}
async def wave(count):
    await asyncio.gather(*(librevenium.async_messages.create(**P, usage_metadata={{"agent": "a"}}) for _ in range(count)))
async def batch(waves):
    for _ in range(waves): await wave(100)
def calls(count):
    asyncio.run(batch(count // 200))
    for _ in range(count // 4):
        with librevenium.usage_metadata(organizationName="Acme"):
            librevenium.messages.create(**P)
            list(librevenium.messages.create(**P, stream=True))
    librevenium.flush(30000)
calls(2000)
before = memory()
started = time.process_time()
calls(10000)
print(json.dumps([memory() - before, round((time.process_time() - started) / 10000 * 1e6)]))
""",
        # One sender would leave records waiting, which take memory.
        env={"REVENIUM_LOG_LEVEL": "ERROR", "REVENIUM_METERING_WORKERS": "64"},
    )
    assert (status, err) == (0, "")
    grown, cost = json.loads(out)
    print(f"\nmeasured: 10,000 calls, {grown} KiB more, {cost} us of CPU a call (development build, client and delivery)")
    # A leak of 400 bytes a call would show; what the allocator keeps of a busy moment is less.
    assert grown < 4000
