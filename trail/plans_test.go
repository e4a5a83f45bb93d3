package trail

import (
	"testing"

	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestPlans: what a look-up reads it finds by an index.
func TestPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "trail", Migrations()); err != nil {
		t.Fatal(err)
	}
	const place = " where account = 'a' and region = 'r'"
	sqldbtest.Plans(t, db, map[string]string{
		"select body from trail_recent" + place + " and (at < 5 or at = 5 and id < 'i') and at >= 1 order by at desc, id desc limit 5":                                                  "(account=? AND region=? AND at>?",
		"select body from trail_recent" + place + " and at = 5 and id = 'i'":                                                                                                            "(account=? AND region=? AND at=? AND id=?)",
		"select body from trail_recent" + place + " and at <= 5 order by at, id limit 5":                                                                                                "(account=? AND region=? AND at<?)",
		"select id from trail_segments" + place + " and (last_at < 5 or last_at = 5 and id < 'i') and first_at <= 5 order by last_at desc, id desc limit 1":                             "PRIMARY KEY (account=? AND region=?",
		"select segment_id from trail_attributes" + place + " and attribute = 'x' and (last_at < 5 or last_at = 5 and segment_id < 'i') order by last_at desc, segment_id desc limit 1": "PRIMARY KEY (account=? AND region=? AND attribute=?",
		"select id from trail_segments where last_at < 5 limit 1":                                                                                                                       "trail_segments_by_end (last_at<?)",
		"delete from trail_attributes" + place + " and last_at = 5 and segment_id = 'i'":                                                                                                "trail_attributes_by_segment (account=? AND region=? AND last_at=? AND segment_id=?)",
	})
}
