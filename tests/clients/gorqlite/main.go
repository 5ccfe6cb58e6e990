// gorqlite and its database/sql driver: discovery, every value, batches, the unified endpoint, errors, a failover.
package main

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rqlite/gorqlite"
	_ "github.com/rqlite/gorqlite/stdlib"
)

const text = "it's \"quoted\" ünïcödé 😀 <b>&amp;</b>"

// check ends the program unless what holds.
func check(holds bool, what string, arguments ...any) {
	if !holds {
		fmt.Fprintf(os.Stderr, what+"\n", arguments...)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

func statement(query string, arguments ...interface{}) gorqlite.ParameterizedStatement {
	return gorqlite.ParameterizedStatement{Query: query, Arguments: arguments}
}

func values(conn *gorqlite.Connection) {
	must(conn.WriteOne("CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n TEXT, at DATETIME)"))
	insert := statement("INSERT INTO v(i, r, t, b, n, at) VALUES(?, ?, ?, ?, ?, ?)",
		int64(1)<<53+1, 1.5, text, "x'0089FF'", nil, "2031-05-06 07:08:09")
	written := must(conn.WriteOneParameterized(insert))
	check(written.LastInsertID == 1 && written.RowsAffected == 1, "written %+v", written)

	rows := must(conn.QueryOneParameterized(statement("SELECT id, r, t, b, n, at FROM v WHERE i = ?", int64(1)<<53+1)))
	check(rows.NumRows() == 1 && rows.Next(), "rows %d", rows.NumRows())
	var id int64
	var real float64
	var word, blob string
	var null gorqlite.NullString
	var at time.Time
	check(rows.Scan(&id, &real, &word, &blob, &null, &at) == nil, "scan")
	check(id == 1 && real == 1.5 && word == text && blob == "AIn/" && !null.Valid, "%d %v %q %q %v", id, real, word, blob, null)
	check(at.Equal(time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)), "at %v", at)
	check(slices.Equal(rows.Types(), []string{"integer", "real", "text", "blob", "text", "datetime"}), "types %v", rows.Types())

	// The client reads numbers as doubles, so the last digit is compared as text.
	exact := must(conn.QueryOne("SELECT CAST(i AS TEXT) AS i FROM v"))
	exact.Next()
	check(exact.Scan(&word) == nil && word == "9007199254740993", "exact %q", word)
	none := must(conn.QueryOne("SELECT id FROM v WHERE id = 9"))
	check(none.NumRows() == 0 && !none.Next() && slices.Equal(none.Columns(), []string{"id"}), "none %+v", none)
}

func batches(conn *gorqlite.Connection) {
	must(conn.Write([]string{"CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)", "INSERT INTO t(name) VALUES('Ada')"}))
	results, err := conn.Write([]string{"INSERT INTO t(id) VALUES(5)", "INSERT INTO t(id) VALUES(1)", "INSERT INTO t(id) VALUES(6)"})
	check(err != nil && len(results) == 2, "a batch with a fault: %v, %d results", err, len(results))
	var fault *gorqlite.StatementError
	check(errors.As(err, &fault) && fault.Message == "UNIQUE constraint failed: t.id", "fault %v", err)
	count := must(conn.QueryOne("SELECT count(*) FROM t"))
	var n int64
	count.Next()
	check(count.Scan(&n) == nil && n == 1, "the batch left %d rows", n)

	both := must(conn.Request([]string{"INSERT INTO t(name) VALUES('Bob')", "SELECT name FROM t ORDER BY id"}))
	check(both[0].Write != nil && both[0].Write.RowsAffected == 1, "request %+v", both[0])
	check(both[1].Query != nil && both[1].Query.NumRows() == 2, "request %+v", both[1])
	read := must(conn.Query([]string{"SELECT 1", "SELECT name FROM t WHERE id = 1"}))
	check(len(read) == 2 && read[1].Next(), "query %+v", read)
}

func levels(conn *gorqlite.Connection) {
	for _, level := range []string{"none", "weak", "linearizable", "strong"} {
		parsed := must(gorqlite.ParseConsistencyLevel(level))
		check(conn.SetConsistencyLevel(parsed) == nil, "level %s", level)
		rows := must(conn.QueryOne("SELECT 1"))
		check(rows.Next(), "level %s", level)
	}
	check(conn.SetConsistencyLevel(gorqlite.ConsistencyLevelWeak) == nil, "level weak")
}

func faults(conn *gorqlite.Connection) {
	_, err := conn.QueryOne("SELECT * FROM nowhere")
	check(err != nil && strings.Contains(err.Error(), "no such table: nowhere"), "read %v", err)
	_, err = conn.WriteOne("INSERT INTO nowhere VALUES(1)")
	check(err != nil && strings.Contains(err.Error(), "no such table: nowhere"), "write %v", err)
}

func driver(url string) {
	db := must(sql.Open("rqlite", url))
	defer db.Close()
	must(db.Exec("CREATE TABLE d (id INTEGER PRIMARY KEY, name TEXT, weight REAL)"))
	result := must(db.Exec("INSERT INTO d(name, weight) VALUES(?, ?)", text, 2.5))
	check(must(result.LastInsertId()) == 1 && must(result.RowsAffected()) == 1, "exec")
	must(db.Exec("INSERT INTO d(name) VALUES(?)", nil))
	var name sql.NullString
	var weight float64
	check(db.QueryRow("SELECT name, weight FROM d WHERE id = ?", 1).Scan(&name, &weight) == nil, "row")
	check(name.String == text && weight == 2.5, "row %q %v", name.String, weight)
	check(db.QueryRow("SELECT name FROM d WHERE id = 2").Scan(&name) == nil && !name.Valid, "null %v", name)
	check(db.QueryRow("SELECT name FROM d WHERE id = 9").Scan(&name) == sql.ErrNoRows, "no rows")
	tx := must(db.Begin())
	must(tx.Exec("UPDATE d SET weight = 3 WHERE id = 1"))
	check(tx.Commit() == nil, "commit")
	rows := must(db.Query("SELECT weight FROM d ORDER BY id"))
	check(rows.Next() && rows.Scan(&weight) == nil && weight == 3, "updated %v", weight)
	rows.Close()
	_, err := db.Exec("INSERT INTO d(id) VALUES(1)")
	check(err != nil && strings.Contains(err.Error(), "UNIQUE constraint failed: d.id"), "driver %v", err)
}

// killLeader has the leader killed with -9; it returns once the other two have a new one.
func killLeader() {
	fmt.Println("kill leader")
	answer := must(bufio.NewReader(os.Stdin).ReadString('\n'))
	check(strings.TrimSpace(answer) == "killed", "answer %q", answer)
}

func failover(three []string) {
	conn := must(gorqlite.Open("http://" + three[1] + "/"))
	leader := must(conn.Leader())
	check(strings.Contains(leader, three[0]), "leader %s, not %s", leader, three[0])
	check(len(must(conn.Peers())) == 3, "peers")
	killLeader()
	must(conn.WriteOne("INSERT INTO t(id, name) VALUES(20, 'after')"))
	rows := must(conn.QueryOne("SELECT name FROM t WHERE id = 20"))
	check(rows.Next(), "after the failover")
	leader = must(conn.Leader())
	check(!strings.Contains(leader, three[0]), "leader %s is gone", leader)
}

func main() {
	three := strings.Split(os.Getenv("QUORLITE_THREE"), ",")
	for _, address := range []string{os.Getenv("QUORLITE_ONE"), three[1]} {
		url := "http://" + address + "/?level=weak&timeout=20"
		conn := must(gorqlite.Open(url))
		values(conn)
		batches(conn)
		levels(conn)
		faults(conn)
		driver(url)
		conn.Close()
	}
	failover(three)
}
