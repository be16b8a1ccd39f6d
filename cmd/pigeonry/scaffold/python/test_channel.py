"""Tests of the channel: what it makes of the provider's answers, and the conformance kit on the program that ships.

    python3 -m unittest
"""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "plugin"))

import channel  # noqa: E402
import channel_pb2 as pb  # noqa: E402

TOKEN = "s3cret-token"


class Answer(http.server.BaseHTTPRequestHandler):
    """The provider: it answers with the status in the path, and keeps what it got."""

    def do_POST(self):
        got = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers, json.loads(got)))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(b'{"id": "p-1"}')

    def log_message(self, *args):
        pass


class SendTest(unittest.TestCase):
    """What the provider answers decides what becomes of the message."""

    def setUp(self):
        self.provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.provider.got = []
        threading.Thread(target=self.provider.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.provider.server_port}"

    def tearDown(self):
        self.provider.shutdown()
        self.provider.server_close()

    def send(self, url):
        item = pb.Item(message_id="m-1", idempotency_key="k-1", recipient="ann", content=pb.Content(text="Hello"))
        return channel.Channel({"url": url, "token": TOKEN}).send(item, seconds=5)

    def test_outcomes(self):
        for status, outcome, retry_after in [
            (200, pb.OUTCOME_ACCEPTED, 0),
            (400, pb.OUTCOME_REJECTED, 7),
            (401, pb.OUTCOME_REJECTED, 7),
            (429, pb.OUTCOME_THROTTLED, 7),
            (503, pb.OUTCOME_RETRYABLE, 7),
            (500, pb.OUTCOME_UNCERTAIN, 7),  # it may have done the work before
        ]:
            with self.subTest(status=status):
                sent = self.send(f"{self.url}/{status}")
                self.assertEqual((sent.outcome, sent.retry_after), (outcome, retry_after), sent.message)
                self.assertEqual(sent.provider_ids, ["p-1"] if status == 200 else [])

    def test_request(self):
        self.send(self.url + "/200")
        headers, message = self.provider.got[0]
        self.assertEqual(message, {"id": "m-1", "to": "ann", "text": "Hello"})
        self.assertEqual(headers["Authorization"], "Bearer " + TOKEN)
        self.assertEqual(headers["Idempotency-Key"], "k-1")

    def test_nobody_there(self):
        with socket.socket() as taken:  # and nobody listens
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            self.assertEqual(self.send(url).outcome, pb.OUTCOME_RETRYABLE)  # surely not sent

    def test_problems(self):
        good = {"url": "https://example.com/", "token": TOKEN}
        for change, field in [({}, None), ({"url": "example.com"}, "url"), ({"token": ""}, "token"), ({"tokn": "x"}, "tokn")]:
            with self.subTest(change=change):
                self.assertEqual([p.field for p in channel.problems({**good, **change})], [field] if field else [])


class ConformanceTest(unittest.TestCase):
    """The program that ships does all that the gateway relies on. PIGEONRY names the program pigeonry."""

    def test_conformance(self):
        pigeonry = shutil.which(os.environ.get("PIGEONRY", "pigeonry"))
        if not pigeonry:
            self.skipTest("pigeonry is not on the PATH; PIGEONRY=<path> names it")
        with tempfile.TemporaryDirectory() as out:
            subprocess.run([os.path.join(HERE, "build.sh"), out], check=True)
            binary = os.path.join(out, "my-plugin", channel.DESCRIPTION["version"], "my-plugin")
            command = [pigeonry, "plugin", "test", binary, "--config", os.path.join(HERE, "test-config.json"), "--provider"]
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(run.returncode, 0, run.stdout)


if __name__ == "__main__":
    unittest.main()
