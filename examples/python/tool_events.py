"""Tools that cost something by themselves have events of their own."""

import librevenium


# How long it took, and whether it failed. Also `with librevenium.meter_tool("search"):`.
@librevenium.meter_tool("search", cost_usd=0.004)
def search():
    return 3


@librevenium.meter_tool("crawl")
def crawl():
    raise LookupError("the page is gone")


with librevenium.usage_metadata(agent="writer"):
    print(f"search: {search()} hits")
    try:
        crawl()
    except LookupError as error:
        print(f"crawl: {error}")
