package sqldb

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// statisticsEvery is how often PostgreSQL's tables are looked at, while they change.
	statisticsEvery = time.Second
	// statisticsAfter is the least number of transactions between two looks.
	statisticsAfter = 200
)

// statistician keeps the planner's statistics near the truth while a database is young.
// PostgreSQL's own autovacuum does so, but a minute late; until then it takes tables for
// almost empty, and walks all layers of a repository to find four. So it looks whenever half
// as many transactions as ever have been added, and counts tables anew that have doubled:
// less and less, the larger they are.
func (db *DB) statistician() {
	defer db.done.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-db.stop
		cancel() // whoever closes the database does not wait for statistics
	}()
	t := time.NewTicker(statisticsEvery)
	defer t.Stop()
	seen := int64(0)
	for {
		select {
		case <-t.C:
		case <-db.stop:
			return
		}
		now := db.stats.transactions.Load()
		if now-seen < max(statisticsAfter, seen/2) {
			continue
		}
		seen = now
		if err := db.analyzeGrown(ctx); err != nil {
			db.log.Debug("statistics for PostgreSQL's planner", "error", err)
		}
	}
}

// analyzeGrown makes statistics for the schema's tables that have doubled since their last.
func (db *DB) analyzeGrown(ctx context.Context) error {
	rows, err := db.pg.Query(ctx, `select relname::text from pg_stat_user_tables where schemaname = current_schema()
		and n_mod_since_analyze > 50 + n_live_tup / 2`)
	if err != nil {
		return classify(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return classify(err)
	}
	for _, table := range tables {
		// Another node, or PostgreSQL itself, may be at it.
		if _, err := db.pg.Exec(ctx, "analyze (skip_locked) "+pgx.Identifier{table}.Sanitize()); err != nil {
			return classify(err)
		}
	}
	return nil
}
