package sqldb_test

import (
	"testing"
	"time"

	"github.com/berth-registry/berth/sqldb"
)

// TestValues: what is stored comes back, and nothing is stored as nothing.
func TestValues(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 123000, time.UTC)
	if n := sqldb.Micros(at); !sqldb.Time(n).Equal(at) || sqldb.Micros(time.Time{}) != 0 || !sqldb.Time(0).IsZero() {
		t.Errorf("%d %v", n, sqldb.Time(n))
	}
	if sqldb.Flag(true) != 1 || sqldb.Flag(false) != 0 {
		t.Error("flags")
	}
	for want, v := range map[string]any{`{}`: map[string]string(nil), `[]`: []string(nil), `{"a":"b"}`: map[string]string{"a": "b"}, `["a"]`: []string{"a"},
		`{"A":1}`: &struct{ A int }{1}, `null`: (*int)(nil)} {
		if got := sqldb.JSON(v); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
