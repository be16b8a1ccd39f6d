package local

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

const (
	// schemaVersion is kept in the file. A file with another is begun anew: there is nothing to migrate
	// in what is thrown away after days.
	schemaVersion = 1
	// purgeStep is how many rows one step of a purge removes.
	purgeStep = 5000
)

// schema: one row per entry. The key is the trace id's 16 bytes, which begin with the record id and so
// with the time: new rows come at the end, old ones leave at the beginning, and no other index is needed.
// To read a trace: SELECT nodes FROM traces WHERE trace_id = x'<digits of the id>' ORDER BY entry;
const schema = `
	DROP TABLE IF EXISTS traces;
	CREATE TABLE traces (
		trace_id   BLOB    NOT NULL,
		entry      INTEGER NOT NULL, -- grows; keeps the order in which entries were recorded
		account_id INTEGER NOT NULL,
		nodes      TEXT    NOT NULL, -- JSON: [[name, attempt, start µs, duration µs or -1, status, detail], …]
		PRIMARY KEY (trace_id, entry)
	) STRICT, WITHOUT ROWID;
	PRAGMA user_version = 1;`

// file is the SQLite file. It is used by one goroutine at a time.
type file struct {
	conn  *sqlite.Conn
	entry int64 // of the last row
	text  []byte
}

func openFile(path string) (*file, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate, sqlite.OpenWAL)
	if err != nil {
		return nil, err
	}
	f := &file{conn: conn}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return f, nil
}

func (f *file) prepare() error {
	f.conn.SetBusyTimeout(5 * time.Second)
	// NORMAL: a commit does not wait for the disk; a power cut loses the last seconds and damages nothing.
	for _, pragma := range []string{"synchronous = NORMAL", "cache_size = -8192", "wal_autocheckpoint = 4000", "journal_size_limit = 33554432"} {
		if err := sqlitex.ExecuteTransient(f.conn, "PRAGMA "+pragma, nil); err != nil {
			return err
		}
	}
	version, err := f.number("PRAGMA user_version")
	if err != nil {
		return err
	}
	if version != schemaVersion {
		if err := sqlitex.ExecuteScript(f.conn, schema, nil); err != nil {
			return err
		}
	}
	// Within one trace entries are numbered by the clock, so that a restart goes on behind what is there.
	f.entry = time.Now().UnixMicro()
	return nil
}

func (f *file) number(query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(f.conn, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}})
	return n, err
}

func (f *file) close() error { return f.conn.Close() }

// write adds entries in one transaction. Those whose id is not a trace id are left out.
func (f *file) write(entries []trace.Entry) (err error) {
	end, err := sqlitex.ImmediateTransaction(f.conn)
	if err != nil {
		return err
	}
	defer end(&err)
	insert, err := f.conn.Prepare("INSERT INTO traces (trace_id, entry, account_id, nodes) VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	for i := range entries {
		e := &entries[i]
		id, ok := key(e.TraceID)
		if !ok {
			continue
		}
		f.entry++
		f.text = appendNodes(f.text[:0], e.Nodes)
		insert.BindBytes(1, id)
		insert.BindInt64(2, f.entry)
		insert.BindInt64(3, int64(e.Account))
		insert.BindText(4, string(f.text))
		if _, err := insert.Step(); err != nil {
			return err
		}
		if err := insert.Reset(); err != nil {
			return err
		}
	}
	return nil
}

// key is the digits of a trace id as bytes.
func key(id core.TraceID) ([]byte, bool) {
	if _, ok := id.RecordID(); !ok {
		return nil, false
	}
	b, err := hex.DecodeString(strings.TrimPrefix(string(id), "msg_"))
	return b, err == nil
}

func (f *file) read(account core.AccountID, id core.TraceID) ([]core.Node, error) {
	k, ok := key(id)
	if !ok {
		return nil, nil
	}
	var nodes []core.Node
	err := sqlitex.Execute(f.conn, "SELECT nodes FROM traces WHERE trace_id = ? AND account_id = ? ORDER BY entry", &sqlitex.ExecOptions{
		Args: []any{k, int64(account)},
		ResultFunc: func(s *sqlite.Stmt) error {
			more, err := parseNodes(s.ColumnText(0))
			nodes = append(nodes, more...)
			return err
		},
	})
	return nodes, err
}

// purge removes up to purgeStep rows of traces below a record id and returns how many went.
func (f *file) purge(before core.RecordID) (int, error) {
	bound, _ := hex.DecodeString(fmt.Sprintf("%016x", int64(before))) // sixteen digits are eight bytes
	err := sqlitex.Execute(f.conn, `DELETE FROM traces WHERE (trace_id, entry) IN (
		SELECT trace_id, entry FROM traces WHERE trace_id < ? ORDER BY trace_id, entry LIMIT ?)`,
		&sqlitex.ExecOptions{Args: []any{bound, purgeStep}})
	return f.conn.Changes(), err
}

// appendNodes writes nodes as JSON by hand: traces are the most written rows of all.
func appendNodes(b []byte, nodes []core.Node) []byte {
	b = append(b, '[')
	for i := range nodes {
		n := &nodes[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		b = appendString(b, n.Name)
		duration := int64(-1)
		if !n.Finish.IsZero() {
			duration = max(0, n.Finish.Sub(n.Start).Microseconds())
		}
		b = fmt.Appendf(b, ",%d,%d,%d,", n.Attempt, n.Start.UnixMicro(), duration)
		b = appendString(b, string(n.Status))
		b = append(b, ',')
		b = appendString(b, n.Detail)
		b = append(b, ']')
	}
	return append(b, ']')
}

// appendString writes a JSON string. Most need no escaping.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string always has a JSON form
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// storedNode is a node as it stands in the file.
type storedNode struct{ core.Node }

// UnmarshalJSON reads what appendNodes writes.
func (n *storedNode) UnmarshalJSON(b []byte) error {
	var start, duration int64
	fields := []any{&n.Name, &n.Attempt, &start, &duration, &n.Status, &n.Detail}
	found := fields
	if err := json.Unmarshal(b, &found); err != nil {
		return err
	}
	if len(found) != len(fields) {
		return fmt.Errorf("a node has %d fields, want %d", len(found), len(fields))
	}
	n.Start = time.UnixMicro(start).UTC()
	if duration >= 0 {
		n.Finish = n.Start.Add(time.Duration(duration) * time.Microsecond)
	}
	return nil
}

func parseNodes(text string) ([]core.Node, error) {
	var stored []storedNode
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	nodes := make([]core.Node, len(stored))
	for i := range stored {
		nodes[i] = stored[i].Node
	}
	return nodes, nil
}
