"""An aiosmtpd server for peer_test.go: prints one JSON line when ready and one per mail.

aiosmtpd_sink.py PORT [CERTIFICATE KEY USER PASSWORD]

With a certificate, mails are taken over STARTTLS and after a login alone.
"""

import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def tell(**line):
    print(json.dumps(line), flush=True)


class Sink:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        tell(
            mail_from=envelope.mail_from,
            rcpt_tos=envelope.rcpt_tos,
            smtp_utf8=envelope.smtp_utf8,
            tls=session.ssl is not None,
            user=session.auth_data,
            content=base64.b64encode(envelope.content).decode(),
        )
        return "250 2.0.0 taken"


def options(args):
    if not args:
        return {}
    certificate, key, user, password = args
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def check(server, session, envelope, mechanism, login):
        right = login.login.decode() == user and login.password.decode() == password
        return AuthResult(success=right, handled=False, auth_data=user if right else None)

    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": check,
    }


async def main():
    port, extra = int(sys.argv[1]), options(sys.argv[2:])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Sink(), enable_SMTPUTF8=True, loop=loop, **extra), "127.0.0.1", port
    )
    tell(port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
