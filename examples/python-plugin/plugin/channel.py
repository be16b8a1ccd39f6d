"""The channel: it posts each message as JSON to a URL, with a bearer token."""

import email.utils
import http.client
import json
import socket
import ssl
import time
import urllib.parse
from dataclasses import dataclass, field

import channel_pb2 as pb

# What -describe prints and Describe answers. The gateway reads from it what the plugin can do.
DESCRIPTION = {
    "name": "webhook-python",
    "version": "0.1.0",
    "api_versions": ["channel.v1"],
    "channels": ["webhook"],
    "capabilities": {
        "attachments": False, "callback": False, "check": False, "exclusive_session": False, "html": True,
        "idempotent_send": False, "query": False, "receipts": False, "receive": False,
    },
    # How much the gateway hands over at once. 64 is also how many threads a connector has.
    "limits": {
        "max_batch": 0, "max_batch_bytes": 0, "max_in_flight": 64, "max_message_bytes": 0, "suggested_rate": 0,
    },
    "config_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "webhook-python connector",
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri", "minLength": 1, "description": "Where to post the message"},
            "token": {"type": "string", "minLength": 1, "description": "Bearer token of the provider", "x-secret": True},
        },
        "required": ["url", "token"],
        "additionalProperties": False,
    },
}

ANSWER_BYTES = 1 << 20  # of an answer that are read
EXCERPT = 300  # characters of a refusal that become the error's text


@dataclass
class Problem:
    """What is wrong with one field of a config, and how to mend it."""

    field: str
    summary: str
    detail: str = ""


def problems(config: dict) -> list[Problem]:
    """Checks a config without any effect. The value of a secret never becomes part of a text."""
    known = DESCRIPTION["config_schema"]["properties"]
    found = [Problem(name, f'unknown field "{name}"', "one of: " + ", ".join(known)) for name in config if name not in known]
    for name, about in known.items():
        if config.get(name) is None:
            found.append(Problem(name, f'"{name}" is missing', about["description"]))
        elif not isinstance(config[name], str):
            found.append(Problem(name, f"expected a string, found {type(config[name]).__name__}", about["description"]))
        elif config[name] == "":
            found.append(Problem(name, f'"{name}" must not be empty', about["description"]))
    if not found and not is_http(config["url"]):
        found.append(Problem("url", "not a valid URL", "it begins with http:// or https:// and has a host"))
    return found


def is_http(text: str) -> bool:
    try:
        url = urllib.parse.urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # brackets without an IPv6 address, a port that is no number
        return False


@dataclass
class Outcome:
    """What came of one attempt. The gateway repeats only what was surely not sent."""

    outcome: int
    code: str = ""
    message: str = ""
    fault: int = pb.FAULT_UNSPECIFIED
    provider_code: str = ""
    retry_after: float = 0
    provider_ids: list[str] = field(default_factory=list)


class Channel:
    """One connector: an address and its token."""

    def __init__(self, config: dict):
        self.url = urllib.parse.urlsplit(config["url"])
        self.token = config["token"]
        self.secrets = [self.token]
        self.tls = ssl.create_default_context() if self.url.scheme == "https" else None

    def send(self, item: pb.Item, seconds: float) -> Outcome:
        """Sends one message. It runs in a thread of its own and has so many seconds."""
        connection = self.connection(seconds)
        try:
            connection.connect()
        except OSError as error:  # no byte of the message has left
            return Outcome(pb.OUTCOME_RETRYABLE, "connect_failed", f"connect: {error}", pb.FAULT_PROVIDER)
        try:
            connection.request("POST", self.target(), body(item), self.headers(item))
            answer = connection.getresponse()
            return outcome_of(answer, answer.read(ANSWER_BYTES))
        except socket.timeout as error:
            return Outcome(pb.OUTCOME_UNCERTAIN, "timeout", f"wait for the answer: {error}", pb.FAULT_PROVIDER)
        except (OSError, http.client.HTTPException) as error:  # it may have read the message before
            return Outcome(pb.OUTCOME_UNCERTAIN, "uncertain", f"post: {error!r}", pb.FAULT_PROVIDER)
        finally:
            connection.close()

    def connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=seconds, context=self.tls)
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=seconds)

    def target(self) -> str:
        return urllib.parse.urlunsplit(("", "", self.url.path or "/", self.url.query, ""))

    def headers(self, item: pb.Item) -> dict[str, str]:
        headers = {
            "Authorization": "Bearer " + self.token,
            "Content-Type": "application/json",
            "Idempotency-Key": item.idempotency_key,  # the same for every attempt of one message
        }
        if item.traceparent:
            headers["traceparent"] = item.traceparent
        return headers


def body(item: pb.Item) -> bytes:
    content = item.content
    message = {"id": item.message_id, "to": item.recipient, "text": content.text}
    for name in ("subject", "html"):
        if getattr(content, name):
            message[name] = getattr(content, name)
    if content.attributes:
        message["attributes"] = dict(content.attributes)
    return json.dumps(message, ensure_ascii=False).encode()


def outcome_of(answer: http.client.HTTPResponse, text: bytes) -> Outcome:
    """Turns the status of an answer into an outcome, as sdk.DoHTTP does for plugins in Go."""
    status = answer.status
    if 200 <= status < 300:
        return Outcome(pb.OUTCOME_ACCEPTED, provider_ids=provider_ids(text))
    message = f"provider answered {status} {answer.reason}: {excerpt(text)}"

    def failed(outcome: int, code: str, fault: int) -> Outcome:
        return Outcome(outcome, code, message, fault, str(status), retry_after(answer))

    if status == 429:
        return failed(pb.OUTCOME_THROTTLED, "throttled", pb.FAULT_PROVIDER)
    if status in (408, 425, 503):
        return failed(pb.OUTCOME_RETRYABLE, "unavailable", pb.FAULT_PROVIDER)
    if status in (401, 403):
        return failed(pb.OUTCOME_REJECTED, "auth_failed", pb.FAULT_CONFIG)
    if 300 <= status < 400:
        return failed(pb.OUTCOME_REJECTED, "http_status", pb.FAULT_CONFIG)
    if 400 <= status < 500:
        return failed(pb.OUTCOME_REJECTED, "http_status", pb.FAULT_MESSAGE)
    return failed(pb.OUTCOME_UNCERTAIN, "http_status", pb.FAULT_PROVIDER)  # it may have failed after the work


def provider_ids(text: bytes) -> list[str]:
    """The provider's own id of the message, where the answer is JSON with an "id"."""
    try:
        answer = json.loads(text)
    except ValueError:
        return []
    return [str(answer["id"])] if isinstance(answer, dict) and answer.get("id") else []


def excerpt(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())[:EXCERPT] or "no body"


def retry_after(answer: http.client.HTTPResponse) -> float:
    """Seconds, or a date."""
    value = answer.getheader("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
