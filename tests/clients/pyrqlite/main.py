"""pyrqlite as its users use it: DB-API cursors, conversion by declared type, errors, a batch, a follower, a failover."""

import datetime
import pathlib
import sys

import pyrqlite.dbapi2 as dbapi2
from pyrqlite.exceptions import Error

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from cluster_link import kill_leader, lone, split, three

TEXT = """it's "quoted" ünïcödé 😀 \u2028 <b>&amp;</b>"""
BLOB = bytes(range(256))


def connect(address, **options):
    host, port = split(address)
    return dbapi2.connect(host=host, port=port, timeout=10, **options)


def values(connection):
    """Every kind of value, there and back."""
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n TEXT, d DATE, s TIMESTAMP)")
    day, moment = datetime.date(2031, 5, 6), datetime.datetime(2031, 5, 6, 7, 8, 9, 120000)
    cursor.execute("INSERT INTO v(i, r, t, b, n, d, s) VALUES(?, ?, ?, ?, ?, ?, ?)",
                   (2**53 + 1, 1.5, TEXT, BLOB, None, day, moment))
    assert cursor.lastrowid == 1, cursor.lastrowid
    cursor.execute("INSERT INTO v(i, r, b) VALUES(:i, :r, :b)", {"i": -(2**63), "r": 3.0, "b": b""})
    cursor.execute("SELECT i, r, t, b, n, d, s FROM v ORDER BY id")
    assert [column[0] for column in cursor.description] == ["i", "r", "t", "b", "n", "d", "s"]
    rows = [tuple(row) for row in cursor.fetchall()]
    assert rows[0] == (2**53 + 1, 1.5, TEXT, BLOB, None, day, moment), rows[0]
    assert rows[1] == (-(2**63), 3.0, None, b"", None, None, None), rows[1]
    cursor.execute("SELECT count(*), avg(r), 'x' || 'y' FROM v")
    assert tuple(cursor.fetchone()) == (2, 2.25, "xy")
    cursor.execute("SELECT id FROM v WHERE id > 9")
    assert cursor.fetchone() is None
    cursor.execute('PRAGMA table_info("v")')
    assert cursor.fetchone()["name"] == "id"


def counts(connection):
    """rowcount is what SQLAlchemy builds on."""
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE c (id INTEGER PRIMARY KEY, v TEXT UNIQUE)")
    cursor.executemany("INSERT INTO c(v) VALUES(?)", [("a",), ("b",), ("c",)])
    assert cursor.rowcount == 3, cursor.rowcount
    cursor.execute("UPDATE c SET v = v || '!' WHERE id < 3")
    assert cursor.rowcount == 2, cursor.rowcount
    cursor.execute("DELETE FROM c WHERE id = 99")
    assert cursor.rowcount == 0, cursor.rowcount


def batch_is_atomic(connection):
    """executemany sends one transaction: all or nothing."""
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO c(v) VALUES(?)", [("d",), ("a!",), ("e",)])
    cursor.execute("SELECT count(*) FROM c WHERE v IN ('d', 'e')")
    assert cursor.fetchone()[0] == 0


def errors(connection):
    """A failing statement raises with SQLite's text."""
    for sql, text in (("INSERT INTO c(v) VALUES('a!')", "UNIQUE constraint failed: c.v"),
                      ("SELECT * FROM nowhere", "no such table: nowhere"),
                      ("INSERT INTO nowhere VALUES(1)", "no such table: nowhere")):
        try:
            connection.execute(sql)
        except Error as error:
            assert text in str(error), error
        else:
            raise AssertionError(f"{sql} did not fail")


def failover(addresses):
    """A connection to a node that stays goes on after the leader is gone."""
    connection = connect(addresses[1])
    connection.execute("CREATE TABLE f (id INTEGER PRIMARY KEY)")
    connection.execute("INSERT INTO f VALUES(1)")
    kill_leader()
    connection.execute("INSERT INTO f VALUES(2)")
    rows = connection.execute("SELECT id FROM f ORDER BY id", consistency="strong").fetchall()
    assert [row[0] for row in rows] == [1, 2], rows


def main():
    for address in (lone(), three()[1]):
        connection = connect(address, detect_types=dbapi2.PARSE_DECLTYPES)
        values(connection)
        counts(connection)
        batch_is_atomic(connection)
        errors(connection)
    failover(three())


main()
