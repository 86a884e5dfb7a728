"""revenium_webhook_verify: fresh signatures through the C ABI. The vendor's table is judged beside the code."""

import hashlib
import hmac
import time

from revenium import NTS, Test, lib

SECRET = b"s1"
BODY = b'{"event":"x"}'


def sign(timestamp, secret=SECRET, body=BODY):
    return "sha256=" + hmac.new(secret, b"%s.%s" % (timestamp.encode(), body), hashlib.sha256).hexdigest()


def verify(timestamp, signature, secret=SECRET, body=BODY, tolerance=300):
    def header(text):
        return None if text is None else text.encode()

    return lib.revenium_webhook_verify(
        secret, len(secret), header(timestamp), header(signature), body, len(body), tolerance
    )


class Webhooks(Test):
    OK, NO, ARGUMENT = 0, -42, -2

    def test_verdicts(self):
        now = str(int(time.time()))
        old = str(int(time.time()) - 600)
        good, wrong = sign(now), "sha256=" + "0" * 64
        for why, code, arguments in [
            ("good", self.OK, dict(timestamp=now, signature=good)),
            ("second signature", self.OK, dict(timestamp=now, signature=f"{wrong}, {good}")),
            ("white space", self.OK, dict(timestamp=f" {now} ", signature=good)),
            ("a day of tolerance", self.OK, dict(timestamp=old, signature=sign(old), tolerance=86400)),
            ("empty body", self.OK, dict(timestamp=now, signature=sign(now, body=b""), body=b"")),
            ("old", self.NO, dict(timestamp=old, signature=sign(old))),
            ("wrong secret", self.NO, dict(timestamp=now, signature=good, secret=b"other")),
            ("wrong body", self.NO, dict(timestamp=now, signature=good, body=BODY + b" ")),
            ("no signature", self.NO, dict(timestamp=now, signature=None)),
            ("no timestamp", self.NO, dict(timestamp=None, signature=good)),
            ("eleventh signature", self.NO, dict(timestamp=now, signature=", ".join([wrong] * 10 + [good]))),
            ("empty secret", self.ARGUMENT, dict(timestamp=now, signature=good, secret=b"")),
            ("negative tolerance", self.ARGUMENT, dict(timestamp=now, signature=good, tolerance=-1)),
        ]:
            with self.subTest(why):
                self.assertEqual(verify(**arguments), code)

    def test_a_secret_may_be_terminated_by_a_nul(self):
        now = str(int(time.time()))
        signature = sign(now).encode()
        code = lib.revenium_webhook_verify(SECRET, NTS, now.encode(), signature, BODY, len(BODY), 300)
        self.assertEqual(code, self.OK)
