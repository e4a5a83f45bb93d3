package function

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// pack writes a configuration; the environment is sealed for its function.
func (s *Functions) pack(f *Function) string {
	g := *f
	g.HasEnv = f.Env != nil
	g.SealedEnv = nil
	if len(f.Env) > 0 {
		g.SealedEnv = s.sealed.Seal([]byte(sqldb.JSON(f.Env)), f.ARN())
	}
	return sqldb.JSON(g)
}

func (s *Functions) unpack(body []byte, f *Function) error {
	if err := json.Unmarshal(body, f); err != nil {
		return err
	}
	if f.HasEnv {
		f.Env = map[string]string{}
	}
	if len(f.SealedEnv) == 0 {
		return nil
	}
	plain, err := s.sealed.Open(f.SealedEnv, f.ARN())
	if err != nil {
		return fmt.Errorf("the environment of %s: %w", f.ARN(), err)
	}
	return json.Unmarshal(plain, &f.Env)
}

const columns = "name, body, tags, reserved, last_version"

func (s *Functions) scan(p arn.Place, scan func(...any) error) (*Function, error) {
	f := &Function{Place: p, Tags: map[string]string{}}
	var body, tags []byte
	if err := scan(&f.Name, &body, &tags, &f.Reserved, &f.last); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(tags, &f.Tags); err != nil {
		return nil, err
	}
	return f, s.unpack(body, f)
}

func (s *Functions) read(ctx context.Context, p arn.Place, name string) (*Function, error) {
	return s.scan(p, func(dest ...any) error {
		return s.db.QueryRow(ctx, dest, "select "+columns+" from functions where account = $1 and region = $2 and name = $3", p.Account, p.Region, name)
	})
}

func (s *Functions) lock(tx *sqldb.Tx, p arn.Place, name string) (*Function, error) {
	return s.scan(p, func(dest ...any) error {
		return tx.QueryRow(dest, "select "+columns+" from functions where account = $1 and region = $2 and name = $3{forupdate}", p.Account, p.Region, name)
	})
}

// List lists functions by name from after on.
func (s *Functions) List(ctx context.Context, p arn.Place, after string, limit int) ([]*Function, error) {
	rows, err := s.db.Query(ctx, "select "+columns+" from functions where account = $1 and region = $2 and name > $3 order by name limit $4", p.Account, p.Region, after, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Function, error) { return s.scan(p, scan) })
}

// any reports whether there is a function at all.
func (s *Functions) any(ctx context.Context) (bool, error) {
	var one int
	err := s.db.QueryRow(ctx, []any{&one}, "select 1 from functions limit 1")
	if sqldb.IsNoRows(err) {
		return false, nil
	}
	return err == nil, err
}

func countFunctions(tx *sqldb.Tx, p arn.Place) (n int, err error) {
	err = tx.QueryRow([]any{&n}, "select count(*) from functions where account = $1 and region = $2", p.Account, p.Region)
	return n, err
}

func (s *Functions) insert(tx *sqldb.Tx, f *Function) error {
	_, err := tx.Exec("insert into functions (account, region, "+columns+", policy) values ($1, $2, $3, $4, $5, $6, 0, '[]')", f.Place.Account, f.Place.Region,
		f.Name, s.pack(f), sqldb.JSON(f.Tags), f.Reserved)
	return err
}

// replace writes a configuration over the one with the revision was; false when there is
// another one by now.
func (s *Functions) replace(tx *sqldb.Tx, f *Function, was string) (bool, error) {
	have, err := s.lock(tx, f.Place, f.Name)
	if sqldb.IsNoRows(err) {
		return false, errFunction(f.Place, f.Name, "")
	}
	if err != nil || have.Revision != was {
		return false, err
	}
	_, err = tx.Exec("update functions set body = $4 where account = $1 and region = $2 and name = $3", f.Place.Account, f.Place.Region, f.Name, s.pack(f))
	return true, err
}

func updateTags(tx *sqldb.Tx, f *Function) error {
	_, err := tx.Exec("update functions set tags = $4 where account = $1 and region = $2 and name = $3", f.Place.Account, f.Place.Region, f.Name, sqldb.JSON(f.Tags))
	return err
}

func updateReserved(tx *sqldb.Tx, f *Function) error {
	_, err := tx.Exec("update functions set reserved = $4 where account = $1 and region = $2 and name = $3", f.Place.Account, f.Place.Region, f.Name, f.Reserved)
	return err
}

func deleteFunction(tx *sqldb.Tx, f *Function) error {
	for _, q := range []string{"delete from functions where account = $1 and region = $2 and name = $3",
		"delete from function_versions where account = $1 and region = $2 and function = $3",
		"delete from function_aliases where account = $1 and region = $2 and function = $3",
		"delete from function_event_configs where account = $1 and region = $2 and function = $3"} {
		if _, err := tx.Exec(q, f.Place.Account, f.Place.Region, f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Functions) insertVersion(tx *sqldb.Tx, g *Function, last int64) (bool, error) {
	n, err := tx.Exec("update functions set last_version = $4 where account = $1 and region = $2 and name = $3 and last_version = $5", g.Place.Account, g.Place.Region,
		g.Name, version(g.Version), last)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.Exec("insert into function_versions (account, region, function, version, body) values ($1, $2, $3, $4, $5)", g.Place.Account, g.Place.Region, g.Name,
		version(g.Version), s.pack(g))
	return true, err
}

func (s *Functions) scanVersion(f *Function, scan func(...any) error) (*Function, error) {
	g := &Function{Place: f.Place, Name: f.Name, Tags: maps.Clone(f.Tags), Reserved: f.Reserved, last: f.last}
	var body []byte
	if err := scan(&body); err != nil {
		return nil, err
	}
	return g, s.unpack(body, g)
}

func (s *Functions) readVersion(ctx context.Context, f *Function, v int64) (*Function, error) {
	return s.scanVersion(f, func(dest ...any) error {
		return s.db.QueryRow(ctx, dest, "select body from function_versions where account = $1 and region = $2 and function = $3 and version = $4", f.Place.Account,
			f.Place.Region, f.Name, v)
	})
}

// Versions lists a function's published versions from after on.
func (s *Functions) Versions(ctx context.Context, f *Function, after int64, limit int) ([]*Function, error) {
	rows, err := s.db.Query(ctx, "select body from function_versions where account = $1 and region = $2 and function = $3 and version > $4 order by version limit $5",
		f.Place.Account, f.Place.Region, f.Name, after, limit)
	return sqldb.Collect(rows, err, func(scan func(...any) error) (*Function, error) { return s.scanVersion(f, scan) })
}

func deleteVersion(tx *sqldb.Tx, f *Function, v int64) error {
	rows, err := tx.Query("select name, body from function_aliases where account = $1 and region = $2 and function = $3", f.Place.Account, f.Place.Region, f.Name)
	list, err := sqldb.Collect(rows, err, scanAlias)
	if err != nil {
		return err
	}
	for _, a := range list {
		_, weighted := a.Weights[fmt.Sprint(v)]
		if version(a.Version) == v || weighted {
			return fail(Conflict, "Unable to delete version because the following aliases reference it: [%s]", a.Name)
		}
	}
	_, err = tx.Exec("delete from function_versions where account = $1 and region = $2 and function = $3 and version = $4", f.Place.Account, f.Place.Region, f.Name, v)
	return err
}

func scanAlias(scan func(...any) error) (*Alias, error) {
	a := &Alias{}
	var body []byte
	if err := scan(&a.Name, &body); err != nil {
		return nil, err
	}
	return a, json.Unmarshal(body, a)
}

func (s *Functions) readAlias(ctx context.Context, p arn.Place, name, alias string) (*Alias, error) {
	return scanAlias(func(dest ...any) error {
		return s.db.QueryRow(ctx, dest, "select name, body from function_aliases where account = $1 and region = $2 and function = $3 and name = $4", p.Account, p.Region, name, alias)
	})
}

func txAlias(tx *sqldb.Tx, f *Function, alias string) (*Alias, error) {
	return scanAlias(func(dest ...any) error {
		return tx.QueryRow(dest, "select name, body from function_aliases where account = $1 and region = $2 and function = $3 and name = $4", f.Place.Account, f.Place.Region, f.Name, alias)
	})
}

func hasVersion(tx *sqldb.Tx, f *Function, v int64) (bool, error) {
	var n int
	err := tx.QueryRow([]any{&n}, "select count(*) from function_versions where account = $1 and region = $2 and function = $3 and version = $4", f.Place.Account,
		f.Place.Region, f.Name, v)
	return n > 0, err
}

// Aliases lists a function's aliases by name from after on.
func (s *Functions) Aliases(ctx context.Context, f *Function, after string, limit int) ([]*Alias, error) {
	rows, err := s.db.Query(ctx, "select name, body from function_aliases where account = $1 and region = $2 and function = $3 and name > $4 order by name limit $5",
		f.Place.Account, f.Place.Region, f.Name, after, limit)
	return sqldb.Collect(rows, err, scanAlias)
}

func insertAlias(tx *sqldb.Tx, f *Function, a *Alias) error {
	_, err := tx.Exec("insert into function_aliases (account, region, function, name, body) values ($1, $2, $3, $4, $5)", f.Place.Account, f.Place.Region, f.Name, a.Name, sqldb.JSON(a))
	return err
}

func updateAlias(tx *sqldb.Tx, f *Function, a *Alias) error {
	_, err := tx.Exec("update function_aliases set body = $5 where account = $1 and region = $2 and function = $3 and name = $4", f.Place.Account, f.Place.Region, f.Name, a.Name, sqldb.JSON(a))
	return err
}

func deleteAlias(tx *sqldb.Tx, f *Function, name string) error {
	_, err := tx.Exec("delete from function_aliases where account = $1 and region = $2 and function = $3 and name = $4", f.Place.Account, f.Place.Region, f.Name, name)
	return err
}

func readStatements(text string) ([]Permission, error) {
	var list []Permission
	err := json.Unmarshal([]byte(text), &list)
	return list, err
}

func (s *Functions) readPolicy(ctx context.Context, f *Function) ([]Permission, error) {
	var text string
	if err := s.db.QueryRow(ctx, []any{&text}, "select policy from functions where account = $1 and region = $2 and name = $3", f.Place.Account, f.Place.Region, f.Name); err != nil {
		return nil, err
	}
	return readStatements(text)
}

func lockPolicy(tx *sqldb.Tx, f *Function) ([]Permission, error) {
	var text string
	if err := tx.QueryRow([]any{&text}, "select policy from functions where account = $1 and region = $2 and name = $3{forupdate}", f.Place.Account, f.Place.Region, f.Name); err != nil {
		return nil, err
	}
	return readStatements(text)
}

func updatePolicy(tx *sqldb.Tx, f *Function, list []Permission) error {
	_, err := tx.Exec("update functions set policy = $4 where account = $1 and region = $2 and name = $3", f.Place.Account, f.Place.Region, f.Name, sqldb.JSON(list))
	return err
}

func upsertEventConfig(tx *sqldb.Tx, f *Function, qualifier string, c *EventConfig) error {
	_, err := tx.Exec(`insert into function_event_configs (account, region, function, qualifier, body) values ($1, $2, $3, $4, $5)
		on conflict (account, region, function, qualifier) do update set body = excluded.body`, f.Place.Account, f.Place.Region, f.Name, qualifier, sqldb.JSON(c))
	return err
}

const eventConfigText = "select body from function_event_configs where account = $1 and region = $2 and function = $3 and qualifier = $4"

func (s *Functions) readEventConfig(ctx context.Context, f *Function, qualifier string) (*EventConfig, error) {
	var body []byte
	if err := s.db.QueryRow(ctx, []any{&body}, eventConfigText, f.Place.Account, f.Place.Region, f.Name, qualifier); err != nil {
		return nil, err
	}
	c := &EventConfig{}
	return c, json.Unmarshal(body, c)
}

func txEventConfig(tx *sqldb.Tx, f *Function, qualifier string) (*EventConfig, error) {
	var body []byte
	if err := tx.QueryRow([]any{&body}, eventConfigText, f.Place.Account, f.Place.Region, f.Name, qualifier); err != nil {
		return nil, err
	}
	c := &EventConfig{}
	return c, json.Unmarshal(body, c)
}

// EventConfigs lists the qualifiers of a function with a configuration of their own.
func (s *Functions) EventConfigs(ctx context.Context, f *Function) (map[string]*EventConfig, error) {
	rows, err := s.db.Query(ctx, "select qualifier, body from function_event_configs where account = $1 and region = $2 and function = $3", f.Place.Account, f.Place.Region, f.Name)
	out := map[string]*EventConfig{}
	_, err = sqldb.Collect(rows, err, func(scan func(...any) error) (string, error) {
		var q string
		var body []byte
		if err := scan(&q, &body); err != nil {
			return "", err
		}
		out[q] = &EventConfig{}
		return q, json.Unmarshal(body, out[q])
	})
	return out, err
}

func deleteEventConfig(tx *sqldb.Tx, p arn.Place, name, qualifier string) error {
	_, err := tx.Exec("delete from function_event_configs where account = $1 and region = $2 and function = $3 and qualifier = $4", p.Account, p.Region, name, qualifier)
	return err
}

// putCode stores an archive unless the account has it.
func putCode(tx *sqldb.Tx, f *Function, zip []byte, now time.Time) error {
	var n int
	if err := tx.QueryRow([]any{&n}, "select count(*) from function_code where account = $1 and sha = $2", f.Place.Account, f.CodeSHA); err != nil || n > 0 {
		return err
	}
	for part := 0; part*codePart < len(zip); part++ {
		if _, err := tx.Exec("insert into function_code (account, sha, part, bytes, created_at) values ($1, $2, $3, $4, $5)", f.Place.Account, f.CodeSHA, part,
			zip[part*codePart:min(len(zip), (part+1)*codePart)], now.UnixMicro()); err != nil {
			return err
		}
	}
	return nil
}

// Code returns the archive of a function.
func (s *Functions) Code(ctx context.Context, f *Function) ([]byte, error) {
	rows, err := s.db.Query(ctx, "select bytes from function_code where account = $1 and sha = $2 order by part", f.Place.Account, f.CodeSHA)
	parts, err := sqldb.Collect(rows, err, func(scan func(...any) error) ([]byte, error) {
		var b []byte
		return b, scan(&b)
	})
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	if int64(len(out)) != f.CodeSize {
		return nil, fmt.Errorf("the code of %s has %d bytes in store, not %d", f.ARN(), len(out), f.CodeSize)
	}
	return out, nil
}

// Run is an invocation of the past.
type Run struct {
	Place    arn.Place
	ID       string
	Function string
	Version  string
	Started  time.Time
	Ended    time.Time
	Outcome  string // succeeded, failed or timed out
	Error    string
	Delivery string // that it was for, "" for none
	Group    string
	Stream   string
}

func insertRun(tx *sqldb.Tx, r *Run) error {
	_, err := tx.Exec(`insert into function_runs (account, region, id, function, version, started_at, ended_at, outcome, error, delivery, log_group, log_stream)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, r.Place.Account, r.Place.Region, r.ID, r.Function, r.Version, r.Started.UnixMicro(), r.Ended.UnixMicro(),
		r.Outcome, r.Error, r.Delivery, r.Group, r.Stream)
	return err
}

// RunByID returns a run, nil when it is not kept any more.
func (s *Functions) RunByID(ctx context.Context, p arn.Place, id string) (*Run, error) {
	r := &Run{Place: p, ID: id}
	var started, ended int64
	err := s.db.QueryRow(ctx, []any{&r.Function, &r.Version, &started, &ended, &r.Outcome, &r.Error, &r.Delivery, &r.Group, &r.Stream},
		`select function, version, started_at, ended_at, outcome, error, delivery, log_group, log_stream from function_runs
		where account = $1 and region = $2 and id = $3`, p.Account, p.Region, id)
	if sqldb.IsNoRows(err) {
		return nil, nil
	}
	r.Started, r.Ended = time.UnixMicro(started).UTC(), time.UnixMicro(ended).UTC()
	return r, err
}

// keepRuns is how long runs are kept, and keepCode how long an archive that no function
// has any more.
const (
	keepRuns = 30 * 24 * time.Hour
	keepCode = time.Hour
)

// Sweep removes old runs and code that no function has any more.
func (s *Functions) Sweep(ctx context.Context) error {
	if err := s.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec("delete from function_runs where started_at < $1", s.now().Add(-keepRuns).UnixMicro())
		return err
	}); err != nil {
		return err
	}
	rows, err := s.db.Query(ctx, "select account, sha from function_code where part = 0 and created_at < $1", s.now().Add(-keepCode).UnixMicro())
	list, err := sqldb.Collect(rows, err, func(scan func(...any) error) (codeKey, error) {
		var k codeKey
		return k, scan(&k.account, &k.sha)
	})
	if err != nil {
		return err
	}
	for _, k := range list {
		err := s.db.WriteRelaxed(ctx, func(tx *sqldb.Tx) error {
			var used int
			mark := `%"codeSha":"` + k.sha + `"%`
			if err := tx.QueryRow([]any{&used}, `select (select count(*) from functions where account = $1 and body like $2) +
				(select count(*) from function_versions where account = $1 and body like $2)`, k.account, mark); err != nil || used > 0 {
				return err
			}
			_, err := tx.Exec("delete from function_code where account = $1 and sha = $2", k.account, k.sha)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.sweepUnpacked(ctx)
}

func (s *Functions) hasCode(ctx context.Context, k codeKey) (bool, error) {
	var n int
	err := s.db.QueryRow(ctx, []any{&n}, "select count(*) from function_code where account = $1 and sha = $2 and part = 0", k.account, k.sha)
	return n > 0, err
}
