package portapi

import (
	"net/http"
	"strings"
)

// The actions of the service catalog.
const (
	readBlueprints    = "ReadBlueprints"
	writeBlueprints   = "WriteBlueprints"
	readEntities      = "ReadEntities"
	writeEntities     = "WriteEntities"
	deleteEntities    = "DeleteEntities"
	readScorecards    = "ReadScorecards"
	writeScorecards   = "WriteScorecards"
	readIntegrations  = "ReadIntegrations"
	writeIntegrations = "WriteIntegrations"
	readChanges       = "ReadChanges"
	readOrganization  = "ReadOrganization"
)

// table is the API. Of routes that fit the first counts.
func (s *Service) table() []route {
	var out []route
	add := func(method, path, action string, reads bool, serve handler) {
		out = append(out, route{method, strings.Split(path, "/"), action, reads, serve})
	}
	get := func(path, action string, serve handler) { add(http.MethodGet, path, action, true, serve) }
	ask := func(path, action string, serve handler) { add(http.MethodPost, path, action, true, serve) }
	do := func(method, path, action string, serve handler) { add(method, path, action, false, serve) }

	do(http.MethodPost, "auth/access_token", "", s.accessToken)
	get("organization", readOrganization, s.organization)

	get("blueprints", readBlueprints, s.blueprints)
	do(http.MethodPost, "blueprints", writeBlueprints, s.createBlueprint)
	ask("blueprints/entities/datasource-entities", readEntities, s.datasource)
	get("blueprints/{bp}", readBlueprints, s.blueprint)
	do(http.MethodPut, "blueprints/{bp}", writeBlueprints, s.replaceBlueprint)
	do(http.MethodPatch, "blueprints/{bp}", writeBlueprints, s.patchBlueprint)
	do(http.MethodDelete, "blueprints/{bp}", writeBlueprints, s.deleteBlueprint)
	do(http.MethodDelete, "blueprints/{bp}/all-entities", deleteEntities, s.deleteAll)
	do(http.MethodPatch, "blueprints/{bp}/{part}/{name}/rename", writeBlueprints, s.renameMember)
	get("migrations/{migration}", readBlueprints, s.migration)

	get("blueprints/{bp}/entities-count", readEntities, s.count)
	get("blueprints/{bp}/entities", readEntities, s.entities)
	do(http.MethodPost, "blueprints/{bp}/entities/bulk", writeEntities, s.bulk)
	ask("blueprints/{bp}/entities/search", readEntities, s.searchBlueprint)
	do(http.MethodPost, "blueprints/{bp}/entities", writeEntities, s.postEntity)
	do(http.MethodPost, "blueprints/{bp}/bulk/entities/delete", deleteEntities, s.bulkDelete)
	get("blueprints/{bp}/entities/{id...}", readEntities, s.entity)
	do(http.MethodPut, "blueprints/{bp}/entities/{id...}", writeEntities, s.putEntity)
	do(http.MethodPatch, "blueprints/{bp}/entities/{id...}", writeEntities, s.patchEntity)
	do(http.MethodDelete, "blueprints/{bp}/entities/{id...}", deleteEntities, s.deleteEntity)
	ask("entities/search", readEntities, s.search)

	get("scorecards", readScorecards, s.scorecards)
	get("blueprints/{bp}/scorecards", readScorecards, s.scorecards)
	do(http.MethodPost, "blueprints/{bp}/scorecards", writeScorecards, s.createScorecard)
	do(http.MethodPut, "blueprints/{bp}/scorecards", writeScorecards, s.replaceScorecards)
	get("blueprints/{bp}/scorecards/{id}", readScorecards, s.scorecard)
	do(http.MethodPut, "blueprints/{bp}/scorecards/{id}", writeScorecards, s.replaceScorecard)
	do(http.MethodDelete, "blueprints/{bp}/scorecards/{id}", writeScorecards, s.deleteScorecard)

	get("integration", readIntegrations, s.integrations)
	do(http.MethodPost, "integration", writeIntegrations, s.createIntegration)
	get("integration/provision-enabled", readIntegrations, s.provision)
	get("integration/{installation}", readIntegrations, s.integration)
	do(http.MethodPatch, "integration/{installation}", writeIntegrations, s.patchIntegration)
	do(http.MethodPatch, "integration/{installation}/config", writeIntegrations, s.patchIntegration)
	do(http.MethodPatch, "integration/{installation}/resync-state", writeIntegrations, s.resyncState)
	get("integration/{installation}/resync-request", readIntegrations, s.resyncRequest)
	do(http.MethodDelete, "integration/{installation}", writeIntegrations, s.deleteIntegration)
	get("audit-log", readChanges, s.changes)

	get("berth/notices", readEntities, s.notices)
	get("berth/unowned", readEntities, s.unowned)
	get("berth/running", readEntities, s.running)
	get("berth/impact", readEntities, s.impact)
	return out
}
