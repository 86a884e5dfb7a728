"""What the Messages API answers with: dictionaries whose members are attributes too, and a message as it grows."""

import json

from . import _native as native
from ._usage import tidy


class Object(dict):
    """A JSON object. `reply.usage.input_tokens` is `reply["usage"]["input_tokens"]`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no member {name!r}; there are {', '.join(self)}") from None

    def __setattr__(self, name, value):
        self[name] = value

    def to_dict(self):
        return json.loads(json.dumps(self))

    model_dump = to_dict


class Message(Object):
    """A reply. `info` is what the library knows about the call beside its content: attempts, metered, headers, ..."""

    _ended = None

    @property
    def info(self):
        return self._ended.info

    @property
    def _request_id(self):
        return self._ended.request_id

    @property
    def text(self):
        """The text blocks, joined."""
        return "".join(block["text"] for block in self.get("content") or () if block.get("type") == "text")


def parse(body):
    return json.loads(body, object_hook=Object)


def message_of(ended):
    message = Message(parse(ended.body))
    tidy(message.get("usage"))
    object.__setattr__(message, "_ended", ended)
    return message


class Snapshot:
    """The message as far as a stream has come: each event laid over what came before, as the Messages API defines it."""

    def __init__(self):
        self.message = None
        self._inputs = {}

    def take(self, event):
        """Lay `event` over the message: the events that the official SDK's helper derives from it."""
        kind = event.get("type")
        if kind == "message_start":
            self.message = parse(json.dumps(event["message"]))
            tidy(self.message.get("usage"))
        if self.message is None:
            return ()
        if kind == "content_block_start":
            self.message.content.append(Object(event["content_block"]))
        elif kind == "content_block_delta":
            return self._grow(event)
        elif kind == "content_block_stop":
            return self._finish(event)
        elif kind == "message_delta":
            self._close(event)
        elif kind == "message_stop":
            event["message"] = self.message
        return ()

    def _block(self, event):
        content, index = self.message.content, event.get("index", -1)
        return content[index] if 0 <= index < len(content) else None

    def _grow(self, event):
        block, delta = self._block(event), event.get("delta") or {}
        if block is None:
            return ()
        kind = delta.get("type")
        if kind == "text_delta":
            block["text"] = block.get("text", "") + delta["text"]
            return (Object(type="text", text=delta["text"], snapshot=block["text"]),)
        if kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta["thinking"]
            return (Object(type="thinking", thinking=delta["thinking"], snapshot=block["thinking"]),)
        if kind == "signature_delta":
            block["signature"] = delta["signature"]
            return (Object(type="signature", signature=block["signature"]),)
        if kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
            return (Object(type="citation", citation=delta["citation"], snapshot=block["citations"]),)
        if kind == "input_json_delta":
            index = event["index"]
            self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
            return (Object(type="input_json", partial_json=delta["partial_json"], snapshot=self._inputs[index]),)
        return ()

    def _finish(self, event):
        block, text = self._block(event), self._inputs.get(event.get("index"))
        if block is not None and text:
            try:
                block["input"] = parse(text)
            except ValueError:
                pass  # cut off, at max_tokens say
        event["content_block"] = block
        return ()

    def _close(self, event):
        for name, value in (event.get("delta") or {}).items():
            # A container that is not told of stays; the other members may become null again.
            if name != "container" or value is not None:
                self.message[name] = value
        usage = self.message.get("usage")
        if not isinstance(usage, dict):
            usage = self.message["usage"] = Object()
        # Totals, not increments; null says nothing.
        usage.update({name: value for name, value in (event.get("usage") or {}).items() if value is not None})
        tidy(usage)


def is_ping(kind):
    return kind == native.EVENT_PING
