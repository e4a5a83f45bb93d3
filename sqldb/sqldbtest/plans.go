package sqldbtest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/berth-registry/berth/sqldb"
)

// Plans checks how SQLite runs statements: each plan must hold what is wanted, and none
// walks a table or sorts.
func Plans(t *testing.T, db *sqldb.DB, wanted map[string]string) {
	t.Helper()
	for q, want := range wanted {
		var args []any
		for strings.Contains(q, "$"+strconv.Itoa(len(args)+1)) {
			args = append(args, "x")
		}
		rows, err := db.Query(t.Context(), "explain query plan "+q, args...)
		plan, err := sqldb.Collect(rows, err, func(scan func(...any) error) (string, error) {
			var id, parent, unused int
			var detail string
			return detail, scan(&id, &parent, &unused, &detail)
		})
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		text := strings.Join(plan, "; ")
		if !strings.Contains(text, want) || strings.Contains(text, "SCAN") || strings.Contains(text, "TEMP B-TREE") {
			t.Errorf("%s\n  plan %s\n  want %s", q, text, want)
		}
	}
}
