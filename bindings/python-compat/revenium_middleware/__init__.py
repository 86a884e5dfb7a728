"""The decorators of Revenium's Python middleware, over librevenium: for functions, coroutines, generators and asynchronous
generators, and for `with` and `async with`. They nest: the inner one wins, field by field."""

from librevenium import flush, is_initialized, shutdown, status, status_json
from librevenium import usage_metadata as _usage_metadata
from librevenium._scopes import _Scope

get_metering_status = status


def revenium_metadata(fields=None, **more):
    """`@revenium_metadata(task_type="chat", organization_name="Acme")`: usage metadata for every call inside."""
    return _usage_metadata(fields, **more)


def revenium_meter(operation_type=None, metadata=None, name=None):
    """`@revenium_meter()` or `@revenium_meter`: the calls inside are metered even if metering is selective.

    metadata: usage metadata for them too. operation_type and name: taken, as in the middleware that had this name first, and
    of no effect; what a call does is seen from the call.
    """
    if callable(operation_type):
        return _Scope(None, True)(operation_type)
    return _Scope(metadata if isinstance(metadata, dict) else None, True)


track_usage = revenium_meter

__all__ = [
    "flush",
    "get_metering_status",
    "is_initialized",
    "revenium_metadata",
    "revenium_meter",
    "shutdown",
    "status",
    "status_json",
    "track_usage",
]
