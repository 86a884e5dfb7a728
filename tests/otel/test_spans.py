"""What a span says, by OpenTelemetry's own reading of what was sent."""

from spans import *

ASKED = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["X", "Y"], "service_tier": "auto",
         "thinking": {"type": "enabled", "budget_tokens": 2048}, "output_config": {"effort": "high"}}
TOLD = {"organizationName": "Acme", "productName": "Help", "subscriptionId": "sub-1", "agent": "writer", "taskType": "sum",
        "traceId": "t-1", "traceType": "chat", "traceName": "n", "ticketId": "T-1", "environment": "test",
        "transactionName": "tx", "retryNumber": 2, "agenticJobId": "j-1", "agenticJobName": "jn", "agenticJobType": "jt",
        "agenticJobVersion": "1", "squadId": "s", "squadName": "sn", "squadRole": "sr", "operationSubtype": "o",
        "subscriber": {"id": "u-1", "email": "u@example.com", "credential": {"name": "key", "value": "hidden-word"}}}
WANTED = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": MODEL,
    "gen_ai.request.max_tokens": 100, "gen_ai.request.temperature": 0.5, "gen_ai.request.top_p": 0.9,
    "gen_ai.request.top_k": 40, "gen_ai.request.stop_sequences": ["X", "Y"], "gen_ai.request.reasoning.level": "high",
    "gen_ai.response.id": "msg_otel_1", "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    "gen_ai.response.finish_reasons": ["end_turn"], "gen_ai.usage.input_tokens": 2060, "gen_ai.usage.output_tokens": 7,
    "gen_ai.usage.cache_read.input_tokens": 1800, "gen_ai.usage.cache_write.input_tokens": 248,
    "gen_ai.usage.reasoning.output_tokens": 3, "server.address": "127.0.0.1", "server.port": int(SANDBOX.split(":")[2]),
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 200,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 48, "anthropic.request.service_tier": "auto",
    "anthropic.response.service_tier": "standard", "anthropic.thinking.type": "enabled",
    "anthropic.thinking.budget_tokens": 2048, "anthropic.message.stop_reason": "end_turn",
    "anthropic.organization.id": "org_otel",
    "revenium.transaction.id": "msg_otel_1", "revenium.middleware.source": "revenium-anthropic-c",
    "revenium.organization.name": "Acme", "revenium.product.name": "Help", "revenium.subscription.id": "sub-1",
    "revenium.agent.name": "writer", "revenium.task.type": "sum", "revenium.trace.id": "t-1", "revenium.trace.type": "chat",
    "revenium.trace.name": "n", "revenium.ticket.id": "T-1", "revenium.environment": "test",
    "revenium.transaction.name": "tx", "revenium.retry.number": 2, "revenium.job.id": "j-1", "revenium.job.name": "jn",
    "revenium.job.type": "jt", "revenium.job.version": "1", "revenium.squad.id": "s", "revenium.squad.name": "sn",
    "revenium.squad.role": "sr", "revenium.operation.subtype": "o", "revenium.subscriber.id": "u-1",
    "revenium.subscriber.email": "u@example.com", "revenium.subscriber.credential.name": "key",
}
TYPES = {str: "stringValue", int: "intValue", float: "doubleValue", bool: "boolValue", list: "arrayValue"}


def typed(values):
    return {name: (TYPES[type(value)], value) for name, value in values.items()}


def wanted(result, **more):
    return typed({**WANTED, "anthropic.request.id": result.request_id, **more})


def the_call(**more):
    plan(PATH, answer(**{"anthropic-organization-id": "org_otel"}))
    return create(**{**ASKED, "usage_metadata": TOLD, "revenium": {"traceparent": TRACEPARENT, "tracestate": "a=1"}, **more})


class Spans(SpanTest):
    def one(self, double):
        self.flush()
        [span] = double.spans()
        return span, attributes(span)

    def test_every_attribute_by_name_and_type_in_both_forms(self):
        for form, kind in [("http/protobuf", "application/x-protobuf"), ("http/json", "application/json")]:
            for compression in ["none", "gzip"]:
                with self.subTest(form=form, compression=compression):
                    double = self.double()
                    self.export_to(double.url, otlp_protocol=form, otlp_compression=compression,
                                   otlp_headers="x-key=a%20b,x-more=c", otlp_service_name="billing",
                                   otlp_resource_attributes={"deployment.environment.name": "test"})
                    before = time.time_ns()
                    result = the_call()
                    self.assertEqual(result.code, "OK")
                    after = time.time_ns()
                    span, found = self.one(double)
                    version = status()["version"]
                    lib.revenium_shutdown(5000)
                    self.assertEqual(found, wanted(result))
                    self.assertHas(span, traceId=TRACE, parentSpanId=PARENT, traceState="a=1", name=f"chat {MODEL}", kind=3,
                                   flags=1)
                    self.assertNotIn("status", span)
                    self.assertEqual(sorted([before, int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]), after]),
                                     [before, int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]), after])
                    # The provider's spans are children of ours.
                    self.assertHas(self.sent()[-1], traceparent=f"00-{TRACE}-{span['spanId']}-01", tracestate="a=1")
                    [request] = double.requests
                    self.assertEqual(request.path, "/v1/traces")
                    self.assertHas(request.headers, **{"content-type": kind, "x-key": "a b", "x-more": "c"})
                    [resource] = request.export["resourceSpans"]
                    self.assertEqual(attributes(resource["resource"]), typed({
                        "deployment.environment.name": "test", "service.name": "billing",
                        "telemetry.sdk.name": "librevenium", "telemetry.sdk.language": "rust",
                        "telemetry.sdk.version": version}))
                    for word in [b"hidden-word", b"never in a span", b"hello there", b"sk-ant"]:
                        self.assertNotIn(word, json.dumps(request.export).encode())

    def test_a_stream_has_a_time_to_its_first_chunk(self):
        double = self.double()
        self.export_to(double.url)
        _, result = stream()
        self.assertEqual(result.code, "OK")
        span, found = self.one(double)
        self.assertEqual(found["gen_ai.request.stream"], ("boolValue", True))
        kind, first = found["gen_ai.response.time_to_first_chunk"]
        took = (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9
        self.assertTrue(kind == "doubleValue" and 0 < first <= took, (first, took))
        self.assertEqual(found["gen_ai.response.id"][1], result.json["id"])

    def test_old_backends_get_the_older_name_too(self):
        double = self.double()
        self.export_to(double.url, otlp_semconv="both")
        result = the_call()
        _, found = self.one(double)
        self.assertEqual(found, wanted(result, **{"gen_ai.usage.cache_creation.input_tokens": 248}))

    def test_failures_are_errors_that_quote_nothing(self):
        double = self.double()
        self.export_to(double.url)
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": "secret-word"}}
        plan(PATH, {"status": 429, "text": json.dumps(error), "headers": {"content-type": "application/json"}})
        self.assertEqual(create().code, "E_RATE_LIMIT")
        span, found = self.one(double)
        self.assertEqual(span["status"], {"code": 2, "message": "RateLimitError (HTTP 429)"})
        self.assertEqual(found["error.type"], ("stringValue", "rate_limit_error"))
        self.assertEqual(found["gen_ai.response.finish_reasons"], ("arrayValue", ["error"]))
        self.assertNotIn("gen_ai.usage.input_tokens", found)
        self.assertNotIn("secret-word", json.dumps(double.requests[0].export))

    def test_a_cancelled_stream_says_what_had_come(self):
        double = self.double()
        self.export_to(double.url)
        plan(PATH, {"gap_ms": 200})
        _, result = stream(stop_after=1)
        self.assertEqual(result.code, "E_CANCELLED")
        span, found = self.one(double)
        self.assertEqual(span["status"]["code"], 2)
        self.assertEqual(found["error.type"][1], "cancelled")
        self.assertEqual(found["gen_ai.response.finish_reasons"][1], ["error"])
        self.assertIn("gen_ai.response.id", found)

    def test_bedrock_is_named_with_its_server(self):
        os.environ.update(KEYS)
        double = self.double()
        self.export_to(double.url, provider="bedrock", aws_region="us-east-1")
        self.assertEqual(create().code, "OK")
        span, found = self.one(double)
        self.assertEqual(found["gen_ai.provider.name"][1], "aws.bedrock")
        self.assertEqual((found["server.address"][1], found["server.port"][1]),
                         (WANTED["server.address"], WANTED["server.port"]))
        self.assertEqual(found["gen_ai.request.model"][1], MODEL)
        [sent] = requests()
        self.assertEqual(sent["headers"]["traceparent"], f"00-{span['traceId']}-{span['spanId']}-01")

    def test_without_a_context_a_call_begins_a_trace(self):
        double = self.double()
        self.export_to(double.url)
        create()
        create()
        self.flush()
        one, two = double.spans()
        self.assertNotEqual(one["traceId"], two["traceId"])
        self.assertTrue("parentSpanId" not in one and "parentSpanId" not in two)
        self.assertEqual({sent["traceparent"] for sent in self.sent()},
                         {f"00-{span['traceId']}-{span['spanId']}-01" for span in (one, two)})
        # A trace of one call is none that Revenium should group by.
        self.assertFalse(any("traceId" in record for record in self.records(2)))

    def test_who_does_not_record_the_trace_gets_no_span(self):
        double = self.double()
        self.export_to(double.url)
        create(revenium={"traceparent": NOT_SAMPLED})
        create(revenium={"meter": False})
        create(revenium={"dropin": True, "traceparent": TRACEPARENT})
        create()
        self.one(double)
        self.assertEqual([sent.get("traceparent") for sent in self.sent()][:3], [NOT_SAMPLED, None, TRACEPARENT])

    def test_drop_ins_get_spans_where_the_setting_says_so(self):
        double = self.double()
        self.export_to(double.url, otlp_dropin=True)
        create(revenium={"dropin": True, "traceparent": TRACEPARENT})
        span, _ = self.one(double)
        self.assertEqual(span["parentSpanId"], PARENT)

    def test_content_is_there_where_both_settings_say_so(self):
        asked = {"system": "Be short.", "messages": [{"role": "user", "content": "my key is sk-ant-api03-" + "A1" * 20},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "rain"}]}]}
        names = ["gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"]
        content = [{"type": "thinking", "thinking": "hidden-word", "signature": "s"}, {"type": "text", "text": "One"},
                   {"type": "tool_use", "id": "u", "name": "n", "input": {"city": "Paris"}}]
        for captured, exported in [(True, False), (False, True), (True, True)]:
            double = self.double()
            self.export_to(double.url, capture_prompts=captured, otlp_content=exported)
            plan(PATH, answer({**MESSAGE, "content": content, "stop_reason": "tool_use"}))
            self.assertEqual(create(**asked).code, "OK")
            _, found = self.one(double)
            lib.revenium_shutdown(5000)
            if not (captured and exported):
                self.assertFalse(set(names) & set(found))
                continue
            told = [(found[name][0], json.loads(found[name][1])) for name in names]
            self.assertEqual(told, [
                ("stringValue", [{"type": "text", "content": "Be short."}]),
                ("stringValue", [
                    {"role": "user", "parts": [{"type": "text", "content": "my key is sk-ant-***REDACTED***"}]},
                    {"role": "user", "parts": [{"type": "tool_call_response", "id": "t", "response": "rain"}]}]),
                ("stringValue", [{"role": "assistant", "finish_reason": "tool_use", "parts": [
                    {"type": "text", "content": "One"},
                    {"type": "tool_call", "id": "u", "name": "n", "arguments": {"city": "Paris"}}]}])])
            self.assertNotIn("hidden-word", json.dumps(double.requests[-1].export))

    def test_a_stream_has_its_content_too_and_it_is_cut_as_in_the_record(self):
        double = self.double()
        self.export_to(double.url, capture_prompts=True, otlp_content=True, max_prompt_size=200)
        _, result = stream(messages=[{"role": "user", "content": "word " * 100}])
        self.assertEqual(result.code, "OK")
        _, found = self.one(double)
        [message] = json.loads(found["gen_ai.input.messages"][1])
        self.assertTrue(message["parts"][0]["content"].endswith("...[TRUNCATED]"), message)
        [reply] = json.loads(found["gen_ai.output.messages"][1])
        self.assertEqual((reply["role"], reply["finish_reason"]), ("assistant", "end_turn"))
        self.assertTrue(reply["parts"][0]["content"].startswith("You said: word"), reply)
        self.assertNotIn("gen_ai.system_instructions", found)

    def test_spans_need_no_revenium_key(self):
        os.environ.pop("REVENIUM_METERING_API_KEY")
        double = self.double()
        self.export_to(double.url)
        result = the_call()
        self.assertFalse(result.info["metered"])
        _, found = self.one(double)
        without = wanted(result)
        del without["revenium.transaction.id"]
        self.assertEqual(found, without)

    def test_what_was_not_sent_has_no_span(self):
        double = self.double()
        self.export_to(double.url)
        self.assertEqual(create(b"{}", scope={"base_url": "no url"}).code, "E_CONFIG")
        create()
        self.one(double)


def record(told, scope=H(0)):
    """revenium_record(). Its result."""
    text, result = json.dumps(told).encode(), H()
    lib.revenium_record(text, len(text), scope, C.byref(result))
    return Result(result.value)


class OtherCalls(SpanTest):
    """Spans of what something else calls."""

    def one(self, double):
        self.flush()
        [span] = double.spans()
        return span, attributes(span)

    def request(self, **more):
        return {**BODY, "model": MODEL, "usage_metadata": {"agent": "a"},
                "revenium": {"traceparent": TRACEPARENT, "tracestate": "a=1", **more}}

    def test_a_recorded_call(self):
        double = self.double()
        self.export_to(double.url)
        result = record({"request": self.request(), "response": MESSAGE, "provider": "vertex", "duration_ms": 1500,
                         "started_at": 1795392233412, "streamed": True, "time_to_first_token_ms": 250})
        self.assertEqual(result.code, "OK")
        span, found = self.one(double)
        self.assertHas(span, traceId=TRACE, parentSpanId=PARENT, traceState="a=1", name=f"chat {MODEL}", kind=3)
        started = 1795392233412000000
        self.assertEqual((int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])), (started, started + 1500000000))
        self.assertEqual(found, typed({
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "gcp.vertex_ai", "gen_ai.request.model": MODEL,
            "gen_ai.request.max_tokens": 100, "gen_ai.request.stream": True, "gen_ai.response.id": "msg_otel_1",
            "gen_ai.response.model": MESSAGE["model"], "gen_ai.response.finish_reasons": ["end_turn"],
            "gen_ai.response.time_to_first_chunk": 0.25, "gen_ai.usage.input_tokens": 2060, "gen_ai.usage.output_tokens": 7,
            "gen_ai.usage.cache_read.input_tokens": 1800, "gen_ai.usage.cache_write.input_tokens": 248,
            "gen_ai.usage.reasoning.output_tokens": 3, "anthropic.message.stop_reason": "end_turn",
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 200,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 48, "anthropic.response.service_tier": "standard",
            "revenium.transaction.id": "msg_otel_1", "revenium.middleware.source": "revenium-anthropic-c",
            "revenium.agent.name": "a", "revenium.trace.id": TRACE}))

    def test_a_recorded_failure_and_one_that_is_tried_again(self):
        double = self.double()
        self.export_to(double.url)
        record({"request": self.request(meter_retryable=False), "error": {"status": 529}})
        record({"request": self.request(), "error": {"status": 529, "type": "overloaded_error"}})
        span, found = self.one(double)
        self.assertEqual((span["status"]["code"], found["error.type"][1]), (2, "overloaded_error"))

    def test_answers_of_a_batch_and_calls_of_an_sdk_are_none(self):
        double = self.double()
        self.export_to(double.url)
        record({"request": self.request(), "response": {**MESSAGE, "id": "msg_b"}, "batch": True, "batch_id": "b"})
        record({"request": self.request(dropin=True), "response": {**MESSAGE, "id": "msg_d"}})
        record({"request": self.request(traceparent=NOT_SAMPLED), "response": {**MESSAGE, "id": "msg_n"}})
        self.assertEqual(len(self.records(3)), 3)
        self.flush()
        self.assertEqual(double.spans(), [])

    def test_a_tapped_call(self):
        double = self.double()
        self.export_to(double.url, capture_prompts=True, otlp_content=True)
        events = ""  # as they went past
        for kind, member in [("message_start", {"message": {**MESSAGE, "content": []}}),
                             ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
                             ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hi"}}),
                             ("content_block_stop", {"index": 0}),
                             ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
                             ("message_stop", {})]:
            events += f"event: {kind}\ndata: {json.dumps({'type': kind, **member})}\n\n"
        text, tap = json.dumps(self.request()).encode(), H()
        self.assertEqual(lib.revenium_tap_new(text, len(text), H(0), C.byref(tap)), 0)
        for piece in (events[:100], events[100:]):
            self.assertEqual(lib.revenium_tap_write(tap, piece.encode(), len(piece.encode())), 0)
        self.assertEqual(lib.revenium_tap_end(tap, None, 0), 0)
        lib.revenium_release(tap)
        self.flush()
        [span] = double.spans()
        found = attributes(span)
        self.assertHas(span, traceId=TRACE, parentSpanId=PARENT)
        self.assertEqual(found["gen_ai.usage.output_tokens"], ("intValue", 9))
        self.assertEqual(found["gen_ai.request.stream"], ("boolValue", True))
        self.assertGreaterEqual(found["gen_ai.response.time_to_first_chunk"][1], 0)
        [reply] = json.loads(found["gen_ai.output.messages"][1])
        self.assertEqual(reply["parts"], [{"type": "text", "content": "Hi"}])

    def test_nobody_ends_a_tap(self):
        os.environ.pop("REVENIUM_METERING_API_KEY")
        double = self.double()
        self.export_to(double.url)
        text, tap = json.dumps(self.request()).encode(), H()
        self.assertEqual(lib.revenium_tap_new(text, len(text), H(0), C.byref(tap)), 0)
        lib.revenium_release(tap)
        span, found = self.one(double)
        self.assertEqual((found["error.type"][1], found["gen_ai.response.finish_reasons"][1]), ("cancelled", ["error"]))
        self.assertNotIn("revenium.transaction.id", found)

    def test_a_tool_event(self):
        double = self.double()
        self.export_to(double.url)
        layer, scope = json.dumps({"organizationName": "Acme", "agent": "outer", "revenium": {"traceparent": TRACEPARENT}}).encode(), H()
        self.assertEqual(lib.revenium_scope_new(H(0), layer, len(layer), 0, C.byref(scope)), 0)
        self.addCleanup(lib.revenium_release, scope)
        results = []
        for event in [{"toolId": "search", "durationMs": 250, "timestamp": "2026-11-23T00:03:53.412Z", "agent": "own"},
                      {"toolId": "crawl", "errorType": "IOError", "errorMessage": "never in a span"}]:
            text, result = json.dumps(event).encode(), H()
            lib.revenium_tool_event(text, len(text), scope, C.byref(result))
            results.append(Result(result.value))
        self.flush()
        self.assertEqual([result.code for result in results], ["OK", "OK"])
        spans = {span["name"]: span for span in double.spans()}
        well, failed = spans["execute_tool search"], spans["execute_tool crawl"]
        self.assertHas(well, traceId=TRACE, parentSpanId=PARENT, kind=1, startTimeUnixNano="1795392233412000000",
                       endTimeUnixNano="1795392233662000000")
        self.assertEqual(attributes(well), typed({
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
            "revenium.transaction.id": results[0].info["transaction_id"],
            "revenium.middleware.source": "revenium-anthropic-c", "revenium.organization.name": "Acme",
            "revenium.agent.name": "own", "revenium.trace.id": TRACE}))
        self.assertEqual((failed["status"], attributes(failed)["error.type"][1]), ({"code": 2, "message": "IOError"}, "IOError"))
        self.assertNotIn("never in a span", json.dumps([request.export for request in double.requests]))


class Settings(SpanTest):
    def refused(self, config, **environment):
        os.environ.update(environment)
        text, detail = json.dumps(config).encode(), H()
        code = lib.revenium_init(text, len(text), C.byref(detail))
        result = Result(detail.value)
        self.assertNotEqual(code, 0)
        return result

    def test_an_endpoint_at_revenium_is_refused(self):
        for endpoint in [SANDBOX, SANDBOX + "/meter/v2/otlp", "https://api.revenium.ai/meter/v2/otlp", "https://x.revenium.io"]:
            with self.subTest(endpoint=endpoint):
                result = self.refused({"otlp": True, "otlp_endpoint": endpoint})
                self.assertEqual(result.code, "E_CONFIG")
                self.assertIn("billed twice", result.message)
        self.refused({"otlp": True}, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=SANDBOX + "/v1/traces")

    def test_without_metering_it_is_nobodys_business_until_a_key_comes(self):
        os.environ.pop("REVENIUM_METERING_API_KEY")
        plan("/v1/traces", {"text": ""})
        self.export_to(SANDBOX, otlp_protocol="http/json")
        create()
        self.flush()
        self.wait_for(exported=1)
        os.environ["REVENIUM_METERING_API_KEY"] = "rev_mk_sandbox_0123456789abcdef"
        until = time.monotonic() + 30
        while not create().info["metered"]:
            self.assertLess(time.monotonic(), until)
        self.flush()
        exported = status()["spans"]["exported"]
        self.assertTrue(create().info["metered"])
        self.flush()
        self.assertHas(status()["spans"], exported=exported, pending=0)

    def test_the_variables_of_opentelemetry_mean_nothing_until_it_is_on(self):
        double = self.double()
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": double.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "nonsense",
                     "OTEL_SERVICE_NAME": "mine", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20x"}
        os.environ.update(variables)
        self.start()
        create()
        self.flush()
        self.assertIsNone(status()["spans"])
        lib.revenium_shutdown(5000)
        os.environ.update(REVENIUM_OTLP="1", OTEL_EXPORTER_OTLP_PROTOCOL="http/json", OTEL_RESOURCE_ATTRIBUTES="a=b%2Cc")
        self.start()
        create()
        self.flush()
        [request] = double.requests
        self.assertHas(request.headers, authorization="Basic x", **{"content-type": "application/json"})
        resource = attributes(request.export["resourceSpans"][0]["resource"])
        self.assertHas(resource, **{"service.name": ("stringValue", "mine"), "a": ("stringValue", "b,c")})
        self.assertIs(status()["settings"]["otlp_headers"], True)
        lib.revenium_shutdown(5000)
        os.environ["OTEL_SDK_DISABLED"] = "true"
        self.start()
        self.assertIsNone(status()["spans"])
