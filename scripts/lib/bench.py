"""`quorlite bench` as a source of load and figures."""

import json
import pathlib
import subprocess

from cluster import check, die_with_parent


class Bench:
    """One run of the load generator, in its own process."""

    def __init__(self, binary, work, nodes, *words):
        binary = pathlib.Path(binary)
        check(binary.exists(), f"no binary at {binary}: build it, or name it with --bench")
        addresses = ",".join(f"127.0.0.1:{node.http_port}" for node in nodes)
        line = [str(binary), "bench", work, "--json", "-a", addresses, *map(str, words)]
        self.line = " ".join(line)
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=die_with_parent)

    def is_running(self):
        return self.process.poll() is None

    def report(self):
        """Waits for its end; returns what it measured."""
        out, error = self.process.communicate()
        check(self.process.returncode == 0, f"{self.line}: {error.decode(errors='replace').strip()[-300:]}")
        return json.loads(out)


def p99_ms(report):
    return report["latency_us"]["p99"] / 1e3


def binary_beside(quorlited):
    """The `quorlite` that was built with this quorlited."""
    return pathlib.Path(quorlited).parent / "quorlite"
