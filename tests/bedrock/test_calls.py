"""Calls that go well: what is sent, what comes back, what is recorded."""

import json
import os
import subprocess
import tempfile
import threading
import time

from revenium import *

REPLY = ('{ "id":"msg_bdrk_1", "type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":'
         '[{"type":"text","text":"caf\\u00e9 \\ud83c\\udf0d"}],"stop_reason":"stop_sequence","stop_sequence":"X","new":1.0e2,'
         '"usage":{"input_tokens":12,"output_tokens":7,"cache_creation_input_tokens":248,"cache_read_input_tokens":1800,'
         '"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":48},"big":12345678901234567890}}')


class Create(BedrockTest):
    def test_the_reply_comes_byte_for_byte_and_is_recorded(self):
        self.start()
        plan(PATH, {"text": REPLY, "headers": {"content-type": "application/json", "x-own": "yes"}})
        result = create(usage_metadata={"organizationName": "Acme"})
        self.assertEqual((result.code, result.raw, result.text), ("OK", REPLY, "café 🌍"))
        self.assertRegex(result.request_id, "^00000000-0000-4000-8000-")
        self.assertHas(result.info, provider="bedrock", http_status=200, transaction_id="msg_bdrk_1", attempts=1,
                       metered=True, model="claude-sonnet-4-5-20250929", stop_reason="stop_sequence")
        self.assertNotIn("fallback", result.info)
        self.assertEqual(result.info["headers"]["x-own"], "yes")
        self.assertEqual((result.usage.input, result.usage.cache_read), (12, 1800))
        self.assertHas(
            self.record(), provider="AWS", model=ID, transactionId="msg_bdrk_1", stopReason="END_SEQUENCE",
            isStreamed=False, operationType="CHAT", inputTokenCount=12, outputTokenCount=7, totalTokenCount=19,
            cacheCreationTokenCount=248, cacheReadTokenCount=1800, cacheCreation5mTokenCount=200,
            cacheCreation1hTokenCount=48, region="us-east-1", organizationName="Acme", modelSource="ANTHROPIC")

    def test_the_request_keeps_everything_but_model_and_stream(self):
        self.start({"anthropic_beta": ["beta-1", "beta-2"]})
        kept = ('"max_tokens":1024,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],'
                '"thinking":{"type":"enabled","budget_tokens":1.0e3},"tools":[{"name":"t","input_schema":{"type":"object"}}],'
                '"tool_choice":{"type":"auto"},"metadata":{"user_id":"u"},"big":12345678901234567890,'
                '"messages":[{"role":"user","content":"h\\u00e9"}]')
        ours = '"usage_metadata":{"agent":"a"},"revenium":{"timeout_ms":60000}'
        result = create(f'{{"model":"{MODEL}",{kept},{ours},"stream":false}}'.encode())
        self.assertEqual(result.code, "OK", result.message)
        sent = requests()[0]
        self.assertEqual(sent["raw"], f'{{{kept},"anthropic_version":"bedrock-2023-05-31",'
                                      '"anthropic_beta":["beta-1","beta-2"]}')
        self.assertEqual(sent["path"], PATH)
        self.assertHas(self.record(), operationType="TOOL_CALL", agent="a")

    def test_a_user_profile_and_a_project(self):
        self.start({"bedrock_project_id": "proj-1"})
        create(revenium={"headers": {"anthropic-user-profile-id": "up_1"}})
        create(user_profile_id="own", revenium={"headers": {"x-amzn-bedrock-projectidentifier": "proj-2"}})
        header, own = requests()
        self.assertEqual((header["body"]["user_profile_id"], own["body"]["user_profile_id"]), ("up_1", "own"))
        self.assertNotIn("anthropic-user-profile-id", header["headers"])
        name = "x-amzn-bedrock-projectidentifier"
        self.assertEqual((header["headers"][name], own["headers"][name]), ("proj-1", "proj-2"))
        for sent in [header, own]:
            self.assertIn(name, sent["headers"]["authorization"])

    def test_what_the_request_says_of_version_and_betas_wins(self):
        self.start({"anthropic_beta": ["beta-1"]})
        create(anthropic_version="2026-10-21", anthropic_beta=["own"])
        create(revenium={"headers": {"anthropic-beta": "per-call, other"}})
        create(revenium={"headers": {"anthropic-beta": None}})
        own, per_call, none = [sent["body"] for sent in requests()]
        self.assertHas(own, anthropic_version="2026-10-21", anthropic_beta=["own"])
        self.assertHas(per_call, anthropic_version="bedrock-2023-05-31", anthropic_beta=["per-call", "other"])
        self.assertNotIn("anthropic_beta", none)

    def test_headers_go_along_but_no_key_of_anthropic(self):
        self.start({"provider": "bedrock", "anthropic_api_key": "sk-ant-secret",
                    "anthropic_custom_headers": "x-api-key: k\nX-Amzn-Bedrock-Trace: ENABLED"})
        result = create(revenium={"headers": {"authorization": "Bearer t", "x-amzn-bedrock-service-tier": "flex"}})
        self.assertEqual(result.code, "OK", result.message)
        headers = requests()[0]["headers"]
        self.assertHas(headers, **{"x-amzn-bedrock-trace": "ENABLED", "x-amzn-bedrock-service-tier": "flex"})
        self.assertIn("x-amzn-bedrock-trace", headers["authorization"])
        self.assertNotIn("x-api-key", headers)
        self.assertNotIn("sk-ant-secret", json.dumps(requests()))

    def test_headers_count_tokens_where_the_reply_does_not(self):
        self.start()
        counts = {"X-Amzn-Bedrock-Input-Token-Count": "31", "X-Amzn-Bedrock-Output-Token-Count": "5",
                  "X-Amzn-Bedrock-Cache-Read-Input-Token-Count": "9"}
        plan(PATH, {"json": {"id": "m1", "type": "message", "content": []}, "headers": counts},
             {"json": {"id": "m2", "type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 2}},
              "headers": counts})
        self.assertEqual((create().usage.input, create().usage.input), (31, 1))
        first, second = self.records(2)
        self.assertHas(first, inputTokenCount=31, outputTokenCount=5, cacheReadTokenCount=9)
        self.assertHas(second, inputTokenCount=1, outputTokenCount=2, cacheReadTokenCount=9)

    def test_a_reply_without_model_is_recorded_under_what_was_called(self):
        self.start()
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
        for model, recorded in [
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-x-v1:0", "eu.anthropic.claude-x-v1:0"),
            (arn, "claude-sonnet-4-5-20250929"),
        ]:
            sandbox("DELETE", "/sandbox/records")
            result = create(model=model)
            self.assertEqual(result.code, "OK", result.message)
            self.assertHas(self.record(), model=recorded, provider="AWS")

    def test_ids(self):
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
        for config, model, path in [
            ({}, "claude-3-5-sonnet-20241022", "anthropic.claude-3-5-sonnet-20241022-v2%3A0"),
            ({}, "claude-opus-4-7", "anthropic.claude-opus-4-7"),
            ({}, "eu.claude-opus-4-7", "eu.anthropic.claude-opus-4-7"),
            ({}, arn, "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc"),
            ({"bedrock_region_prefix": "global."}, "claude-opus-4-7", "global.anthropic.claude-opus-4-7"),
            ({"bedrock_region_prefix": "eu"}, "us.anthropic.claude-opus-4-7", "us.anthropic.claude-opus-4-7"),
            ({"bedrock_model_map": {"fast": "anthropic.claude-haiku-4-5-20251001-v1:0"}}, "fast",
             "anthropic.claude-haiku-4-5-20251001-v1%3A0"),
        ]:
            with self.subTest(model=model, config=config):
                self.start(config)
                result = create(model=model)
                self.assertEqual((result.code, requests()[-1]["path"]), ("OK", f"/model/{path}/invoke"), result.message)
                lib.revenium_shutdown(5000)

    def test_a_reply_that_is_too_large_is_refused(self):
        self.start({"max_response_bytes": 65536})
        result = create(revenium={"headers": {"x-sandbox": "deltas=20000"}})
        self.assertEqual((result.code, result.message), ("E_STREAM", "The reply is larger than max_response_bytes."))
        self.assertHas(self.record(), stopReason="ERROR", provider="AWS")
        self.assertEqual(len(requests()), 1)

    def test_many_calls_at_once(self):
        self.start()
        codes = []
        threads = [threading.Thread(target=lambda: codes.append(create().code)) for _ in range(50)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        self.assertEqual(codes, ["OK"] * 50)
        self.assertEqual(len({record["transactionId"] for record in self.records(50)}), 50)

    def test_a_forked_child_calls_too(self):
        self.start()
        self.assertEqual(create().code, "OK")
        child = os.fork()
        if child == 0:
            ended = create().code == "OK" and stream()[1].code == "OK" and lib.revenium_flush(10000) == 0
            os._exit(0 if ended else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(create().code, "OK")
        self.records(4)

    def test_a_proxy_is_honoured(self):
        self.start(AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://bedrock.invalid", HTTP_PROXY=SANDBOX, NO_PROXY="127.0.0.1")
        result = create()
        self.assertEqual(result.code, "OK", result.message)
        self.assertEqual(requests()[0]["headers"]["host"], "bedrock.invalid")


class Example(BedrockTest):
    def test_it_prints_what_it_should_and_is_recorded(self):
        with tempfile.TemporaryDirectory() as folder:
            program, folder_of_library = folder + "/bedrock", os.path.dirname(os.path.abspath(LIBRARY))
            compile = ["cc", "-std=c99", "-Wall", "-Werror", "-Iinclude", "examples/c/bedrock.c", "-o", program]
            compile += ["-L" + folder_of_library, "-lrevenium", "-Wl,-rpath," + folder_of_library]
            subprocess.run(compile, check=True)
            printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
        with open("examples/expected/bedrock.txt") as file:
            self.assertEqual(printed, file.read())
        first, second = [record["body"] for record in sandbox("GET", "/sandbox/records")]
        self.assertHas(first, provider="AWS", organizationName="Acme", region="us-east-1", isStreamed=False)
        self.assertHas(second, provider="AWS", region="eu-central-1", isStreamed=True)


class WhoIsAsked(BedrockTest):
    def provider(self, **more):
        create(**more)
        services = [sent["service"] for sent in sandbox("GET", "/sandbox/requests")]
        sandbox("DELETE", "/sandbox/requests")
        return services

    def test_keys_of_aws_choose_bedrock_unless_there_is_one_of_anthropic(self):
        self.start()
        self.assertHas(status(), provider="bedrock", provider_reason="there are AWS credentials and none of Anthropic")
        state = State(C.sizeof(State))
        lib.revenium_status(C.byref(state))
        self.assertEqual(state.provider, 2)
        self.assertEqual(self.provider(), ["bedrock"])
        self.assertEqual(self.provider(revenium={"provider": "bedrock"}), ["bedrock"])
        self.assertEqual(self.provider(revenium={"api_key": "sk-ant-x"}), ["anthropic"])
        os.environ["ANTHROPIC_API_KEY"] = "sk-ant-sandbox"
        # The environment is looked at once a second at most.
        while status()["provider"] != "anthropic":
            time.sleep(0.05)
        self.assertHas(status(), provider="anthropic", provider_reason="there is an Anthropic credential")
        self.assertEqual(self.provider(), ["anthropic"])
        self.assertEqual(self.provider(revenium={"provider": "bedrock"}), ["bedrock"])
        # They come in any order.
        self.assertEqual(sorted(record["provider"] for record in self.records(5)), ["ANTHROPIC"] * 2 + ["AWS"] * 3)

    def test_it_can_be_forced_and_disabled(self):
        for config, environment, provider in [
            ({"provider": "bedrock"}, {"ANTHROPIC_API_KEY": "sk-ant-x"}, "bedrock"),
            ({}, {"ANTHROPIC_API_KEY": "sk-ant-x", "REVENIUM_PROVIDER": "bedrock"}, "bedrock"),
            ({}, {"ANTHROPIC_API_KEY": "sk-ant-x", "REVENIUM_PROVIDER": "bedrock", "REVENIUM_BEDROCK_DISABLE": "1"},
             "anthropic"),
            ({"provider": "anthropic"}, {"ANTHROPIC_API_KEY": "sk-ant-x", "REVENIUM_PROVIDER": None,
                                         "REVENIUM_BEDROCK_DISABLE": None}, "anthropic"),
        ]:
            with self.subTest(config=config, environment=environment):
                self.start(config, **environment)
                self.assertEqual((status()["provider"], self.provider()), (provider, [provider]))
                lib.revenium_shutdown(5000)

    def test_a_base_url_of_aws_means_bedrock_and_names_its_region(self):
        self.start({"anthropic_base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com"},
                   ANTHROPIC_API_KEY="sk-ant-x", AWS_REGION="us-west-2")
        self.assertHas(status(), provider="bedrock", provider_reason="anthropic_base_url is of AWS")
        self.assertEqual(create().code, "OK")
        self.assertIn("/eu-central-1/bedrock/", requests()[0]["headers"]["authorization"])
        self.assertHas(self.record(), region="eu-central-1")

    def test_regions(self):
        config = os.path.join(os.environ["REVENIUM_SPOOL_DIR"] + ".config")
        with open(config, "w") as file:
            file.write("[default]\nregion = ap-northeast-1\n")
        for environment, call, region in [
            ({}, {}, "us-east-1"),
            ({"AWS_CONFIG_FILE": config}, {}, "ap-northeast-1"),
            ({"AWS_DEFAULT_REGION": "sa-east-1"}, {}, "sa-east-1"),
            ({"AWS_REGION": "eu-west-1"}, {}, "eu-west-1"),
            ({"AWS_REGION": "eu-west-1"}, {"aws_region": "ca-central-1"}, "ca-central-1"),
        ]:
            with self.subTest(region=region):
                sandbox("DELETE", "/sandbox/records")
                self.start(**environment)
                result = create(revenium=call)
                self.assertEqual(result.code, "OK", result.message)
                self.assertIn(f"/{region}/bedrock/", requests()[-1]["headers"]["authorization"])
                self.assertHas(self.record(), region=region)
                lib.revenium_shutdown(5000)

    def test_the_endpoint_of_all_services_will_do(self):
        self.start(AWS_ENDPOINT_URL_BEDROCK_RUNTIME=None, AWS_ENDPOINT_URL=SANDBOX)
        self.assertEqual(create().code, "OK")
        lib.revenium_shutdown(5000)
        self.start(AWS_ENDPOINT_URL="http://127.0.0.1:9")
        result = create(revenium={"provider": "bedrock"}, scope={"base_url": SANDBOX})
        self.assertEqual(result.code, "OK", result.message)

    def test_a_request_without_model_starts_no_call(self):
        self.start({"bedrock_model_map": {"up": ".."}})
        for body, part in [({"max_tokens": 1}, "names no model"), ({"model": "up"}, "no Bedrock model id")]:
            result = create(body)
            self.assertEqual(result.code, "E_CONFIG")
            self.assertIn(part, result.message)
        self.assertEqual(requests(), [])
