"""Errors in the words of the Messages API, one retry policy, and the way to Anthropic when Bedrock does not answer."""

import json

from revenium import *

KEY = {"anthropic_api_key": "sk-ant-x", "provider": "bedrock"}
NO_KEYS = dict.fromkeys(KEYS)


def error(status, kind=None, message="secret-word", **headers):
    if kind:
        headers["x-amzn-errortype"] = kind
    return {"status": status, "json": {"message": message}, "headers": headers}


class Errors(BedrockTest):
    def test_codes(self):
        self.start({"quote_errors": False})
        for status_code, kind, code in [
            (400, "ValidationException", "E_BAD_REQUEST"),
            (400, "ServiceQuotaExceededException", "E_RATE_LIMIT"),
            (400, "ExpiredTokenException", "E_AUTHENTICATION"),
            (403, "AccessDeniedException:http://internal.amazon.com/coral/com.amazon.bedrock/", "E_PERMISSION_DENIED"),
            (403, "UnrecognizedClientException", "E_AUTHENTICATION"),
            (403, "InvalidSignatureException", "E_AUTHENTICATION"),
            (403, "ExpiredTokenException", "E_AUTHENTICATION"),
            (404, "ResourceNotFoundException", "E_NOT_FOUND"),
            (408, "ModelTimeoutException", "E_API"),
            (409, "ConflictException", "E_CONFLICT"),
            (413, None, "E_REQUEST_TOO_LARGE"),
            (424, "ModelErrorException", "E_API"),
            (429, "ThrottlingException", "E_RATE_LIMIT"),
            (429, "ModelNotReadyException", "E_RATE_LIMIT"),
            (500, "InternalServerException", "E_INTERNAL_SERVER"),
            (503, "ServiceUnavailableException", "E_INTERNAL_SERVER"),
            (529, None, "E_OVERLOADED"),
            (301, None, "E_API"),
        ]:
            for path, call in [(PATH, create), (STREAM_PATH, lambda: stream()[1])]:
                with self.subTest(status=status_code, kind=kind, path=path):
                    sandbox("DELETE", "/sandbox/records")
                    plan(path, error(status_code, kind))
                    result = call()
                    self.assertEqual(result.code, code, result.message)
                    self.assertIn((kind or "").split(":")[0], result.message)
                    self.assertNotIn("secret-word", result.message)
                    self.assertRegex(result.request_id, "^00000000-")
                    self.assertHas(result.info, http_status=status_code, provider="bedrock", attempts=1)
                    self.assertEqual(json.loads(result.json["error"]["body"]), {"message": "secret-word"})
                    self.assertEqual(result.json["type"], "error")
                    record = self.record()
                    self.assertHas(record, provider="AWS", stopReason="ERROR", model=ID, totalTokenCount=0)
                    self.assertIn(f"(HTTP {status_code})", record["errorReason"])

    def test_the_name_may_be_in_the_body(self):
        self.start()
        plan(PATH, {"status": 403, "json": {"__type": "x#ExpiredTokenException"}, "headers": {"x-amzn-errortype": ""}})
        self.assertEqual(create().code, "E_AUTHENTICATION")

    def test_what_is_no_answer_of_aws(self):
        self.start()
        plan(PATH, {"status": 502, "text": "<html>Bad Gateway</html>"})
        result = create()
        self.assertEqual((result.code, result.json["error"]["body"]), ("E_INTERNAL_SERVER", "<html>Bad Gateway</html>"))
        plan(PATH, {"status": 200, "text": "<html>hello</html>"})
        self.assertEqual(create().code, "E_STREAM")
        plan(STREAM_PATH, {"status": 200, "text": "<html>hello</html>"})
        self.assertEqual(stream()[1].code, "E_STREAM")

    def test_retries_are_ours_alone(self):
        self.start({"max_retries": 2})
        soon = {"retry-after-ms": "1"}
        plan(PATH, error(429, "ThrottlingException", **soon), error(503, None, **soon), {})
        result = create()
        self.assertEqual((result.code, result.info["attempts"], len(requests())), ("OK", 3, 3))
        self.assertEqual(len({sent["raw"] for sent in requests()}), 1)
        sandbox("DELETE", "/sandbox/requests")
        plan(PATH, error(500, "InternalServerException", **soon))
        result = create()
        self.assertEqual((result.code, result.info["attempts"], len(requests())), ("E_INTERNAL_SERVER", 3, 3))
        for status_code in [400, 403, 404, 424]:
            sandbox("DELETE", "/sandbox/requests")
            plan(PATH, error(status_code, **soon))
            self.assertEqual((create().info["attempts"], len(requests())), (1, 1), status_code)
        self.assertEqual(len(self.records(6)), 6)

    def test_connections_that_fail_before_an_answer_are_tried_again(self):
        self.start({"max_retries": 1})
        plan(PATH, "reset", {})
        self.assertEqual(create().info["attempts"], 2)
        plan(STREAM_PATH, "close", {})
        self.assertEqual(stream()[1].info["attempts"], 2)

    def test_an_answer_that_breaks_off_is_not_asked_for_again(self):
        self.start({**KEY, "max_retries": 2, "read_timeout_ms": 300})
        for end, code in [("cut", "E_STREAM"), ("reset", "E_STREAM"), ("stall", "E_TIMEOUT")]:
            sandbox("DELETE", "/sandbox/requests")
            plan(PATH, {"end": end})
            self.assertEqual(create().code, code)
            self.assertEqual(len(sandbox("GET", "/sandbox/requests")), 1, end)
        for record in self.records(3):
            self.assertHas(record, provider="AWS", stopReason="ERROR")

    def test_nobody_there(self):
        self.start(AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://127.0.0.1:9")
        result = create()
        self.assertEqual(result.code, "E_CONNECTION")
        self.assertIn("Could not connect to AWS Bedrock", result.message)

    def test_an_endpoint_that_is_none(self):
        self.start(AWS_ENDPOINT_URL_BEDROCK_RUNTIME="not a url")
        result = create()
        self.assertEqual(result.code, "E_CONFIG")
        self.assertIn("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", result.message)

    def test_silence_and_the_calls_own_limit(self):
        self.start({"read_timeout_ms": 200})
        plan(PATH, "stall")
        result = create()
        self.assertEqual((result.code, result.info["attempts"]), ("E_TIMEOUT", 1), result.message)
        self.assertEqual(create(revenium={"timeout_ms": 100}).code, "E_TIMEOUT")


class Fallback(BedrockTest):
    def asked(self):
        asked = [sent["service"] for sent in sandbox("GET", "/sandbox/requests")]
        sandbox("DELETE", "/sandbox/requests")
        return asked

    def test_without_credentials_anthropic_answers_and_is_billed(self):
        self.start(KEY, **NO_KEYS)
        for answer in [create(), stream()[1]]:
            self.assertEqual(answer.code, "OK", answer.message)
            self.assertHas(answer.info, provider="anthropic", attempts=2)
            self.assertHas(answer.info["fallback"], **{"from": "bedrock", "code": "REVENIUM_E_AWS"})
            self.assertIn("AWS_ACCESS_KEY_ID", answer.info["fallback"]["message"])
        self.assertEqual(self.asked(), ["anthropic", "anthropic"])
        for record in self.records(2):
            self.assertHas(record, provider="ANTHROPIC", model="claude-sonnet-4-5-20250929", stopReason="END", region=None)

    def test_the_log_says_who_is_asked_and_why(self):
        lines = []
        on_log = ON_LOG(lambda _, level, text, length: lines.append((level, C.string_at(text, length).decode())))
        self.start(KEY, **NO_KEYS)
        lib.revenium_set_log(on_log, None, 4)
        self.addCleanup(lib.revenium_set_log, ON_LOG(), None, 1)
        create()
        self.assertIn((4, "provider bedrock: the setting provider says so"), lines)
        warnings = [text for level, text in lines if level == 2]
        self.assertEqual(len(warnings), 1)
        self.assertIn("asking Anthropic directly: No AWS credentials were found", warnings[0])

    def test_events_come_from_who_answers(self):
        self.start(KEY)
        plan(STREAM_PATH, error(403))
        frames, result = submit(request(stream=True))
        self.assertEqual([kind for kind, _ in frames].count(HEAD_FRAME), 1)
        self.assertHas(json.loads(frames[0][1]), provider="anthropic")
        self.assertEqual((result.code, result.info["provider"]), ("OK", "anthropic"))
        self.assertHas(self.record(), provider="ANTHROPIC", isStreamed=True)

    def test_when_it_helps(self):
        self.start(KEY)
        for answer, helps in [
            (error(403, "AccessDeniedException"), True),
            (error(403, "ExpiredTokenException"), True),
            (error(404, "ResourceNotFoundException"), True),
            (error(429, "ThrottlingException"), True),
            (error(500), True),
            (error(503), True),
            (error(400, "ValidationException", "The provided model identifier is invalid."), True),
            (error(400, "ValidationException", "Invocation of model ID x with on-demand throughput isn't supported."), True),
            (error(400, "ValidationException", "messages: at least one message is required"), False),
            (error(413), False),
            (error(408, "ModelTimeoutException"), False),
            (error(424, "ModelErrorException"), False),
            ("reset", False),
        ]:
            with self.subTest(answer=answer):
                sandbox("DELETE", "/sandbox/records")
                plan(PATH, answer)
                result = create()
                self.assertEqual((result.code == "OK", self.asked()), (helps, ["bedrock"] + ["anthropic"] * helps))
                self.assertHas(self.record(), provider="ANTHROPIC" if helps else "AWS")

    def test_not_after_a_request_that_may_be_under_way(self):
        self.start({**KEY, "read_timeout_ms": 200})
        plan(PATH, "stall")
        self.assertEqual((create().code, self.asked()), ("E_TIMEOUT", ["bedrock"]))

    def test_nobody_there(self):
        self.start(KEY, AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://127.0.0.1:9")
        result = create()
        self.assertEqual((result.code, result.info["fallback"]["code"]), ("OK", "REVENIUM_E_CONNECTION"))

    def test_it_can_be_turned_off_and_needs_a_key(self):
        for config in [{**KEY, "bedrock_fallback": False}, {"provider": "bedrock"}]:
            self.start(config, **NO_KEYS)
            result = create()
            self.assertEqual((result.code, self.asked()), ("E_AWS", []))
            self.assertEqual(self.records(0), [])
            sandbox("DELETE", "/sandbox/records")
            lib.revenium_shutdown(5000)

    def test_models_keep_their_identity(self):
        arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
        self.start(KEY, **NO_KEYS)
        for model, direct in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
            (arn, "claude-haiku-4-5-20251001"),
        ]:
            self.assertEqual(create(model=model, anthropic_version="2026-10-21", anthropic_beta=["b"]).code, "OK")
            sent = requests("anthropic")[-1]
            self.assertEqual(sent["body"], {**BODY, "model": direct})
            self.assertEqual(sent["headers"]["anthropic-beta"], "b")
        sandbox("DELETE", "/sandbox/requests")
        nameless = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
        self.assertEqual((create(model=nameless).code, self.asked()), ("E_AWS", []))

    def test_the_second_answer_may_be_an_error_too(self):
        self.start(KEY)
        plan(PATH, error(403))
        plan("/v1/messages", {"status": 529})
        result = create()
        self.assertEqual((result.code, result.info["fallback"]["code"]), ("E_OVERLOADED", "REVENIUM_E_PERMISSION_DENIED"))
        self.assertHas(self.record(), provider="ANTHROPIC", stopReason="ERROR")
