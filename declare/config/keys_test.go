package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestKeys: the terraform module has the keys that blocks may have, and its own that
// blocks may have too; the documentation names them all.
func TestKeys(t *testing.T) {
	variables, err := os.ReadFile("../../deploy/terraform/ecr-repos/variables.tf")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/declared.md")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, m := range regexp.MustCompile(`(?m)^variable "([^"]+)"`).FindAllStringSubmatch(string(variables), -1) {
		have = append(have, m[1])
		if !slices.Contains(moduleKeys(), m[1]) && !slices.Contains(forTerraform, m[1]) {
			t.Errorf("blocks must not have the module's variable %s", m[1])
		}
	}
	for _, k := range moduleKeys() {
		if !slices.Contains(have, k) {
			t.Errorf("the module has no variable %s", k)
		}
		if !strings.Contains(string(doc), "`"+k) {
			t.Errorf("docs/declared.md does not name %s", k)
		}
	}
}
