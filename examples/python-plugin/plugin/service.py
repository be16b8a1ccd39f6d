"""ChannelService of proto/channel/v1/channel.proto for the channel in channel.py.

All state belongs to the event loop; threads do nothing but send.
"""

import asyncio
import json
import secrets
import time
from concurrent.futures import Future, ThreadPoolExecutor

import channel
import channel_pb2 as pb
import log

DELIVER_SECONDS = 60  # where the gateway sets no deadline
DRAIN_SECONDS = 30
MAX_MARGIN = 0.2  # kept back before a deadline, for the results to travel
GIVE_UP_SECONDS = 1  # for calls to settle once they have to give up
IN_FLIGHT = channel.DESCRIPTION["limits"]["max_in_flight"]


class Broadcast:
    """Wakes everybody who waits for the next change. Take next() before reading the state."""

    def __init__(self):
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        return self._event

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()


class Connector:
    """One configured use of the plugin. Its threads are its own: a slow provider holds up no other."""

    def __init__(self, request: pb.ConfigureRequest, config: dict):
        self.revision = request.revision
        self.channel = channel.Channel(config)
        self.pool = ThreadPoolExecutor(IN_FLIGHT)

    def send(self, item: pb.Item, deadline: float) -> pb.Result:
        """Sends one item, in a thread of the pool."""
        if item.HasField("not_after") and item.not_after.ToNanoseconds() <= time.time_ns():
            return result(item, rejected_as_expired())
        began = time.monotonic()
        if began >= deadline:
            return result(item, not_started())
        try:
            sent = result(item, self.channel.send(item, deadline - began))
        except Exception as error:  # a fault costs its message, not the process
            log.exception("send failed", attempt_id=item.attempt_id)
            sent = result(item, channel.Outcome(pb.OUTCOME_UNCERTAIN, "panic", repr(error), pb.FAULT_PLUGIN))
        sent.latency.FromNanoseconds(int((time.monotonic() - began) * 1e9))
        return sent


class Service:
    """Serves the contract. Whoever makes it runs an event loop."""

    def __init__(self):
        self.connectors: dict[str, Connector] = {}
        self.nonce = secrets.token_hex(16)
        self.changed = Broadcast()  # the connectors, the drain or what is in flight
        self.unanswered = 0  # items of calls that have not ended
        self.working = 0  # items that threads have; they may outlive their call
        self.draining = False
        self.drained = asyncio.Event()
        self.give_up = asyncio.Event()

    # Who am I, and is this config right?

    async def Describe(self, request, context):
        about = dict(channel.DESCRIPTION, instance_nonce=self.nonce)
        about["config_schema"] = json.dumps(about["config_schema"]).encode()
        return pb.DescribeResponse(**about)

    async def ValidateConfig(self, request, context):
        _, found = read(request.config)
        if request.channel and request.channel not in channel.DESCRIPTION["channels"]:
            found.append(diagnostic(f'this plugin does not serve the channel "{request.channel}"'))
        return pb.ValidateConfigResponse(diagnostics=found)

    async def Configure(self, request, context):
        old = self.connectors.get(request.connector)
        if old and request.revision < old.revision:
            older = f"revision {request.revision} is older than the current one, {old.revision}"
            return pb.ConfigureResponse(diagnostics=[diagnostic(older)])
        config, found = read(request.config)
        if not found:
            self.connectors[request.connector] = Connector(request, config)
            self.changed.notify()
            if old:
                old.pool.shutdown(wait=False)  # what it was given is still sent
        return pb.ConfigureResponse(diagnostics=found)

    async def Remove(self, request, context):
        connector = self.connectors.pop(request.connector, None)
        if connector:
            self.changed.notify()
            await asyncio.to_thread(connector.pool.shutdown)  # waits for what is in flight
        return pb.RemoveResponse()

    # Messages.

    async def Deliver(self, request, context):
        items = list({item.attempt_id: item for item in request.items}.values())  # each attempt once
        connector = self.connectors.get(request.connector)
        if self.draining:
            await write(context, [result(item, refused_draining()) for item in items])
        elif connector is None:
            await write(context, [result(item, unknown_connector(request.connector)) for item in items])
        else:
            await self.deliver(connector, items, context)

    async def deliver(self, connector, items, context):
        """Streams one result for each item, as they come. What has none in time is given up."""
        deadline = author_deadline(context.time_remaining())
        futures = {self.submit(connector, item, deadline): item for item in items}
        waiting = {asyncio.wrap_future(future): future for future in futures}
        giving_up = asyncio.ensure_future(self.give_up.wait())
        self.unanswered += len(items)
        try:
            while waiting:
                done = await first(waiting, giving_up, deadline)
                if not done:
                    await write(context, [given_up(future, futures[future]) for future in waiting.values()])
                    break
                await write(context, [waiting.pop(task).result() for task in done])
        finally:
            giving_up.cancel()
            for future in waiting.values():
                future.cancel()  # begins nothing more; what has begun is finished
            self.unanswered -= len(items)
            self.changed.notify()

    def submit(self, connector, item, deadline) -> Future:
        future = connector.pool.submit(connector.send, item, deadline)
        loop = asyncio.get_running_loop()
        self.working += 1
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self.worked))
        return future

    def worked(self):
        self.working -= 1
        if self.draining:
            self.changed.notify()

    # Health and the end.

    async def Health(self, request, context):
        while True:
            changed = self.changed.next()
            await context.write(self.health())
            await changed.wait()

    def health(self):
        serving = pb.HEALTH_STATE_SERVING
        connectors = [pb.ConnectorHealth(connector=name, state=serving) for name in sorted(self.connectors)]
        if self.draining:
            return pb.HealthResponse(state=pb.HEALTH_STATE_NOT_SERVING, message="draining", connectors=connectors)
        return pb.HealthResponse(state=serving, connectors=connectors)

    async def Drain(self, request, context):
        self.drain(request.deadline.ToNanoseconds() / 1e9 if request.HasField("deadline") else DRAIN_SECONDS, request.reason)
        while not self.drained.is_set():
            changed = self.changed.next()
            await context.write(pb.DrainResponse(in_flight=self.in_flight()))
            await changed.wait()
        await context.write(pb.DrainResponse(in_flight=self.in_flight(), done=True))

    def drain(self, seconds: float, reason: str) -> None:
        """Takes no more messages and drains in the background, once."""
        if not self.draining:
            self.draining = True
            self.changed.notify()
            log.info("draining", in_flight=self.in_flight(), deadline=f"{seconds}s", reason=reason)
            self.drain_task = asyncio.create_task(self.finish(seconds))  # kept: the loop itself holds tasks weakly

    async def finish(self, seconds: float) -> None:
        if not await self.empty(seconds):
            log.warn("giving up items in flight", in_flight=self.in_flight())
            self.give_up.set()
            await self.empty(GIVE_UP_SECONDS)
        self.drained.set()
        self.changed.notify()

    async def empty(self, seconds: float) -> bool:
        """Waits until nothing is in flight, at most for so long."""
        deadline = time.monotonic() + seconds
        while self.in_flight() and time.monotonic() < deadline:
            changed = self.changed.next()
            await asyncio.wait({asyncio.ensure_future(changed.wait())}, timeout=deadline - time.monotonic())
        return self.in_flight() == 0

    def in_flight(self) -> int:
        return max(self.unanswered, self.working)


def read(text: bytes) -> tuple[dict, list[pb.Diagnostic]]:
    """Decodes and checks a config. Its secrets are kept out of the log from here on."""
    try:
        config = json.loads(text or b"{}")
    except ValueError:
        return {}, [diagnostic("the config is not JSON")]
    if not isinstance(config, dict):
        return {}, [diagnostic("the config is not an object")]
    properties = channel.DESCRIPTION["config_schema"]["properties"]
    log.hide([v for k, v in config.items() if isinstance(v, str) and properties.get(k, {}).get("x-secret")])
    return config, [diagnostic(p.summary, p.detail, p.field) for p in channel.problems(config)]


def diagnostic(summary: str, detail: str = "", field: str = "") -> pb.Diagnostic:
    path = [pb.PathStep(name=field)] if field else []
    return pb.Diagnostic(severity=pb.SEVERITY_ERROR, summary=log.redact(summary), detail=log.redact(detail), path=path)


def author_deadline(remaining) -> float:
    """When sending must be over, a little before the gateway stops waiting."""
    remaining = DELIVER_SECONDS if remaining is None else remaining
    return time.monotonic() + remaining - min(remaining / 10, MAX_MARGIN)


async def first(waiting, giving_up, deadline):
    """The tasks that are done once one is; none when the time is over."""
    if giving_up.done():
        return set()
    left = max(0.0, deadline - time.monotonic())
    done, _ = await asyncio.wait({*waiting, giving_up}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    return done - {giving_up}


def given_up(future: Future, item: pb.Item) -> pb.Result:
    """The result of an item whose time is over: surely not sent if no thread had begun it."""
    if future.cancel():
        return result(item, not_started())
    if future.done():
        return future.result()
    return result(item, channel.Outcome(pb.OUTCOME_UNCERTAIN, "timeout", "no answer in time", pb.FAULT_PROVIDER))


def rejected_as_expired():
    return channel.Outcome(pb.OUTCOME_REJECTED, "expired", "expired before it could be sent", pb.FAULT_MESSAGE)


def not_started():
    return channel.Outcome(pb.OUTCOME_RETRYABLE, "not_started", "the deadline came before its turn", pb.FAULT_PROVIDER)


def refused_draining():
    return channel.Outcome(pb.OUTCOME_RETRYABLE, "draining", "the plugin takes no messages any more", pb.FAULT_PLUGIN)


def unknown_connector(name: str):
    return channel.Outcome(pb.OUTCOME_RETRYABLE, "unknown_connector", f'connector "{name}" is not configured here', pb.FAULT_CONFIG)


def result(item: pb.Item, o: channel.Outcome) -> pb.Result:
    made = pb.Result(attempt_id=item.attempt_id, outcome=o.outcome, provider_ids=o.provider_ids)
    if o.outcome != pb.OUTCOME_ACCEPTED:
        made.error.code, made.error.provider_code, made.error.fault = o.code, o.provider_code, o.fault
        made.error.message = log.redact(o.message)
    if o.retry_after > 0:
        made.retry_after.FromNanoseconds(int(o.retry_after * 1e9))
    return made


async def write(context, results: list[pb.Result]) -> None:
    if results:
        await context.write(pb.DeliverResponse(results=results))
