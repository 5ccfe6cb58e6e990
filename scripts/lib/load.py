"""Writers that remember what was acknowledged, and the check that it is there.

Each write carries a key that is never used again, whatever came of it, so that afterwards each key is acknowledged
(must be there once), unknown (may be there once) or refused (must not be there).
"""

import http.client
import json
import random
import threading
import time

from cluster import Connection, Failed, Violation, check

TABLE = "CREATE TABLE writes(k TEXT NOT NULL, payload TEXT NOT NULL)"
INSERT = "INSERT INTO writes(k, payload) VALUES(?, ?)"

# Errors after which the write has certainly not happened.
REFUSALS = ("leader not found",)

PAUSE_AFTER_REFUSAL_S = 0.02


class Writer(threading.Thread):
    """One connection that writes one row after another to one node."""

    def __init__(self, name, port_of, payload, timeout_s, stop):
        super().__init__(name=name, daemon=True)
        self.port_of = port_of
        self.payload = payload
        self.timeout_s = timeout_s
        self.stop = stop
        self.acknowledged = []
        self.unknown = []
        self.refused = []
        self.errors = {}
        self.is_in_flight = False

    def run(self):
        connection, port, number = None, None, 0
        while not self.stop.is_set():
            if connection is None or port != self.port_of():
                port = self.port_of()
                connection = Connection(port, self.timeout_s)
            key = f"{self.name}-{number}"
            number += 1
            if not self.write(connection, key):
                self.stop.wait(PAUSE_AFTER_REFUSAL_S)
        if connection:
            connection.close()

    def write(self, connection, key):
        """One write; True if it was acknowledged."""
        body = json.dumps([[INSERT, key, self.payload]]).encode()
        if not connection.is_connected:
            try:
                connection.connect()
            except OSError as error:
                return self.count(error, self.refused, key)
        self.is_in_flight = True
        try:
            error = connection.request("POST", "/db/execute", body).error
        except (OSError, http.client.HTTPException) as broken:
            return self.count(repr(broken), self.unknown, key)
        finally:
            self.is_in_flight = False
        if error is None:
            self.acknowledged.append(key)
            return True
        certain = error.startswith("503 ") and any(text in error for text in REFUSALS)
        return self.count(error, self.refused if certain else self.unknown, key)

    def count(self, error, keys, key):
        keys.append(key)
        text = str(error)[:80]
        self.errors[text] = self.errors.get(text, 0) + 1
        return False


class Load:
    """Writers over all nodes of a cluster, from start() to finish()."""

    rounds = 0

    def __init__(self, cluster, writers=32, payload_bytes=100, timeout_s=5.0, port_of=None):
        Load.rounds += 1
        self.stop = threading.Event()
        payload = "x" * payload_bytes
        self.writers = []
        for number in range(writers):
            node = cluster.nodes[number % len(cluster.nodes)]
            port = port_of or (lambda node=node: node.http_port)
            self.writers.append(Writer(f"r{Load.rounds}w{number}", port, payload, timeout_s, self.stop))

    def start(self):
        for writer in self.writers:
            writer.start()
        return self

    def in_flight(self):
        """Writes that were sent and not answered."""
        return sum(writer.is_in_flight for writer in self.writers)

    def acknowledged_count(self):
        return sum(len(writer.acknowledged) for writer in self.writers)

    def finish(self):
        """Stops the writers and waits for them; returns this round's record."""
        self.stop.set()
        for writer in self.writers:
            writer.join()
        return Record.of(self.writers)


class Record:
    """What became of each key."""

    def __init__(self):
        self.acknowledged, self.unknown, self.refused = set(), set(), set()
        self.errors = {}

    @classmethod
    def of(cls, writers):
        record = cls()
        for writer in writers:
            record.acknowledged.update(writer.acknowledged)
            record.unknown.update(writer.unknown)
            record.refused.update(writer.refused)
            for text, count in writer.errors.items():
                record.errors[text] = record.errors.get(text, 0) + count
        return record

    def add(self, other):
        self.acknowledged |= other.acknowledged
        self.unknown |= other.unknown
        self.refused |= other.refused

    def faults(self, node):
        """What is wrong with the rows of `node`, as text; None if nothing is."""
        try:
            keys = [row[0] for row in node.query("SELECT k FROM writes")]
        except Failed as error:
            return str(error)
        there = set(keys)
        lost = self.acknowledged - there
        refused = self.refused & there
        strange = there - self.acknowledged - self.unknown - self.refused
        found = []
        if lost:
            found.append(f"{len(lost)} acknowledged rows are missing, such as {sorted(lost)[:3]}")
        if len(keys) != len(there):
            found.append(f"{len(keys) - len(there)} rows are there twice")
        if refused:
            found.append(f"{len(refused)} refused rows are there, such as {sorted(refused)[:3]}")
        if strange:
            found.append(f"{len(strange)} rows that nobody wrote")
        return f"{node.name}: " + "; ".join(found) if found else None

    def check(self, nodes):
        """Fails unless each acknowledged row is on each node once, and each other row at most once."""
        faults = [fault for fault in map(self.faults, nodes) if fault]
        check(not faults, " / ".join(faults), Violation)


def wait_for_load(load, acknowledged, random_more_s=0.0, timeout_s=30.0):
    """Waits until `acknowledged` writes are through, then a random while longer."""
    deadline = time.monotonic() + timeout_s
    while load.acknowledged_count() < acknowledged:
        check(time.monotonic() < deadline, f"only {load.acknowledged_count()} writes within {timeout_s:.0f} s")
        time.sleep(0.01)
    time.sleep(random.random() * random_more_s)
