"""rqdb, synchronous and asynchronous: parameters, levels, its three kinds of batches, EXPLAIN, redirects, a failover."""

import asyncio
import base64
import pathlib
import sys

import rqdb
from rqdb.errors import DBError

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from cluster_link import kill_leader, lone, split, three

TEXT = """it's "quoted" ünïcödé 😀 <b>&amp;</b>"""
BLOB = [0, 137, 255]


def values(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB)")
    result = cursor.execute("INSERT INTO v(i, r, t, b) VALUES (?, ?, ?, ?)", (2**53 + 1, 1.5, TEXT, BLOB))
    assert (result.rows_affected, result.last_insert_id) == (1, 1), result
    cursor.execute("INSERT INTO v(i, r, t, b) VALUES (?, ?, ?, ?)", (-(2**63), None, None, []))
    cursor.execute("SELECT i, r, t, b FROM v ORDER BY id")
    rows = cursor.fetchall()
    assert rows[0] == [2**53 + 1, 1.5, TEXT, base64.b64encode(bytes(BLOB)).decode()], rows[0]
    assert rows[1] == [-(2**63), None, None, ""], rows[1]
    cursor.execute("SELECT id FROM v WHERE id > ?", (9,))
    assert cursor.rowcount == 0 and cursor.fetchone() is None
    cursor.execute("WITH w AS (SELECT max(id) AS m FROM v) SELECT m FROM w")
    assert cursor.fetchone() == [2]


def levels(connection):
    for level in ("weak", "linearizable", "strong"):
        cursor = connection.cursor(read_consistency=level)
        assert cursor.execute("SELECT count(*) FROM v").results == [[2]], level
    # A freshness of 0 never is stale; one that always is makes the client ask again at level weak.
    assert connection.cursor(read_consistency="none").execute("SELECT 1").results == [[1]]
    assert connection.cursor(read_consistency="none", freshness="1ns").execute("SELECT count(*) FROM v").results == [[2]]


def batches(connection):
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL)")
    done = cursor.executemany3((
        ("INSERT INTO person(name) VALUES (?)", ("Ada",)),
        ("INSERT INTO person(name) VALUES (?)", ("Bob",)),
    )).raise_on_error()
    assert [item.rows_affected for item in done] == [1, 1], done
    failed = cursor.executemany2(
        ("INSERT INTO person(name) VALUES (?)", "INSERT INTO person(name) VALUES (?)"),
        (("Cy",), ("Ada",)), raise_on_error=False)
    assert failed[1].error == "UNIQUE constraint failed: person.name", failed
    assert cursor.execute("SELECT name FROM person ORDER BY id").results == [["Ada"], ["Bob"]]
    mixed = cursor.executeunified3((
        ("INSERT INTO person(name) VALUES (?)", ("Di",)),
        ("SELECT name FROM person WHERE name = ?", ("Di",)),
        ("DELETE FROM person WHERE name = ?", ("Di",)),
    ))
    assert (mixed[0].rows_affected, mixed[1].results, mixed[2].rows_affected) == (1, [["Di"]], 1), mixed
    read = cursor.executeunified2(("SELECT 1 AS x", "SELECT name FROM person WHERE id=1"), read_consistency="strong")
    assert (read[0].results, read[1].results) == ([[1]], [["Ada"]]), read


def plan(connection):
    text = connection.cursor().explain("SELECT id FROM person WHERE name = ?", ("Ada",), out="str")
    assert "SEARCH person USING" in text, text


def errors(connection):
    cursor = connection.cursor()
    try:
        cursor.execute("INSERT INTO person(name) VALUES (?)", ("Ada",))
    except DBError as error:
        assert error.is_unique, error
    else:
        raise AssertionError("a second Ada was stored")
    try:
        cursor.execute("SELECT FROM person WHERE")
    except DBError as error:
        assert "syntax error" in str(error), error
    else:
        raise AssertionError("no syntax error")


async def awaited(addresses):
    async with rqdb.connect_async(addresses, log=False) as connection:
        cursor = connection.cursor()
        result = await cursor.execute("INSERT INTO person(name) VALUES (?)", ("Eve",))
        assert result.rows_affected == 1
        await cursor.execute("SELECT name FROM person WHERE name = ?", ("Eve",))
        assert cursor.fetchone() == ["Eve"]
        await cursor.execute("DELETE FROM person WHERE name = ?", ("Eve",))


def failover(addresses):
    connection = rqdb.connect(addresses, log=False)
    assert connection.discover_leader() == split(addresses[0])
    assert rqdb.connect(addresses[1:2], log=False).discover_leader() == split(addresses[0])
    kill_leader()
    cursor = connection.cursor()
    cursor.execute("INSERT INTO person(name) VALUES (?)", ("after",))
    assert cursor.execute("SELECT name FROM person WHERE name='after'", read_consistency="strong").results == [["after"]]
    assert connection.discover_leader() in [split(address) for address in addresses[1:]]


def main():
    for addresses in ([lone()], three(), three()[1:2]):
        connection = rqdb.connect(addresses, log=False)
        values(connection)
        levels(connection)
        batches(connection)
        plan(connection)
        errors(connection)
        asyncio.run(awaited(addresses))
        if addresses != three()[1:2]:
            connection.cursor().executemany2(("DROP TABLE v", "DROP TABLE person"))
    failover(three())


main()
