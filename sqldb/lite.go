package sqldb

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// lite is a connection to a SQLite file and what is prepared on it. It belongs to one
// goroutine at a time. It is not a database/sql driver: those turn each value into an
// interface and back, which costs more than the reads that run here.
type lite struct {
	conn  *sqlite.Conn
	stmts map[string]prepared // by the caller's text
}

type prepared struct {
	*sqlite.Stmt
	order []int // of the n-th parameter, which value it is; SQLite counts them as they come
}

func openLite(path string, pragmas ...string) (*lite, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(10 * time.Second)
	c := &lite{conn: conn, stmts: map[string]prepared{}}
	for _, p := range append([]string{"journal_mode = wal", "foreign_keys = 1"}, pragmas...) {
		if err := c.once("pragma " + p); err != nil {
			conn.Close()
			return nil, fmt.Errorf("set %s: %w", p, err)
		}
	}
	return c, nil
}

func (c *lite) close() error { return c.conn.Close() }

// once runs a statement without keeping it prepared.
func (c *lite) once(q string) error {
	st, _, err := c.conn.PrepareTransient(q)
	if err != nil {
		return err
	}
	return errors.Join(drain(st), st.Finalize())
}

// drain runs a statement to its end.
func drain(st *sqlite.Stmt) error {
	for {
		if more, err := st.Step(); err != nil || !more {
			return err
		}
	}
}

// maxPrepared bounds how many statements a connection keeps prepared: texts that callers
// compose have no end.
const maxPrepared = 1000

// prepare returns a statement with its parameters. Until it is reset the same text cannot
// be prepared again on this connection.
func (c *lite) prepare(q string, args []any) (*sqlite.Stmt, error) {
	st, ok := c.stmts[q]
	if !ok {
		if len(c.stmts) >= maxPrepared { // none of them is running
			for text, old := range c.stmts {
				_ = old.Finalize()
				delete(c.stmts, text)
			}
		}
		var err error
		if st.Stmt, err = c.conn.Prepare(rewrite(SQLite, q)); err != nil {
			return nil, err
		}
		for i := range st.BindParamCount() {
			n, err := strconv.Atoi(strings.TrimPrefix(st.BindParamName(i+1), "$"))
			if err != nil {
				return nil, fmt.Errorf("a parameter of %q is not $1, $2, …", q)
			}
			st.order = append(st.order, n-1)
		}
		c.stmts[q] = st
	}
	if len(st.order) != len(args) {
		return nil, fmt.Errorf("%d values for the %d of %q", len(args), len(st.order), q)
	}
	for i, n := range st.order {
		if n < 0 || n >= len(args) {
			return nil, fmt.Errorf("no value $%d for %q", n+1, q)
		}
		if err := bind(st.Stmt, i+1, args[n]); err != nil {
			return nil, fmt.Errorf("value $%d of %q: %w", n+1, q, err)
		}
	}
	return st.Stmt, nil
}

// exec runs a statement and returns how many rows it changed.
func (c *lite) exec(q string, args []any) (int64, error) {
	st, err := c.prepare(q, args)
	if err != nil {
		return 0, err
	}
	if err := drain(st); err != nil {
		return 0, err
	}
	n := int64(c.conn.Changes())
	return n, st.Reset()
}

// row runs a query of at most one row and scans it: sql.ErrNoRows.
func (c *lite) row(dest []any, q string, args []any) error {
	st, err := c.prepare(q, args)
	if err != nil {
		return err
	}
	more, err := st.Step()
	if err == nil && !more {
		err = sql.ErrNoRows
	}
	if err == nil {
		err = scan(st, dest)
	}
	if end := st.Reset(); err == nil {
		err = end
	}
	return err
}

// bind sets a parameter. Nil, and nothing else, is NULL.
func bind(st *sqlite.Stmt, n int, v any) error {
	switch v := v.(type) {
	case string:
		st.BindText(n, v)
	case int64:
		st.BindInt64(n, v)
	case int:
		st.BindInt64(n, int64(v))
	case float64:
		st.BindFloat(n, v)
	case bool:
		st.BindBool(n, v)
	case []byte:
		if v == nil {
			st.BindNull(n)
		} else {
			st.BindBytes(n, v)
		}
	case nil:
		st.BindNull(n)
	default:
		return bindKind(st, n, reflect.ValueOf(v))
	}
	return nil
}

// bindKind is for types that are made of the others.
func bindKind(st *sqlite.Stmt, n int, v reflect.Value) error {
	switch {
	case v.Kind() == reflect.String:
		st.BindText(n, v.String())
	case v.CanInt():
		st.BindInt64(n, v.Int())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return bind(st, n, v.Bytes())
	default:
		return fmt.Errorf("the database takes no %s", v.Type())
	}
	return nil
}

// scan copies the columns of a row into dest.
func scan(st *sqlite.Stmt, dest []any) error {
	if n := st.ColumnCount(); n != len(dest) {
		return fmt.Errorf("a row of %d columns for %d values", n, len(dest))
	}
	for i, d := range dest {
		if err := column(st, i, d); err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	return nil
}

func column(st *sqlite.Stmt, i int, dest any) error {
	kind := st.ColumnType(i)
	switch d := dest.(type) {
	case *string:
		if kind == sqlite.TypeNull {
			return errNull
		}
		*d = st.ColumnText(i)
	case *int64:
		if kind != sqlite.TypeInteger {
			return wrongType(kind, dest)
		}
		*d = st.ColumnInt64(i)
	case *int:
		if kind != sqlite.TypeInteger {
			return wrongType(kind, dest)
		}
		*d = st.ColumnInt(i)
	case *[]byte:
		*d = bytesOf(st, i, kind)
	case *sql.NullString:
		if d.Valid = kind != sqlite.TypeNull; d.Valid {
			d.String = st.ColumnText(i)
		}
	case *sql.NullInt64:
		if d.Valid = kind != sqlite.TypeNull; d.Valid {
			d.Int64 = st.ColumnInt64(i)
		}
	default:
		return columnKind(st, i, kind, reflect.ValueOf(dest))
	}
	return nil
}

// columnKind is for types that are made of the others.
func columnKind(st *sqlite.Stmt, i int, kind sqlite.ColumnType, dest reflect.Value) error {
	if dest.Kind() != reflect.Pointer {
		return wrongType(kind, dest.Interface())
	}
	switch d := dest.Elem(); {
	case d.Kind() == reflect.String && kind != sqlite.TypeNull:
		d.SetString(st.ColumnText(i))
	case d.CanInt() && kind == sqlite.TypeInteger:
		d.SetInt(st.ColumnInt64(i))
	case d.CanFloat() && (kind == sqlite.TypeInteger || kind == sqlite.TypeFloat):
		d.SetFloat(st.ColumnFloat(i))
	case d.Kind() == reflect.Bool && kind == sqlite.TypeInteger:
		d.SetBool(st.ColumnBool(i))
	case d.Kind() == reflect.Slice && d.Type().Elem().Kind() == reflect.Uint8:
		d.SetBytes(bytesOf(st, i, kind))
	default:
		return wrongType(kind, dest.Interface())
	}
	return nil
}

// bytesOf is nil for NULL alone.
func bytesOf(st *sqlite.Stmt, i int, kind sqlite.ColumnType) []byte {
	if kind == sqlite.TypeNull {
		return nil
	}
	b := make([]byte, st.ColumnLen(i))
	st.ColumnBytes(i, b)
	return b
}

var errNull = errors.New("it is NULL")

func wrongType(kind sqlite.ColumnType, dest any) error {
	if kind == sqlite.TypeNull {
		return errNull
	}
	return fmt.Errorf("%s does not fit %T", kind, dest)
}
