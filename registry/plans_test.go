package registry_test

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/registry"
	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestPlans: what runs per request finds its rows by an index that names at least
// the columns given, and nothing walks a table or all of a repository.
func TestPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	if err := db.Migrate(t.Context(), "registry", registry.Migrations()); err != nil {
		t.Fatal(err)
	}
	const repo = " where account = 'a' and region = 'r' and repo = 1"
	sqldbtest.Plans(t, db, map[string]string{
		"select tag from tags" + repo + " and digest = 'd' order by tag":                                                                         "tags_by_image (account=? AND region=? AND repo=? AND digest=?)",
		"select digest, tag from tags" + repo + " and digest in (" + strings.Repeat("'x', ", 127) + "'y')":                                       "tags_by_image (account=? AND region=? AND repo=? AND digest=?)",
		"delete from tags" + repo + " and tag in ('x', 'y')":                                                                                     "PRIMARY KEY (account=? AND region=? AND repo=? AND tag=?)",
		"select digest, tag from tags" + repo + " and tag > 'x' order by tag limit 5":                                                            "PRIMARY KEY (account=? AND region=? AND repo=? AND tag>?)",
		"select digest from images" + repo + " and tag_count = 0 and digest > 'd' order by digest limit 5":                                       "images_untagged (account=? AND region=? AND repo=? AND digest>?)",
		"select digest from images i" + repo + " order by pushed_at desc, digest limit 5":                                                        "images_by_time (account=? AND region=? AND repo=?)",
		"select digest from images i" + repo + " and pushed_at <= 5 and (pushed_at < 5 or digest > 'd') order by pushed_at desc, digest limit 5": "images_by_time (account=? AND region=? AND repo=? AND pushed_at<?)",
		"select digest from images i" + repo + " and subject = 's' and subject <> '' and digest > 'd' order by digest limit 5":                   "images_by_subject (account=? AND region=? AND repo=? AND subject=? AND digest>?)",
		"select 1 from image_refs" + repo + " and ref = 'x' and kind = 'child' limit 1":                                                          "PRIMARY KEY (account=? AND region=? AND repo=? AND ref=?)",
		"delete from image_refs" + repo + " and digest = 'd' and ref in ('x', 'y')":                                                              "PRIMARY KEY (account=? AND region=? AND repo=? AND ref=? AND digest=?)",
		"select digest, size from layers" + repo + " and digest in ('x', 'y')":                                                                   "PRIMARY KEY (account=? AND region=? AND repo=? AND digest=?)",
		"select name from repositories where account = 'a' and region = 'r' and name > 'n' order by name limit 5":                                "PRIMARY KEY (account=? AND region=? AND name>?)",
		"update blobs set touched_at = 1 where digest = 'd' and encryption = ''":                                                                 "(digest=? AND encryption=?)",
		"select name from repositories r where template <> '' and image_count = 0 and version = 0 and created_at < 5":                            "repositories_leftover (created_at<?)",
	})
}
