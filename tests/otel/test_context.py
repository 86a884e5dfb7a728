"""Trace context: taken, handed on and recorded, whether or not spans are exported."""

from spans import *


class Context(SpanTest):
    def test_it_reaches_the_provider_as_it_was_given(self):
        self.start()
        create(revenium={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})
        create(revenium={"headers": {"Traceparent": TRACEPARENT, "tracestate": "a=1"}})
        create(scope={"traceparent": TRACEPARENT, "tracestate": "a=1"})
        create(scope={"traceparent": TRACEPARENT}, revenium={"traceparent": NOT_SAMPLED})
        create(scope={"traceparent": TRACEPARENT}, revenium={"headers": {"traceparent": NOT_SAMPLED}})
        found = [(sent.get("traceparent"), sent.get("tracestate")) for sent in self.sent()]
        self.assertEqual(found, [(TRACEPARENT, "a=1,b=2"), (TRACEPARENT, "a=1"), (TRACEPARENT, "a=1"),
                                 (NOT_SAMPLED, None), (NOT_SAMPLED, None)])

    def test_none_is_invented_and_a_malformed_one_is_none(self):
        self.start()
        create()
        create(revenium={"traceparent": "00-xyz"})
        create(revenium={"tracestate": "a=1"})
        create(scope={"traceparent": TRACEPARENT}, revenium={"traceparent": TRACEPARENT.upper()})
        self.assertEqual([sent.get("traceparent") for sent in self.sent()], [None, None, None, TRACEPARENT])
        self.assertEqual([sent.get("tracestate") for sent in self.sent()], [None] * 4)

    def test_every_attempt_has_it(self):
        self.start({"max_retries": 1})
        plan(PATH, {"status": 529, "text": "{}"}, answer())
        self.assertEqual(create(revenium={"traceparent": TRACEPARENT}).code, "OK")
        self.assertEqual([sent.get("traceparent") for sent in self.sent()], [TRACEPARENT] * 2)

    def test_the_record_is_of_its_trace_unless_the_metadata_names_another(self):
        self.start({"metadata": {"agent": "a"}})
        ids = []
        for case in [{"revenium": {"traceparent": TRACEPARENT}}, {},
                     {"revenium": {"traceparent": TRACEPARENT}, "usage_metadata": {"trace_id": "own"}}]:
            sandbox("DELETE", "/sandbox/records")
            create(**case)
            ids.append(self.record().get("traceId"))
        self.assertEqual(ids, [TRACE, None, "own"])

    def test_the_record_is_left_alone_where_the_setting_says_so(self):
        self.start({"trace_id_from_context": False})
        create(revenium={"traceparent": TRACEPARENT})
        self.assertNotIn("traceId", self.record())

    def test_a_body_that_names_its_own_endpoint_gets_no_context_of_the_scope(self):
        self.start({"anthropic_base_url": "http://127.0.0.1:9"})
        own = {"base_url": SANDBOX, "api_key": "sk-own"}
        create(scope={"traceparent": TRACEPARENT}, revenium=own)
        create(scope={"traceparent": TRACEPARENT}, revenium={**own, "traceparent": NOT_SAMPLED})
        self.assertEqual([sent.get("traceparent") for sent in self.sent()], [None, NOT_SAMPLED])

    def test_bedrock_gets_it_outside_of_what_is_signed(self):
        os.environ.update(KEYS)
        self.start({"provider": "bedrock", "aws_region": "us-east-1"})
        create(revenium={"traceparent": TRACEPARENT, "tracestate": "a=1", "headers": {"x-own": "yes"}})
        [sent] = [request["headers"] for request in requests()]
        self.assertHas(sent, traceparent=TRACEPARENT, tracestate="a=1", **{"x-own": "yes"})
        self.assertIn("x-own", sent["authorization"])
        self.assertNotIn("traceparent", sent["authorization"])
