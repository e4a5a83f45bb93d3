package bus_test

import (
	"testing"

	"github.com/berth-registry/berth/bus"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestPlans: what runs per event finds its rows by an index.
func TestPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "bus", bus.Migrations()); err != nil {
		t.Fatal(err)
	}
	const place = " where account = 'a' and region = 'r'"
	sqldbtest.Plans(t, db, map[string]string{
		"select 1 from deliveries where lane = 5 and attempts = turned and state in (0, 1, 4) limit 1":                                         "deliveries_lanes (lane=? AND state=?)",
		"select id from deliveries where lane = 5 and state = 4 order by seq, id limit 1":                                                      "deliveries_lanes (lane=? AND state=?)",
		"select id from deliveries where state = 0 and next_at <= 5 and receiver <> 'x' order by next_at, seq limit 5":                         "deliveries_due (state=? AND next_at<?)",
		"select count(*) from deliveries where event_id = 'e' and held = 1 and attempts = turned and state in (0, 1, 4)":                       "deliveries_by_event (event_id=?)",
		"delete from deliveries where state = 2 and ended_at < 5":                                                                              "deliveries_by_end (state=? AND ended_at<?)",
		"select body from event_targets" + place + " and bus = 'b' and rule = 'x' order by id":                                                 "PRIMARY KEY (account=? AND region=? AND bus=? AND rule=?)",
		"select name from event_rules where next_at > 0 and next_at <= 5 order by next_at limit 100":                                           "event_rules_by_time (next_at>? AND next_at<?)",
		"select at from archived_events" + place + " and archive = 'x' and (at > 5 or at = 5 and id > 'i') and at < 9 order by at, id limit 5": "PRIMARY KEY (account=? AND region=? AND archive=?",
		"select name from event_resources where kind = 'replay' and state = 'RUNNING'":                                                         "event_resources_by_state (kind=? AND state=?)",
	})
}
