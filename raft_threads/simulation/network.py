"""A network in virtual time: encoded messages that are late, lost, doubled, overtaken or held back (§5.1, §5.5)."""

from __future__ import annotations

import io
import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Optional

from raft_threads.client_messages import Command
from raft_threads.messages import Reply, Request
from raft_threads.simulation.debuggers import refuse_to_wait_at_a_prompt
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.simulation.scheduler import Group, Scheduler, Task
from raft_threads.state import SafetyViolation
from raft_threads.surroundings import MessageDelivered, MessageDuplicated, MessageFate, MessageLost
from raft_threads.transport import HandleRequest, PeerDidNotAnswer, RequestRefused
from raft_threads.wire import Message, encode, read_message

SEND, DELIVER, ANSWER = 20, 21, 22

Deliver = Callable[[], None]
# Told of what becomes of a message: its kind of fate, sender, receiver, the message's number, the message.
Tell = Callable[[type[MessageFate], str, str, int, Any], None]


@dataclass(frozen=True)
class Weather:
    """How the network behaves. Delays are drawn between the shortest and the longest; a few take `tail` times that."""

    shortest_delay_ns: int = MILLISECOND
    longest_delay_ns: int = MILLISECOND
    tail: float = 0.0
    tail_factor: int = 4
    loss: float = 0.0
    duplication: float = 0.0

    def delay_ns(self, dice: random.Random) -> int:
        """Draw one message's delay."""
        delay = dice.randint(self.shortest_delay_ns, self.longest_delay_ns)
        return delay * self.tail_factor if self.tail and dice.random() < self.tail else delay


CLEAR = Weather()
HOSTILE_WEATHER = Weather(MILLISECOND, 30 * MILLISECOND, tail=0.1, loss=0.02, duplication=0.1)


def draw_weather(dice: random.Random) -> Weather:
    """Draw how a network behaves, from quick and sure to worse than an election takes."""
    longest = dice.choice([2, 10, 40, 80]) * MILLISECOND
    loss, duplication = dice.choice([0.0, 0.02, 0.1]), dice.choice([0.0, 0.05, 0.2])
    return Weather(MILLISECOND, longest, dice.choice([0.0, 0.05]), 4, loss, duplication)


class Network:
    """Carries messages between servers, by sender and receiver. A message is what `wire.py` makes of it."""

    def __init__(self, scheduler: Scheduler, servers: Collection[str], dice: random.Random) -> None:
        self.scheduler = scheduler
        self.servers = servers
        self.weather = CLEAR
        # How answers fare, where that differs: a voter's disk may be what takes the time (§5.6).
        self.weather_of_answers: Optional[Weather] = None
        self.tell: Tell = lambda fate, sender, receiver, number, message: None
        self.tell_of_hold: Callable[[], None] = lambda: None
        self._messages = 0
        self._dice = dice
        self._cut: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], list[tuple[Message, Deliver]]] = {}
        self._holding: dict[tuple[str, str], Callable[[Message], bool]] = {}
        self.ports: dict[str, Port] = {}

    # What a test or chaos does

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """Lose all that `sender` sends to `receiver`, also what is on its way."""
        self._cut.add((sender, receiver))

    def heal(self) -> None:
        """Repair all links. What is held back stays so."""
        self._cut.clear()

    def cut_links(self) -> list[tuple[str, str]]:
        """Return the links that are cut, in order."""
        return sorted(self._cut)

    def hold(self, sender: str, receiver: str, which: Callable[[Message], bool] = lambda message: True) -> None:
        """Keep the messages from `sender` to `receiver` (of those, `which`) until they are released."""
        self._holding[sender, receiver] = which

    def held(self, sender: str, receiver: str) -> list[Message]:
        """Return the messages that are held back there, oldest first."""
        return [message for message, _ in self._held.get((sender, receiver), [])]

    def links_held(self) -> list[tuple[str, str]]:
        """Return the links on which messages are held back, in order."""
        return sorted(link for link, messages in self._held.items() if messages)

    def under_way(self) -> list[tuple[int, str, str, Message]]:
        """Return the messages that will arrive: when (virtual nanoseconds), sender, receiver, message."""
        calls = [(when_ns, call) for when_ns, call in self.scheduler.calls() if isinstance(call, partial)]
        return [(when_ns, *call.args[:3]) for when_ns, call in calls if call.func == self._arrive]

    def release(self, sender: str, receiver: str, position: Optional[int] = None) -> None:
        """Deliver now what is held back there, and hold nothing any more; or only the message at `position`."""
        if position is not None:
            self._held[sender, receiver].pop(position)[1]()
            return
        self._holding.pop((sender, receiver), None)
        for _, deliver in self._held.pop((sender, receiver), []):
            deliver()

    # What ports do

    def carry(
        self, sender: str, receiver: str, message: Message, deliver: Deliver, is_answer: bool = False
    ) -> None:
        """Have `deliver` called when and as often as `message` arrives."""
        refuse_to_wait_at_a_prompt(f"a message to {receiver}")
        self._messages += 1
        number = self._messages
        self.scheduler.point(SEND, number)
        which = self._holding.get((sender, receiver))
        if which is not None and which(message):
            self._held.setdefault((sender, receiver), []).append((message, deliver))
            self.tell_of_hold()
            return
        weather = (self.weather_of_answers if is_answer else None) or self.weather
        if (sender, receiver) in self._cut or (weather.loss and self._dice.random() < weather.loss):
            self.tell(MessageLost, sender, receiver, number, message)
            return
        copies = 2 if may_come_twice(message) and self._dice.random() < weather.duplication else 1
        if copies == 2:
            self.tell(MessageDuplicated, sender, receiver, number, message)
        for _ in range(copies):
            self.scheduler.call_at(
                self.scheduler.now_ns + weather.delay_ns(self._dice),
                partial(self._arrive, sender, receiver, message, number, deliver),
            )

    def _arrive(self, sender: str, receiver: str, message: Message, number: int, deliver: Deliver) -> None:
        if (sender, receiver) in self._cut:
            self.tell(MessageLost, sender, receiver, number, message)
        else:
            self.tell(MessageDelivered, sender, receiver, number, message)
            deliver()


def may_come_twice(message: Message) -> bool:
    """Return whether a message does no harm when it comes twice: all RPCs (§5.5), and commands in a session (§8).

    Any other command would be executed twice, and TCP brings it once.
    """
    return not isinstance(message, Command) or message.client_id is not None


class Port:
    """Where one server, between start and crash, can be reached: a `Transport` for its node, and for clients."""

    def __init__(
        self, network: Network, server: str, group: Group, handle_client: Callable[[Message], Message]
    ) -> None:
        self._network = network
        self._scheduler = network.scheduler
        self._server = server
        self._group = group
        self._handle_client = handle_client
        self._handle_request: Optional[HandleRequest] = None
        self._idle: dict[str, list[Handler]] = {}
        self._handlers = 0
        self._open = True
        network.ports[server] = self

    # Transport

    def start(self, handle_request: HandleRequest) -> None:
        """Begin to deliver requests."""
        self._handle_request = handle_request

    def use_addresses(self, addresses: Mapping[str, str]) -> None:
        """Here servers are found by their names."""

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        """Send `request`, wait for the reply."""
        answer = Exchange(self._network, self._server, peer, encode(request), request).wait(math_ns(timeout))
        if answer is None:
            raise PeerDidNotAnswer(f"{peer} did not answer within {timeout * 1000:g} ms")
        if isinstance(answer, Refused):
            raise PeerDidNotAnswer(f"{peer} refused: {answer.reason}")
        reply: Reply = answer
        return reply

    def close(self) -> None:
        """Take no more requests. Handlers that are busy end by themselves."""
        self._open = False

    # For exchanges

    def accept(self, sender: str, data: bytes, respond: Callable[[Any], None]) -> None:
        """Have a thread of ours handle a request that has arrived. Called by the scheduler."""
        if not self._open or self._handle_request is None:
            return
        idle = self._idle.setdefault(sender, [])
        if idle:
            idle.pop().give(data, respond)
        else:
            self._handlers += 1
            Handler(self, sender, self._group, self._scheduler).start(data, respond)

    def handle(self, sender: str, data: bytes) -> Any:
        """Return the answer to a request: a message, or Refused."""
        request: Any = read_message(io.BytesIO(data))
        try:
            if sender in self._network.servers:
                assert self._handle_request is not None
                return self._handle_request(sender, request)
            return self._handle_client(request)
        except RequestRefused as refusal:
            if isinstance(refusal.__cause__, SafetyViolation):
                self._scheduler.fail(refusal.__cause__)
            return Refused(str(refusal))

    def send_answer(self, receiver: str, answer: Any, respond: Callable[[Any], None]) -> None:
        """Send the answer on its way."""
        data = answer if isinstance(answer, Refused) else encode(answer)
        self._network.carry(self._server, receiver, answer, lambda: respond(data), is_answer=True)

    def is_idle(self, handler: Handler) -> None:
        """Keep a thread for the next request of its sender."""
        self._idle[handler.sender].append(handler)


class Handler:
    """A thread `n2/rpc-from-n1` that answers one request after the other; kept, since starting one takes long."""

    def __init__(self, port: Port, sender: str, group: Group, scheduler: Scheduler) -> None:
        self.sender = sender
        self._port = port
        self._group = group
        self._scheduler = scheduler
        self._task: Optional[Task] = None
        self._work: deque[tuple[bytes, Callable[[Any], None]]] = deque()

    def start(self, data: bytes, respond: Callable[[Any], None]) -> None:
        """Begin with a first request."""
        self._work.append((data, respond))
        self._task = self._scheduler.spawn(f"{self._group.name}/rpc-from-{self.sender}", self._main, self._group)

    def give(self, data: bytes, respond: Callable[[Any], None]) -> None:
        """Go on with another request."""
        self._work.append((data, respond))
        assert self._task is not None
        self._scheduler.unpark(self._task)

    def _main(self) -> None:
        while True:
            data, respond = self._work.popleft()
            answer = self._port.handle(self.sender, data)
            self._port.send_answer(self.sender, answer, respond)
            self._port.is_idle(self)
            while not self._work:
                self._scheduler.park("a request")


@dataclass(frozen=True)
class Refused:
    """The answer of a server that will not answer; the sender's connection ends."""

    reason: str


class Exchange:
    """One request and the wait for its answer, by the thread that makes it."""

    def __init__(self, network: Network, sender: str, receiver: str, data: bytes, request: Message) -> None:
        self._scheduler = network.scheduler
        self._caller = self._scheduler.current
        self._receiver = receiver
        self._answer: Any = None

        def arrive() -> None:
            port = network.ports.get(receiver)
            if port is not None:
                port.accept(sender, data, self._respond)

        network.carry(sender, receiver, request, arrive)

    def _respond(self, data: Any) -> None:
        """The answer has arrived; called by the scheduler. A second one comes too late."""
        if self._answer is None:
            self._answer = data
            self._scheduler.unpark(self._caller)

    def wait(self, timeout_ns: int) -> Any:
        """Return the answer, None if there is none in time."""
        deadline_ns = self._scheduler.now_ns + timeout_ns
        while self._answer is None and self._scheduler.now_ns < deadline_ns:
            self._scheduler.park(f"the answer of {self._receiver}", deadline_ns - self._scheduler.now_ns)
        answer, self._answer = self._answer, Refused("too late")
        return read_message(io.BytesIO(answer)) if isinstance(answer, bytes) else answer


def math_ns(seconds: float) -> int:
    """Return whole nanoseconds, rounded up."""
    return -int(-seconds * 1e9 // 1)
