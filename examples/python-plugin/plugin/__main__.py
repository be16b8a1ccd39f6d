"""A channel plugin of Pigeonry in Python, without an SDK.

channel.py is the channel itself: begin there to make your own. service.py serves the plugin
contract for it, gateway.py is the process: how it is started, connected to and ended.
"""

import asyncio
import json
import os
import sys

import channel
import gateway
import log
from service import Service

GREETING = """{name} {version} is a channel plugin of Pigeonry. The gateway starts it; by itself it does nothing.

To use it:    install it as <plugins dir>/{name}/{version}/{name} and name it in a connector: plugin = "{name}"
To look:      {file} -describe"""


def main() -> int:
    if {"-describe", "--describe"} & set(sys.argv[1:]):
        print(json.dumps(channel.DESCRIPTION, indent=2, ensure_ascii=False))
        return 0
    if not gateway.started_by_gateway():
        about = {key: channel.DESCRIPTION[key] for key in ("name", "version")}
        print(GREETING.format(file=os.path.basename(sys.argv[0]), **about), file=sys.stderr)
        return 1
    log.start(channel.DESCRIPTION["name"])
    asyncio.run(gateway.serve(Service()))
    # Not a return: Python would wait for threads that hang on a provider.
    sys.stderr.flush()
    os._exit(0)


sys.exit(main())
