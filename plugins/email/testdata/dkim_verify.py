"""Verifies every DKIM signature of a mail with dkimpy, for dkim_test.go.

dkim_verify.py KEYS <MAIL

KEYS is a JSON object of DNS names and their TXT records. Prints a JSON list with an object for each signature.
"""

import json
import sys

import dkim

with open(sys.argv[1]) as file:
    keys = json.load(file)
mail = sys.stdin.buffer.read()


def txt(name, timeout=5):
    return keys[name.decode().rstrip(".")].encode()


out = []
count = sum(1 for name, _ in dkim.rfc822_parse(mail)[0] if name.lower() == b"dkim-signature")
for index in range(count):
    verifier = dkim.DKIM(mail)
    try:
        valid, why = verifier.verify(idx=index, dnsfunc=txt), ""
    except dkim.DKIMException as error:
        valid, why = False, str(error)
    out.append(
        {
            "valid": valid,
            "why": why,
            "algorithm": verifier.signature_fields.get(b"a", b"").decode(),
            "headers": [name.decode() for name, _ in verifier.signed_headers or []],
        }
    )
json.dump(out, sys.stdout)
