"""The most memory that nodes held while something went on."""

import threading


class Peak(threading.Thread):
    """From start() to end(): resident memory by node name, in KiB."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.kib = {node.name: 0 for node in nodes}
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(0.1):
            for node in self.nodes:
                if node.is_running():
                    self.kib[node.name] = max(self.kib[node.name], node.resident_kib())

    def end(self):
        self.ending.set()
        self.join()
