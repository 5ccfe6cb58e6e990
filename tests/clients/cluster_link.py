"""How a Python client program of this folder talks to the runner: where the nodes are, and how to lose the leader."""

import os


def lone():
    """`host:port` of the lone node's HTTP API."""
    return os.environ["QUORLITE_ONE"]


def three():
    """`host:port` of the three nodes, the leader first."""
    return os.environ["QUORLITE_THREE"].split(",")


def kill_leader():
    """Has the leader killed with -9; returns once the other two have a new one."""
    print("kill leader", flush=True)
    answer = input()
    assert answer == "killed", answer


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)
