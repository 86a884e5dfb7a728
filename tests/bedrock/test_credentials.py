"""Where credentials come from, what their lack costs, and signatures verified by a second implementation."""

import datetime
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from revenium import *

FOUND = {"AccessKeyId": "AKIDFOUND1234567890", "SecretAccessKey": "found/secret", "Token": "found-token",
         "Expiration": "2099-01-01T00:00:00Z"}
STS = """<AssumeRole{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRole{0}Result>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>i</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>AKIDFOUND1234567890</AccessKeyId><SecretAccessKey>found/secret</SecretAccessKey>
<SessionToken>found-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRole{0}Result></AssumeRole{0}Response>"""


def verify(sent, secret):
    """Whether the signature of a recorded request is the one that botocore computes."""
    headers = sent["headers"]
    parts = dict(part.split("=", 1) for part in headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(", "))
    key, _, region, service, _ = parts["Credential"].split("/")
    signed = {name: headers[name] for name in parts["SignedHeaders"].split(";")}
    call = AWSRequest("POST", "http://" + headers["host"] + sent["path"], headers=signed, data=sent["raw"].encode())
    call.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(key, secret), service, region)
    return auth.signature(auth.string_to_sign(call, auth.canonical_request(call)), call) == parts["Signature"]


class CredentialsTest(BedrockTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def bare(self):
        for name in KEYS:
            del os.environ[name]


class Signatures(CredentialsTest):
    def test_botocore_computes_the_same(self):
        self.start()
        secret = KEYS["AWS_SECRET_ACCESS_KEY"]
        arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a+b c"
        odd = {"messages": [{"role": "user", "content": "é \u2028 🌍"}]}
        for model in [MODEL, "us.claude-opus-4-7", arn.replace("+b c", "bc")]:
            self.assertEqual(create(model=model, **odd).code, "OK")
            self.assertEqual(stream(model=model, revenium={"headers": {"x-amzn-bedrock-trace": "ENABLED"}})[1].code, "OK")
        for sent in requests():
            self.assertTrue(verify(sent, secret), sent)
            self.assertFalse(verify({**sent, "raw": sent["raw"] + " "}, secret))
            self.assertFalse(verify({**sent, "path": sent["path"] + "x"}, secret))
            self.assertFalse(verify(sent, secret + "x"))

    def test_session_tokens_are_signed(self):
        self.start(AWS_SESSION_TOKEN="session-token")
        create()
        sent = requests()[0]
        self.assertEqual(sent["headers"]["x-amz-security-token"], "session-token")
        self.assertIn("x-amz-security-token", sent["headers"]["authorization"])
        self.assertTrue(verify(sent, KEYS["AWS_SECRET_ACCESS_KEY"]))

    def test_a_retry_is_signed_anew(self):
        self.start({"max_retries": 1})
        plan(PATH, {"status": 500, "headers": {"retry-after-ms": "1"}}, {})
        self.assertEqual(create().code, "OK")
        first, second = requests()
        self.assertTrue(verify(first, KEYS["AWS_SECRET_ACCESS_KEY"]) and verify(second, KEYS["AWS_SECRET_ACCESS_KEY"]))
        self.assertNotEqual(first["headers"]["amz-sdk-invocation-id"], second["headers"]["amz-sdk-invocation-id"])


class Sources(CredentialsTest):
    def found(self, key=FOUND["AccessKeyId"], secret=FOUND["SecretAccessKey"], token=FOUND["Token"]):
        result = create()
        self.assertEqual(result.code, "OK", result.message)
        sent = requests()[-1]
        self.assertIn(f"Credential={key}/", sent["headers"]["authorization"])
        self.assertEqual(sent["headers"].get("x-amz-security-token"), token)
        self.assertTrue(verify(sent, secret))

    def test_a_bedrock_api_key_wins(self):
        self.start(AWS_BEARER_TOKEN_BEDROCK="ABSKsandboxkey")
        self.assertEqual(create().code, "OK")
        self.assertEqual(requests()[0]["headers"]["authorization"], "Bearer ABSKsandboxkey")
        lib.revenium_shutdown(5000)
        self.bare()
        self.start()
        self.assertEqual(stream()[1].code, "OK")
        self.assertEqual(requests()[1]["headers"]["authorization"], "Bearer ABSKsandboxkey")

    def test_a_profile_with_keys(self):
        self.bare()
        path = self.file("credentials", "[default]\naws_access_key_id = AKIDDEFAULT12345678\naws_secret_access_key = d\n"
                                        "[team]\naws_access_key_id = AKIDTEAM12345678901\naws_secret_access_key = t\n")
        self.start(AWS_SHARED_CREDENTIALS_FILE=path)
        self.assertHas(status(), provider="bedrock")
        self.found("AKIDDEFAULT12345678", "d", None)
        lib.revenium_shutdown(5000)
        self.start(AWS_PROFILE="team")
        self.found("AKIDTEAM12345678901", "t", None)

    def test_a_profile_with_a_process(self):
        self.bare()
        output = self.file("output", json.dumps({"Version": 1, "SessionToken": FOUND["Token"], **{
            name: FOUND[name] for name in ["AccessKeyId", "SecretAccessKey", "Expiration"]}}))
        self.start(AWS_CONFIG_FILE=self.file("config", f"[default]\ncredential_process = cat {output}\n"))
        self.found()

    def test_a_profile_with_a_role_on_a_process(self):
        self.bare()
        output = self.file("output", json.dumps({"Version": 1, "AccessKeyId": "AKIDBASE12345678901", "SecretAccessKey": "b"}))
        config = f"[default]\nrole_arn = arn:aws:iam::1:role/r\nexternal_id = outer\nsource_profile = base\n" \
                 f"[profile base]\ncredential_process = cat {output}\n"
        plan("/", {"text": STS.format(""), "headers": {"content-type": "text/xml"}})
        self.start(AWS_CONFIG_FILE=self.file("config", config), AWS_ENDPOINT_URL_STS=SANDBOX)
        self.found()
        asked = requests("unknown")[0]
        self.assertIn("Credential=AKIDBASE12345678901/", asked["headers"]["authorization"])
        self.assertIn("ExternalId=outer", asked["raw"])

    def test_a_host_that_ignores_its_children_ends(self):
        self.bare()
        self.addCleanup(signal.signal, signal.SIGCHLD, signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        output = self.file("output", json.dumps({"Version": 1, "SessionToken": FOUND["Token"], **{
            name: FOUND[name] for name in ["AccessKeyId", "SecretAccessKey"]}}))
        # The program has children of its own, and waits for them.
        process = f"sh -c 'cat {output} & wait $! && exit 0'"
        self.start(AWS_CONFIG_FILE=self.file("config", f"[default]\ncredential_process = {process}\n"))
        self.found()

    def test_a_program_that_hangs_ends_with_its_host(self):
        self.bare()
        pid = os.path.join(self.folder, "pid")
        process = self.file("process", f"#!/bin/sh\necho $$ >{pid}.new\nmv {pid}.new {pid}\nexec sleep 600\n")
        os.chmod(process, 0o700)
        program = "import sys; sys.path.insert(0, 'tests/bedrock'); from revenium import *\n" \
                  "lib.revenium_init(None, 0, None); create()"
        config = self.file("config", f"[default]\ncredential_process = {process}\n")
        host = subprocess.Popen([sys.executable, "-B", "-c", program], env={**os.environ, "AWS_CONFIG_FILE": config})
        while not os.path.exists(pid) and host.poll() is None:
            time.sleep(0.01)
        host.kill()
        host.wait()
        with open(pid) as file:
            hung = f"/proc/{file.read().strip()}/stat"
        for _ in range(3000):
            try:
                with open(hung) as stat:
                    if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.01)
        self.fail("the program lives on")

    def test_a_profile_with_a_role(self):
        self.bare()
        config = "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n" \
                 "[profile base]\naws_access_key_id = AKIDBASE12345678901\naws_secret_access_key = b\n"
        plan("/", {"text": STS.format(""), "headers": {"content-type": "text/xml"}})
        self.start(AWS_CONFIG_FILE=self.file("config", config), AWS_ENDPOINT_URL_STS=SANDBOX)
        self.found()

    def test_sign_on(self):
        self.bare()
        url = "https://sandbox.awsapps.com/start"
        config = f"[default]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n" \
                 f"[sso-session s]\nsso_region = us-east-1\nsso_start_url = {url}\n"
        token = {"accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z", "startUrl": url, "region": "us-east-1"}
        name = hashlib.sha1(b"s").hexdigest() + ".json"
        self.file(f".aws/sso/cache/{name}", json.dumps(token))
        plan("/federation/credentials", {"json": {"roleCredentials": {
            "accessKeyId": FOUND["AccessKeyId"], "secretAccessKey": FOUND["SecretAccessKey"],
            "sessionToken": FOUND["Token"], "expiration": 4070908800000}}})
        self.start(AWS_CONFIG_FILE=self.file("config", config), HOME=self.folder, AWS_ENDPOINT_URL_SSO=SANDBOX)
        self.found()

    def test_a_web_identity(self):
        self.bare()
        plan("/", {"text": STS.format("WithWebIdentity"), "headers": {"content-type": "text/xml"}})
        self.start(AWS_WEB_IDENTITY_TOKEN_FILE=self.file("token", "jwt"), AWS_ROLE_ARN="arn:aws:iam::1:role/r",
                   AWS_ENDPOINT_URL_STS=SANDBOX)
        self.assertHas(status(), provider="bedrock")
        self.found()

    def test_a_container(self):
        self.bare()
        plan("/container", {"json": FOUND})
        self.start(AWS_CONTAINER_CREDENTIALS_FULL_URI=SANDBOX + "/container")
        self.found()

    def test_an_instance_is_asked_only_when_bedrock_was_chosen_outright(self):
        self.bare()
        roles = "/latest/meta-data/iam/security-credentials/"
        plan("/latest/api/token", {"text": "imds-token", "headers": {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}})
        plan(roles, {"text": "role"})
        plan(roles + "role", {"json": {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2020-01-01T00:00:00Z", **FOUND}})
        self.start(AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=SANDBOX)
        self.assertHas(status(), provider="anthropic", provider_reason="no AWS credentials are configured")
        self.assertEqual(create().code, "E_CONFIG")
        self.assertEqual(requests("unknown"), [])
        lib.revenium_shutdown(5000)
        self.start({"provider": "bedrock"})
        self.found()
        self.assertEqual(requests("unknown")[0]["method"], "PUT")


class Renewed(CredentialsTest):
    def profile(self, key):
        return self.file("credentials", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")

    def test_refused_credentials_are_loaded_again(self):
        self.bare()
        self.start(AWS_SHARED_CREDENTIALS_FILE=self.profile("AKIDOLD123456789012"))
        plan(PATH, {"status": 403, "headers": {"x-amzn-errortype": "ExpiredTokenException"}}, {})
        self.assertEqual(create().code, "E_AUTHENTICATION")
        self.profile("AKIDNEW123456789012")
        self.assertEqual(create().code, "OK")
        old, new = [sent["headers"]["authorization"] for sent in requests()]
        self.assertIn("AKIDOLD123456789012", old)
        self.assertIn("AKIDNEW123456789012", new)

    def test_a_clock_that_is_wrong_is_set_by_awss(self):
        self.bare()
        self.start(AWS_SHARED_CREDENTIALS_FILE=self.profile("AKIDOLD123456789012"))
        now = datetime.datetime.now(datetime.timezone.utc)
        theirs = now + datetime.timedelta(minutes=20)
        late = {"status": 403, "headers": {"x-amzn-errortype": "InvalidSignatureException",
                                           "date": theirs.strftime("%a, %d %b %Y %H:%M:%S GMT")}}
        plan(PATH, late, {}, late)
        result = create()
        self.assertEqual(result.code, "OK", result.message)
        signed = [sent["headers"]["x-amz-date"] for sent in requests()]
        self.assertEqual(len(signed), 2)
        times = [datetime.datetime.strptime(at, "%Y%m%dT%H%M%SZ") for at in signed]
        self.assertGreater(times[1] - times[0], datetime.timedelta(minutes=19))
        # What was learnt stays, and a refusal that has another reason is not repeated.
        result = create()
        self.assertEqual(result.code, "E_AUTHENTICATION")
        self.assertIn("clock", result.message)
        self.assertEqual(len(requests()), 3)

    def test_a_mended_profile_is_found_after_a_while(self):
        self.bare()
        path = self.file("credentials", "[default]\n")
        self.start({"provider": "bedrock"}, AWS_SHARED_CREDENTIALS_FILE=path)
        self.assertEqual(create().code, "E_AWS")
        self.profile("AKIDNEW123456789012")
        self.assertEqual(create().code, "E_AWS")
        time.sleep(5.1)
        self.assertEqual(create().code, "OK")


class Bounds(CredentialsTest):
    def test_the_clients_that_nobody_asks_for_go(self):
        self.bare()
        runs = os.path.join(self.folder, "runs")
        output = self.file("output", json.dumps({"Version": 1, "AccessKeyId": "AKIDCOUNT1234567890", "SecretAccessKey": "s"}))
        process = self.file("process", f"#!/bin/sh\necho run >>{runs}\ncat {output}\n")
        os.chmod(process, 0o700)
        self.start({"provider": "bedrock"}, AWS_CONFIG_FILE=self.file("config", f"[default]\ncredential_process = {process}\n"))

        def call(number):
            self.assertEqual(create(revenium={"aws_region": f"us-test-{number}"}).code, "OK")
            with open(runs) as file:
                return len(file.readlines())

        self.assertEqual([call(number) for number in range(66)], list(range(1, 67)))
        # Each client has credentials of its own: the latest still has them, the first has made way.
        self.assertEqual([call(65), call(64), call(0), call(0)], [66, 66, 67, 67])


class Missing(CredentialsTest):
    def test_nothing_is_configured(self):
        self.bare()
        self.start({"provider": "bedrock"})
        result = create()
        self.assertEqual(result.code, "E_AWS")
        for name in ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"]:
            self.assertIn(name, result.message)
        self.assertHas(result.info, provider="bedrock", attempts=1)
        # Nothing was sent, so nothing was used.
        self.assertEqual(self.records(0), [])

    def test_a_source_that_fails_is_not_asked_by_every_call(self):
        self.bare()
        plan("/container", {"status": 403})
        self.start(AWS_CONTAINER_CREDENTIALS_FULL_URI=SANDBOX + "/container")
        self.assertEqual([create().code for _ in range(5)], ["E_AWS"] * 5)
        self.assertEqual(len(requests("unknown")), 1)

    def test_metadata_that_never_answers_costs_one_wait(self):
        self.bare()
        plan("/latest/api/token", "stall")
        self.start({"provider": "bedrock"}, AWS_EC2_METADATA_DISABLED="false", AWS_EC2_METADATA_SERVICE_ENDPOINT=SANDBOX)
        self.assertEqual([create().code for _ in range(5)], ["E_AWS"] * 5)
        self.assertEqual(len(requests("unknown")), 1)

    def test_broken_profiles_say_so_and_no_secret(self):
        self.bare()
        process = self.file("process", "#!/bin/sh\necho my-secret-word >&2\nexit 1\n")
        os.chmod(process, 0o700)
        for text in [f"[default]\ncredential_process = {process}\n", "[default]\nrole_arn = r\nsource_profile = none\n",
                     "[default]\naws_access_key_id = my-secret-word\n"]:
            with self.subTest(text=text):
                self.start({"provider": "bedrock"}, AWS_CONFIG_FILE=self.file("config", text))
                result = create()
                self.assertEqual(result.code, "E_AWS")
                self.assertIn("cannot be loaded", result.message)
                self.assertNotIn("my-secret-word", result.message + result.raw)
                lib.revenium_shutdown(5000)
