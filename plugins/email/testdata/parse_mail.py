"""Reads a mail with Python's email package, for peer_test.go: prints what it finds as JSON."""

import email
import email.policy
import json
import sys

mail = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
parts = []
for part in mail.walk():
    if part.is_multipart():
        continue
    content = part.get_payload(decode=True)
    parts.append(
        {
            "type": part.get_content_type(),
            "disposition": part.get_content_disposition() or "",
            "name": part.get_filename() or "",
            "id": part.get("Content-ID", ""),
            "size": len(content),
            "text": part.get_content() if part.get_content_maintype() == "text" else "",
            "defects": [str(defect) for defect in part.defects],
        }
    )
headers = {name: str(value) for name, value in mail.items()}
defects = [str(defect) for defect in mail.defects]
for name, value in mail.items():
    defects += [f"{name}: {defect}" for defect in value.defects]
json.dump({"headers": headers, "parts": parts, "defects": defects}, sys.stdout)
