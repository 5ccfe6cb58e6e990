"""Real quorlited processes for the proofs in scripts/.

Owns: free ports, data directories, starting and ending nodes (only those it started, each by its own process id), and
the few requests that every proof makes. Never decides what a proof expects.

Python's standard library only.
"""

import ctypes
import hashlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN_DEFAULT = ROOT / "target" / "debug" / "quorlited"

# Below the range from which the kernel takes ports for outgoing connections: a port that a killed node
# leaves behind is still free when that node comes back.
PORTS = range(20000, 32000)

POLL_S = 0.02
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A proof does not hold, or could not be made."""


class Violation(Failed):
    """The cluster broke its word: something acknowledged is missing, something is there twice, replicas differ."""


def check(holds, text, kind=Failed):
    """Ends the proof with `text` unless `holds`."""
    if not holds:
        raise kind(text)


def wait_for(claim, what, timeout_s=30.0, poll_s=POLL_S):
    """Polls `claim` until it answers something true, and returns that."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = claim()
        if value:
            return value
        check(time.monotonic() < deadline, f"no {what} within {timeout_s:.0f} s")
        time.sleep(poll_s)


def free_ports(count):
    """Ports on which nothing listens."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise Failed("no free ports")


def die_with_parent():
    """Runs in the child: a proof that is killed leaves no node behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Reply:
    """Status, headers and body of one answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The first error of a data endpoint's answer; None only for an acknowledged request."""
        if self.status != 200:
            return f"{self.status} {self.body.decode(errors='replace').strip()}"
        answer = self.json()
        if answer.get("error"):
            return answer["error"]
        return next((result["error"] for result in answer["results"] if result.get("error")), None)


class Connection:
    """One keep-alive connection to a node. Not for several threads at once."""

    def __init__(self, port, timeout_s=30.0):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)

    def connect(self):
        """Connects without sending anything, so that a failure here is certain to have done nothing."""
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_connected(self):
        return self.http.sock is not None

    def request(self, method, path, body=None, headers=None):
        """Sends one request. Raises OSError or HTTPException when no whole answer comes back."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            if self.http.sock is None:
                self.connect()
            self.http.request(method, path, body, headers or {})
            answer = self.http.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException):
            self.http.close()
            raise

    def close(self):
        self.http.close()


class Node:
    """One quorlited, its directory and its ports."""

    def __init__(self, name, folder, binary, ports, flags=(), env=None):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.binary = str(binary)
        self.http_port, self.raft_port = ports
        self.flags = list(flags)
        self.env = dict(env or {})
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "stderr.log"

    @property
    def raft_addr(self):
        return f"127.0.0.1:{self.raft_port}"

    def start(self, extra=()):
        """Starts the process; does not wait until it answers."""
        words = [self.binary, "-node-id", self.name, "-http-addr", f"127.0.0.1:{self.http_port}",
                 "-raft-addr", self.raft_addr, *self.flags, *extra, str(self.data)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, **self.env}, preexec_fn=die_with_parent)
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and waits until the kernel has let go of it."""
        if self.is_running():
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def terminate(self, timeout_s=30.0):
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def request(self, method, path, body=None, headers=None, timeout_s=30.0):
        """One request on a connection of its own."""
        connection = Connection(self.http_port, timeout_s)
        try:
            return connection.request(method, path, body, headers)
        finally:
            connection.close()

    def answers(self, path, timeout_s=2.0):
        """The reply to a GET, or None if the node does not answer."""
        try:
            return self.request("GET", path, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException):
            return None

    def is_ready(self):
        reply = self.answers("/readyz")
        return reply is not None and reply.status == 200

    def wait_ready(self, timeout_s=30.0):
        def ready_or_gone():
            check(self.is_running(), f"{self.name} ended with {self.process.poll()}: {self.log_tail()}")
            return self.is_ready()
        wait_for(ready_or_gone, f"/readyz of {self.name}", timeout_s)

    def log_tail(self, lines=2):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return " | ".join(text.splitlines()[-lines:])

    def execute(self, *statements, query="", timeout_s=30.0):
        """POST /db/execute; fails on any error."""
        reply = self.request("POST", f"/db/execute{query}", list(statements), timeout_s=timeout_s)
        check(reply.error is None, f"execute on {self.name}: {reply.error}")
        return reply.json()["results"]

    def query(self, sql, level="none", timeout_s=60.0):
        """The rows of one SELECT."""
        q = urllib.parse.quote(sql)
        reply = self.request("GET", f"/db/query?level={level}&q={q}", timeout_s=timeout_s)
        check(reply.error is None, f"query on {self.name}: {reply.error}")
        return reply.json()["results"][0].get("values", [])

    def status(self, key):
        """A sub-tree of /status, or None while the node does not answer."""
        reply = self.answers(f"/status?key={key}")
        return reply.json() if reply is not None and reply.status == 200 else None

    def applied(self):
        """The index that this node has applied."""
        value = self.status("store.raft.applied_index")
        return value if isinstance(value, int) else None

    def resident_kib(self):
        """Resident memory of the process."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise Failed(f"no VmRSS of {self.name}")

    def content_hash(self):
        """(index, hash) of the whole content, by the server's own endpoint; None where there is none."""
        reply = self.request("GET", "/quorlite/hash", timeout_s=120.0)
        if reply.status == 404:
            return None
        check(reply.status == 200, f"hash on {self.name}: {reply.status} {reply.body[:200]!r}")
        answer = reply.json()
        return answer["index"], answer["hash"]

    def rows_hash(self):
        """A hash over every row of every table at level none, computed here."""
        digest = hashlib.sha256()
        tables = self.query("SELECT name, sql FROM sqlite_master WHERE type='table' ORDER BY name")
        for name, sql in tables:
            quoted = name.replace('"', '""')
            digest.update(f"{name}\n{sql}\n".encode())
            digest.update(json.dumps(self.query(f'SELECT * FROM "{quoted}" ORDER BY 1')).encode())
        return digest.hexdigest()


class Cluster:
    """Several nodes in one temporary directory. As a context manager it ends and removes all of them."""

    def __init__(self, size=3, binary=None, flags=(), env_of=None, folder=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="quorlite-proof-"))
        self.binary = pathlib.Path(binary or BIN_DEFAULT).resolve()
        check(self.binary.exists(), f"no binary at {self.binary}: build it, or name it with --bin")
        ports = free_ports(2 * size)
        names = [f"n{i + 1}" for i in range(size)]
        pairs = [(ports[2 * i], ports[2 * i + 1]) for i in range(size)]
        form = []
        if size > 1:
            join = ",".join(f"127.0.0.1:{raft}" for _, raft in pairs)
            form = ["-bootstrap-expect", str(size), "-join", join]
        self.nodes = [
            Node(name, self.folder / name, self.binary, pair, [*flags, *form], env_of(name) if env_of else None)
            for name, pair in zip(names, pairs)
        ]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.kill_all()
        if kind is None or os.environ.get("KEEP") is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def start(self, timeout_s=30.0):
        """Starts all nodes and waits until each is ready."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready(timeout_s)
        return self

    def kill_all(self):
        """kill -9 to all of them before any is waited for: as close to one moment as signals get."""
        for node in self.nodes:
            if node.is_running():
                node.process.send_signal(signal.SIGKILL)
        for node in self.nodes:
            node.kill()

    def running(self):
        return [node for node in self.nodes if node.is_running()]

    def leader(self, timeout_s=30.0):
        """The node that the running ones call leader and that calls itself so."""
        def find():
            for node in self.running():
                if node.status("store.raft.state") == "Leader":
                    return node
            return None
        return wait_for(find, "leader", timeout_s)

    def followers(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def wait_level(self, timeout_s=60.0):
        """Waits until every running node has applied the same index twice in a row; returns it."""
        before = None

        def level():
            nonlocal before
            now = {node.applied() for node in self.running()}
            same = now == before and len(now) == 1 and None not in now
            before = now
            return now.copy().pop() if same else None
        return wait_for(level, "common applied index", timeout_s, poll_s=0.1)

    def check_equal(self):
        """Fails unless all running nodes hold the same content; returns how that was established, and the hash."""
        self.wait_level()
        own = [node.content_hash() for node in self.running()]
        if None not in own:
            check(len(set(own)) == 1, f"content hashes differ: {own}", Violation)
            return f"content hash {own[0][1]} at {own[0][0]}"
        rows = [node.rows_hash() for node in self.running()]
        check(len(set(rows)) == 1, f"rows differ: {rows}", Violation)
        return f"rows {rows[0][:16]}"


def prove(name, proof):
    """Runs `proof`, prints the verdict, and exits with it."""
    try:
        proof()
    except Failed as error:
        print(f"FAIL {name}: {error}", flush=True)
        raise SystemExit(1) from None
    print(f"PASS {name}", flush=True)
