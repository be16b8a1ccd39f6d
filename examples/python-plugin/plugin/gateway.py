"""The process as the gateway sees it: hashicorp/go-plugin's handshake and services, and its end."""

import asyncio
import base64
import datetime
import os
import signal
import sys

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import channel_pb2 as pb
import log
from service import Service

CORE_PROTOCOL = 1  # of go-plugin
PROTOCOL = 1  # of Pigeonry; a gateway that does not name it in PLUGIN_PROTOCOL_VERSIONS refuses it by itself
MAX_RECEIVE_BYTES = 16 << 20  # gRPC's own bound of 4 MiB is too small for a batch with attachments
ORPHAN_POLL = 0.25  # seconds
ORPHAN_DRAIN = 2
ORPHAN_EXIT = 4
STOP_SECONDS = 0.2  # for the last answers to travel; the gateway kills after two seconds

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
PLUGIN = b"\x0a\x06plugin"  # grpc.health.v1.HealthCheckRequest{service: "plugin"}

METHODS = {  # name: request, response, whether it streams
    "Describe": (pb.DescribeRequest, pb.DescribeResponse, False),
    "ValidateConfig": (pb.ValidateConfigRequest, pb.ValidateConfigResponse, False),
    "Configure": (pb.ConfigureRequest, pb.ConfigureResponse, False),
    "Remove": (pb.RemoveRequest, pb.RemoveResponse, False),
    "Deliver": (pb.DeliverRequest, pb.DeliverResponse, True),
    "Health": (pb.HealthRequest, pb.HealthResponse, True),
    "Drain": (pb.DrainRequest, pb.DrainResponse, True),
}


def started_by_gateway() -> bool:
    return os.environ.get("PIGEONRY_PLUGIN") == "channel.v1"


async def serve(service: Service) -> None:
    """Serves until the gateway says Shutdown or is gone."""
    stop = asyncio.Event()
    watch_signals(service, stop)
    parent_watch = asyncio.create_task(watch_parent(service, stop))

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_RECEIVE_BYTES)])
    server.add_generic_rpc_handlers((channel_service(service), *plugin_services(stop)))
    credentials, certificate = mutual_tls()
    address = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "plugin.sock")
    server.add_secure_port("unix:" + address, credentials)
    await server.start()

    print(f"{CORE_PROTOCOL}|{PROTOCOL}|unix|{address}|grpc|{certificate}", flush=True)
    sys.stdout = sys.stderr  # what is printed from here on becomes a line of the gateway's log
    await stop.wait()
    parent_watch.cancel()
    await server.stop(STOP_SECONDS)


def channel_service(service: Service):
    def handler(name, request, response, streams):
        make = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return make(getattr(service, name), request.FromString, response.SerializeToString)

    handlers = {name: handler(name, *about) for name, about in METHODS.items()}
    return grpc.method_handlers_generic_handler("channel.v1.ChannelService", handlers)


def plugin_services(stop: asyncio.Event):
    """What go-plugin wants beside the service itself. The messages are so small that bytes will do."""

    async def check(request, context):
        if request != PLUGIN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return SERVING

    async def shutdown(request, context):
        stop.set()
        return b""  # plugin.Empty

    async def stream_stdio(request, context):
        await stop.wait()  # nothing to say: the standard error is the log already

    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    return (
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": unary(check)}),
        grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(shutdown)}),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": stream(stream_stdio)}),
    )


def mutual_tls():
    """go-plugin's AutoMTLS: the gateway's certificate comes in the environment, our own, made for this
    process, goes back in the handshake line as base64 without padding. Each side trusts only the other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    credentials = grpc.ssl_server_credentials(
        [(private, certificate.public_bytes(pem))],
        root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(), require_client_auth=True,
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return credentials, base64.b64encode(der).decode().rstrip("=")


def watch_signals(service: Service, stop: asyncio.Event) -> None:
    """Ignores SIGTERM and SIGINT until the plugin is drained: a service manager that signals the whole
    group must not take the plugins away before the gateway has finished."""

    def on_signal(number):
        if service.drained.is_set():
            stop.set()
        else:
            log.info("signal ignored: the gateway decides when this plugin ends", signal=number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)


async def watch_parent(service: Service, stop: asyncio.Event) -> None:
    """Ends the plugin when its gateway is gone, which shows in a new parent process. The standard input
    says nothing: it is /dev/null from the start."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(ORPHAN_POLL)
    log.warn("the gateway is gone: finishing what is in flight, then ending")
    asyncio.get_running_loop().call_later(ORPHAN_EXIT, os._exit, 1)
    service.drain(ORPHAN_DRAIN, "the gateway is gone")
    await service.drained.wait()
    stop.set()
