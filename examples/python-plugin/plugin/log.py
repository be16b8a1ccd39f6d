"""The log: hclog's JSON on the standard error, one object a line, without secrets."""

import base64
import datetime
import json
import logging
import sys
import urllib.parse

# In each form in which they commonly turn up. Those of replaced configs stay: a late error may
# still quote an old token.
_secrets: set[str] = set()


def hide(secrets: list[str]) -> None:
    """Keeps the secrets out of all that redact sees from now on."""
    for secret in secrets:
        if len(secret) < 4:
            continue  # it would be found inside ordinary words
        raw = secret.encode()
        _secrets.update({
            secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1],
            urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret),
            base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("="),
        })


def redact(text: str) -> str:
    """Cuts the secrets out of a text: the longest first, for one may begin with another."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, "[redacted]")
    return text


class _Hclog(logging.Formatter):
    def __init__(self, module: str):
        super().__init__()
        self.module = module

    def format(self, record: logging.LogRecord) -> str:
        level = {"WARNING": "warn", "CRITICAL": "error"}.get(record.levelname, record.levelname.lower())
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        entry = {"@level": level, "@message": record.getMessage(), "@module": self.module, "@timestamp": at.isoformat()}
        if record.exc_info:
            entry["stack"] = self.formatException(record.exc_info)
        entry.update(getattr(record, "fields", {}))
        return redact(json.dumps(entry, ensure_ascii=False))


def start(module: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Hclog(module))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def info(message: str, **fields) -> None:
    logging.info(message, extra={"fields": fields})


def warn(message: str, **fields) -> None:
    logging.warning(message, extra={"fields": fields})


def exception(message: str, **fields) -> None:
    """Logs an error with the stack of the exception that is being handled."""
    logging.exception(message, extra={"fields": fields})
