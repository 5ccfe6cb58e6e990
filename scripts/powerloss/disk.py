"""A disk that can lose its power, for processes that do not know of it.

usage, for programs that are not in Python:
    scripts/powerloss/disk.py build FOLDER                    compiles the library; prints its path
    scripts/powerloss/disk.py cut ROOT SHADOW drop|mix SEED   cuts the power; prints bytes lost and bytes kept

Owns: building the interposed library, the environment that loads it, and the power cut itself: what the directory holds
afterwards. The processes must be dead by then (kill -9: the kernel keeps what they wrote, which is how the difference to
what they flushed is known).

What a cut keeps of the bytes and names that were not flushed:

    drop  nothing
    mix   of each file a random part of its dirty 4 KiB pages, now and then a page torn at a 512-byte sector; the new
          or the old size; all of the directory changes or none (a journal keeps them in order)
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PAGE = 4096
SECTOR = 512
KEPT_SHARES = (0.0, 0.1, 0.5, 0.9)
TORN_SHARE = 0.05

# What faults.c maps; zeros are no faults.
FAULTS_BYTES = 64


def build(folder):
    """Compiles the library into `folder`; returns its path."""
    library = pathlib.Path(folder) / "powerloss.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library,
                    HERE / "interpose.c", HERE / "shadow.c", HERE / "faults.c", "-lpthread", "-ldl"], check=True)
    return library


class Disk:
    """The directory `root` of one process, and its shadow beside it."""

    def __init__(self, folder, library, lie=None, strict=False):
        folder = pathlib.Path(folder)
        self.root = folder / "disk"
        self.shadow = folder / "shadow"
        self.root.mkdir(parents=True)
        self.shadow.mkdir()
        faults = folder / "faults"
        faults.write_bytes(bytes(FAULTS_BYTES))
        self.env = {"LD_PRELOAD": str(library), "POWERLOSS_ROOT": str(self.root), "POWERLOSS_SHADOW": str(self.shadow),
                    "POWERLOSS_FAULTS": str(faults)}
        if lie:
            self.env["POWERLOSS_LIE_PATTERN"] = lie
        if strict:
            self.env["POWERLOSS_STRICT"] = "1"

    @classmethod
    def at(cls, root, shadow):
        """One that another program has made."""
        made = cls.__new__(cls)
        made.root, made.shadow = pathlib.Path(root), pathlib.Path(shadow)
        return made

    def cut(self, mode="drop", seed=0):
        """Replaces the directory by what the disk would hold; returns how many bytes were lost, and how many kept."""
        dice = random.Random(seed)
        tally = {"lost": 0, "kept": 0}
        if not (self.shadow / "taken").exists():
            # No process has come so far as to change anything.
            return tally
        after = pathlib.Path(tempfile.mkdtemp(dir=self.root.parent))
        newest = {path.stat().st_ino: path for path in files_below(self.root)}
        keeps_names = mode == "mix" and dice.random() < 0.5
        names = self.root if keeps_names else self.shadow / "tree"
        for path in directories_below(names):
            (after / path.relative_to(names)).mkdir()
        for path, flushed, ino in self.present_names() if keeps_names else self.durable_names():
            old = flushed.read_bytes() if flushed else b""
            live = newest.pop(ino, None)
            new = live.read_bytes() if live else old
            if live and old == new:
                os.link(live, after / path)
                continue
            (after / path).write_bytes(survive(old, new, mode, dice, tally))
        shutil.rmtree(self.root)
        shutil.rmtree(self.shadow)
        self.shadow.mkdir()
        after.rename(self.root)
        return tally

    def inodes(self):
        """(number of the real file, how often that number was used before, its flushed bytes), the latest last."""
        parts = [(*map(int, path.name.split(".")), path) for path in (self.shadow / "inodes").iterdir()]
        return sorted(parts)

    def durable_names(self):
        """(path, flushed bytes, number of the real file) of each name that was flushed."""
        tree = self.shadow / "tree"
        real = {path.stat().st_ino: ino for ino, _, path in self.inodes()}
        return [(path.relative_to(tree), path, real[path.stat().st_ino]) for path in files_below(tree)]

    def present_names(self):
        """The same of each name that is there, flushed or not."""
        flushed = {ino: path for ino, _, path in self.inodes()}
        found = [(path.relative_to(self.root), path.stat().st_ino) for path in files_below(self.root)]
        return [(path, flushed.get(ino), ino) for path, ino in found]


def survive(old, new, mode, dice, tally):
    """What is left of a file whose flushed bytes are `old` and whose newest are `new`."""
    if mode == "drop" or old == new:
        tally["lost"] += differing(old, new)
        return old
    share = dice.choice(KEPT_SHARES)
    size = len(dice.choice((old, new)))
    left = bytearray(old[:size].ljust(size, b"\0"))
    for at in range(0, size, PAGE):
        page = new[at:min(at + PAGE, size)]
        if left[at:at + len(page)] == page:
            continue
        if dice.random() >= share:
            tally["lost"] += len(page)
            continue
        if dice.random() < TORN_SHARE:
            page = page[:SECTOR * dice.randrange(1, PAGE // SECTOR)]
        left[at:at + len(page)] = page
        tally["kept"] += len(page)
    return bytes(left)


def differing(old, new):
    """Bytes in pages that differ."""
    pages = range(0, max(len(old), len(new)), PAGE)
    return sum(len(new[at:at + PAGE]) for at in pages if old[at:at + PAGE] != new[at:at + PAGE])


def files_below(folder):
    """Regular files, SQLite's shared memory left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in found if not path.name.endswith("-shm")]


def directories_below(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_dir()]


def main(words):
    match words:
        case ["build", folder]:
            print(build(folder))
        case ["cut", root, shadow, ("drop" | "mix") as mode, seed]:
            tally = Disk.at(root, shadow).cut(mode, int(seed))
            print(tally["lost"], tally["kept"])
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
