"""The shared conformance cases, through this package's surface: `conformance.py RUNNER --lib PATH ...`, where RUNNER is the
cases' own run.py, which drives whatever has the methods of its `Library`."""

import importlib.util
import os
import sys


def load(runner, path):
    os.environ["REVENIUM_LIBRARY"] = path
    import librevenium
    from librevenium import _scopes as scopes

    class Library:
        def __init__(self, _path):
            self._pushed = []

        def start(self, config):
            librevenium.init(config)

        def scope(self, parent, metadata, flags=0):
            return scopes.Layer(parent if parent != 1 else None, metadata, bool(flags & 1), None)

        def scope_push(self, scope):
            self._pushed.append(scope)
            return 0

        def scope_pop(self, scope):
            return 0 if self._pushed.pop() is scope else -5

        def _within(self, scope):
            scope = scope or (self._pushed[-1] if self._pushed else None)
            scopes._current.set(None if scope == 1 else scope)

        def create(self, request, scope=0):
            request = dict(request)
            if request.pop("stream", False):
                return self.stream(request, scope)
            self._within(scope)
            try:
                return self._done(librevenium.messages.create(**request))
            except librevenium.AnthropicError as error:
                return self._failed(error, "", None)

        def stream(self, request, scope=0):
            self._within(scope)
            request = {name: value for name, value in request.items() if name != "stream"}
            events, stream = [], None
            try:
                with librevenium.messages.stream(**request) as stream:
                    for event in stream:
                        events.append({"json": str(event)})
                    return self._done(stream.get_final_message(), events)
            except librevenium.AnthropicError as error:
                message = stream and stream.current_message_snapshot
                blocks = message.content if message else []
                return self._failed(error, "".join(block.get("text", "") for block in blocks), message, events)

        def _done(self, message, events=None):
            return self._outcome("REVENIUM_OK", "", message, message.text, message.info, message, events)

        def _failed(self, error, text, message, events=None):
            body = getattr(error, "body", None)
            return self._outcome(error.code, error.message, body, text, {}, message, events)

        def _outcome(self, code, sentence, body, text, info, message, events):
            usage = (message or {}).get("usage") or {}
            names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
            counts = {name: usage[name] if isinstance(usage.get(name), int) else -1 for name in names}
            return {
                "code": code, "result_code": code, "json": body, "text": text, "message": sentence, "info": info,
                "usage": {**counts, "metered": int(info.get("metered", True))}, "events": events,
            }  # fmt: skip

        def flush(self, timeout_ms):
            return librevenium.flush(timeout_ms)

        def shutdown(self, timeout_ms):
            return librevenium.shutdown(timeout_ms)

    # Under the name that the runner imports.
    librevenium.Library = Library
    spec = importlib.util.spec_from_file_location("conformance_run", runner)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    runner = sys.argv[1]
    path = sys.argv[sys.argv.index("--lib") + 1]
    module = load(runner, path)
    # Each case runs in a process of its own, of this program.
    module.__file__ = __file__
    popen = module.subprocess.run
    module.subprocess.run = lambda command, **options: popen([*command[:2], runner, *command[2:]], **options)
    del sys.argv[1]
    return module.main()


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, os.path.dirname(here))
    sys.exit(main())
