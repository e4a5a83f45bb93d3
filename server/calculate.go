package server

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/berth-registry/berth/catalog"
	"github.com/berth-registry/berth/catalog/mapping"
	"github.com/berth-registry/berth/catalog/mapping/runner"
)

// calculator evaluates calculation properties in the processes that evaluate mappings: a
// configuration is made whose only mapping has them as its properties.
type calculator struct {
	program string
	mu      sync.Mutex
	runners map[string]*runner.Runner
}

var _ catalog.Calculator = (*calculator)(nil)

// calculation is the kind of that configuration.
const calculation = "calculation"

// maxCalculations bounds how many blueprints' calculations have processes.
const maxCalculations = 4

// Calculate implements catalog.Calculator.
func (c *calculator) Calculate(ctx context.Context, texts map[string]string, document any) (map[string]any, error) {
	doc, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	config, err := calculationConfig(texts)
	if err != nil {
		return nil, err
	}
	results, err := c.runner(config).Map(ctx, calculation, doc)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		for _, e := range r.Entities {
			return e.Properties, nil
		}
	}
	return nil, nil
}

// calculationConfig leaves out what is no jq, whose values are null then.
func calculationConfig(texts map[string]string) ([]byte, error) {
	properties := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(texts)) {
		text := mapping.Quotes(texts[id])
		if mapping.Check(text) == nil {
			properties[id] = text
		}
	}
	return json.Marshal(map[string]any{"strictJq": true, "resources": []any{map[string]any{"kind": calculation, "port": map[string]any{"entity": map[string]any{
		"mappings": []any{map[string]any{"identifier": ".identifier", "blueprint": calculation, "properties": properties}}}}}}})
}

func (c *calculator) runner(config []byte) *runner.Runner {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.runners[string(config)]; r != nil {
		return r
	}
	if len(c.runners) >= maxCalculations {
		for k, r := range c.runners {
			go r.Close()
			delete(c.runners, k)
			break
		}
	}
	r := runner.New(c.program, config, 1)
	c.runners[string(config)] = r
	return r
}

func (c *calculator) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, r := range c.runners {
		r.Close()
		delete(c.runners, k)
	}
}
