package catalog

import (
	"strings"
	"testing"

	"github.com/berth-registry/berth/sqldb/sqldbtest"
)

// TestPlans: what runs with every push, tag and delete finds its rows by a whole key, however
// many entities the account has.
func TestPlans(t *testing.T) {
	db := sqldbtest.SQLite(t)
	_ = searchCatalog(t, db)
	dependents, _ := dependentsText("1", "b", []string{"x"})
	const (
		relation = "USING PRIMARY KEY (account=? AND blueprint=? AND k=?"
		entity   = "USING INDEX sqlite_autoindex_catalog_entities_1 (account=? AND blueprint=? AND k=?)"
		target   = "USING COVERING INDEX catalog_relations_target (account=? AND target_blueprint=? AND target=?"
		resource = "USING PRIMARY KEY (account=? AND region=? AND kind=? AND resource=?"
	)
	wanted := map[string]string{
		"select " + entityColumns + " from catalog_entities e where e.account = $1 and e.blueprint = $2 and e.k = $3":                entity,
		"select " + entityColumns + " from catalog_entities e where e.account = $1 and e.blueprint = $2 and e.k in ($3, $4)" + alive: entity,
		"update catalog_entities set title = $1 where account = $2 and blueprint = $3 and k = $4":                                    strings.ReplaceAll(entity, " e ", " "),
		"delete from catalog_entities where account = $1 and blueprint = $2 and k = $3":                                              entity,
		"delete from catalog_relations where account = $1 and blueprint = $2 and k = $3":                                             relation,
		"delete from catalog_relations where account = $1 and blueprint = $2 and k = $3 and relation = $4":                           relation,
		"delete from catalog_relations where account = $1 and target_blueprint = $2 and target = $3 and kept = 0":                    target,
		"update catalog_relations set target = $1 where account = $2 and target_blueprint = $3 and target = $4":                      target,
		dependents: target,
		"delete from catalog_values where account = $1 and blueprint = $2 and property = $3 and value = $4 and k = $5":                 "(account=? AND blueprint=? AND property=? AND value=? AND k=?)",
		"select blueprint, k from catalog_origins where account = $1 and region = $2 and kind = $3 and resource = $4":                  resource,
		"delete from catalog_origins where account = $1 and region = $2 and kind = $3 and resource = $4 and blueprint = $5 and k = $6": resource,
		"delete from catalog_notices where account = $1 and region = $2 and kind = $3 and resource = $4":                               resource,
		"delete from catalog_pending where account = $1 and region = $2 and kind = $3 and resource = $4":                               "(account=? AND region=? AND kind=? AND resource=?)",
		"select account, region, kind, resource from catalog_notices where account = $1 and wait_blueprint = $2 and wait_k = $3":       "catalog_notices_wait (account=? AND wait_blueprint=? AND wait_k=?)",
	}
	sqldbtest.Plans(t, db, wanted)
}
