"""`shell`: a prompt on a live cluster, to cut, crash, change and look at (§5 to §8)."""

from __future__ import annotations

import cmd
import sys

from raft_threads import kv
from raft_threads.demo.show import Show
from raft_threads.demo.stage import Stage
from raft_threads.free_ports import listed
from raft_threads.invariants import InvariantViolation
from raft_threads.local_cluster import LocalCluster
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.rpc_server import CannotListen
from raft_threads.state import Role
from raft_threads.storage import StorageError

COMMAND_TIMEOUT = 5.0


class BadCommand(Exception):
    """What was typed makes no sense. The text is one line that says what would."""


class ClusterShell(cmd.Cmd):
    """The commands of the prompt. The docstring of each is its help text."""

    def __init__(self, show: Show, cluster: LocalCluster) -> None:
        super().__init__()
        self._show = show
        self._stage: Stage = show.stage
        self._cluster = cluster
        self.prompt = "raft> " if sys.stdin.isatty() else ""
        self.use_rawinput = sys.stdin.isatty()

    def onecmd(self, line: str) -> bool:
        """Run one line; say in one line what is wrong with it, if anything is. Ctrl-D is as good as `quit`."""
        if line == "EOF":
            return True
        try:
            return bool(super().onecmd(line))
        except BadCommand as error:
            self._stage.line(f"   {error}")
        except (NotLeader, CommandFailed) as error:
            self._stage.line(f"   surely not executed: {error}")
        except (OutcomeUnknown, TimeoutError) as error:
            self._stage.line(f"   may have been executed: {error}")
        except (CannotListen, InvariantViolation, StorageError, ValueError) as error:
            self._stage.line(f"   {error}")
        return False

    def postcmd(self, stop: bool, line: str) -> bool:
        """Print everything before the next prompt."""
        self._stage.flush()
        return stop

    def emptyline(self) -> bool:
        """Do nothing, where cmd would repeat the last command."""
        return False

    def default(self, line: str) -> None:
        """Refuse a word that is no command."""
        raise BadCommand(f"there is no command {line.split()[0]!r}; try help")

    def do_put(self, line: str) -> None:
        """put KEY VALUE: set a key."""
        key, value = self._words(line, 2, "put KEY VALUE")
        self._execute(kv.put_command(key, value))

    def do_get(self, line: str) -> None:
        """get KEY: print a key's value."""
        (key,) = self._words(line, 1, "get KEY")
        value = self._execute(kv.get_command(key))["value"]
        self._stage.line(f"   {key} is absent" if value is None else f"   {value}")

    def do_delete(self, line: str) -> None:
        """delete KEY: remove a key."""
        (key,) = self._words(line, 1, "delete KEY")
        if not self._execute(kv.delete_command(key))["existed"]:
            self._stage.line(f"   {key} is absent")

    def do_append(self, line: str) -> None:
        """append KEY VALUE: append to a key's value."""
        key, value = self._words(line, 2, "append KEY VALUE")
        self._execute(kv.append_command(key, value))

    def do_cas(self, line: str) -> None:
        """cas KEY EXPECTED NEW: set a key to NEW if it holds EXPECTED."""
        key, expected, new = self._words(line, 3, "cas KEY EXPECTED NEW")
        result = self._execute(kv.cas_command(key, expected, new))
        self._stage.line("   swapped" if result["swapped"] else f"   not swapped: {key} holds {result['value']!r}")

    def do_increment(self, line: str) -> None:
        """increment KEY: add 1 to the number that a key holds."""
        (key,) = self._words(line, 1, "increment KEY")
        result = self._execute(kv.increment_command(key))
        self._stage.line(f"   {result['value'] if result['ok'] else result['error']}")

    def do_status(self, line: str) -> None:
        """status: show every server's role, term, leader and indexes."""
        for status in self._cluster.statuses():
            self._stage.line(
                f"   {self._stage.name(status.id)}  {status.role:9}  term {status.term}  "
                f"leader {status.leader or '-'}  commit_index {status.commit_index}  "
                f"last_applied {status.last_applied}  last_log_index {status.last_log_index}  "
                f"snapshot_index {status.snapshot_index}"
            )
        for server in self._cluster.servers:
            if server not in self._cluster.running:
                self._stage.line(f"   {self._stage.name(server)}  down")

    def do_log(self, line: str) -> None:
        """log: draw all logs, as in Fig. 6."""
        self._show.draw(self._cluster)

    def do_crash(self, line: str) -> None:
        """crash SERVER: kill it; its files remain (§5.5)."""
        server = self._running(line, "crash SERVER")
        self._cluster.crash(server)
        self._stage.note(server, "has crashed")

    def do_restart(self, line: str) -> None:
        """restart SERVER: start a crashed server from its files (§5.5)."""
        server = self._server(*self._words(line, 1, "restart SERVER"))
        if server in self._cluster.running:
            raise BadCommand(f"{server} is running; crash it first")
        self._cluster.restart(server)

    def do_wipe(self, line: str) -> None:
        """wipe SERVER: lose the files of a crashed server, which must have been removed before (§6)."""
        server = self._server(*self._words(line, 1, "wipe SERVER"))
        if server in self._cluster.running:
            raise BadCommand(f"{server} is running; crash it first")
        self._cluster.wipe(server)

    def do_members(self, line: str) -> None:
        """members: say which servers the cluster has, as its leader knows it (§6)."""
        self._require_leader()
        self._stage.line(f"   {' '.join(self._cluster.members())}")

    def do_add(self, line: str) -> None:
        """add SERVER: add a server to the cluster, a new one if there is none of that name (§6)."""
        (word,) = self._words(line, 1, "add SERVER")
        name = full_name(word)
        self._require_leader()
        if name not in self._cluster.servers:
            self._cluster.join(name)
        self._cluster.add(self._running(name, "add SERVER"))

    def do_remove(self, line: str) -> None:
        """remove SERVER: remove a server from the cluster; it goes on running (§6)."""
        server = self._server(*self._words(line, 1, "remove SERVER"))
        self._require_leader()
        self._cluster.remove(server)

    def do_snapshot(self, line: str) -> None:
        """snapshot SERVER: have it compact its log (§7)."""
        self._cluster.take_snapshot(self._running(line, "snapshot SERVER"))

    def do_transfer(self, line: str) -> None:
        """transfer SERVER: have the leader hand over to it (Diss. §3.10)."""
        server = self._running(line, "transfer SERVER")
        self._require_leader()
        self._cluster.transfer(server)

    def do_cut(self, line: str) -> None:
        """cut A B: lose all messages between two servers; cut A: between A and all others."""
        words = line.split()
        if len(words) not in (1, 2):
            raise BadCommand("write: cut A B, or cut A")
        servers = [self._server(word) for word in words]
        others = servers[1:] or [server for server in self._cluster.servers if server != servers[0]]
        if servers[0] in others or not others:
            raise BadCommand("there is a connection only between different servers")
        for other in others:
            self._cluster.network.cut(servers[0], other)
        self._stage.line(f"   {servers[0]} hears nothing from {listed(others)} any more, nor the other way round")

    def do_heal(self, line: str) -> None:
        """heal: repair all connections."""
        self._cluster.heal()
        self._stage.line("   all hear each other again")

    def do_timeout(self, line: str) -> None:
        """timeout SERVER: have its election timeout elapse now, so that it starts an election (§5.2)."""
        server = self._running(line, "timeout SERVER")
        if self._cluster.node(server).status().role == Role.LEADER.value:
            raise BadCommand(f"{server} leads; only followers and candidates have an election timer")
        self._cluster.node(server).expire_election_timer()

    def do_quit(self, line: str) -> bool:
        """quit: stop all servers and leave."""
        return True

    def _execute(self, command: bytes) -> dict[str, object]:
        return self._cluster.execute(command, self._require_leader(), COMMAND_TIMEOUT)

    def _require_leader(self) -> str:
        try:
            return self._cluster.wait_for_leader(timeout=COMMAND_TIMEOUT)
        except TimeoutError as error:
            raise BadCommand("surely not executed: there is no leader; try status") from error

    def _words(self, line: str, count: int, usage: str) -> list[str]:
        words = line.split(maxsplit=count - 1)
        if len(words) != count:
            raise BadCommand(f"write: {usage}")
        return words

    def _server(self, word: str) -> str:
        """Return the server that was meant; `2` is short for `n2`."""
        name = full_name(word)
        if name not in self._cluster.servers:
            raise BadCommand(f"there is no server {word}; there are {', '.join(self._cluster.servers)}")
        return name

    def _running(self, line: str, usage: str) -> str:
        server = self._server(*self._words(line, 1, usage))
        if server not in self._cluster.running:
            raise BadCommand(f"{server} is down; restart it first")
        return server


def full_name(word: str) -> str:
    """Return the server that is meant: `2` is short for `n2`."""
    return f"n{word}" if word.isdigit() else word


def shell(show: Show) -> None:
    """A prompt until `quit` or the end of the input."""
    stage = show.stage
    stage.scene(f"A live cluster of {show.servers}", "§5")
    stage.line("   Type help for the commands, quit to leave. What the servers do is told as it happens.")
    cluster = show.start_cluster(show.timing)
    cluster.wait_for_leader_of(cluster.servers)
    stage.flush()
    ClusterShell(show, cluster).cmdloop()
    show.check("no term had two leaders (Election Safety, Fig. 3)", cluster.check_single_leader)
    show.check("the logs agree wherever they share an entry (Log Matching, Fig. 3)", cluster.check_logs_match)
    show.check("no event broke a property of Fig. 3", cluster.check_figure_3)
