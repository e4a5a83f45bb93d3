package catalog

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-registry/berth/catalog/query"
)

// Keys and values of the index are short: what is longer keeps its beginning and, where
// it must stay distinct, its hash.
const (
	maxKey      = 160 // bytes
	maxValue    = 120 // bytes
	maxElements = 100 // of a list
)

// key is an identifier as tables have it.
func key(id string) string {
	if len(id) <= maxKey {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return cut(id, maxKey-33) + "#" + hex.EncodeToString(sum[:16])
}

// cut shortens a text to at most n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// OwnSource is how $datasource begins of what is made from this registry.
const OwnSource = "built-in-exporter/"

// sourceID is the number of a source: of its name, so that nobody has to hand them out.
func sourceID(name string) int64 {
	if name == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(name))
	id := int64(binary.BigEndian.Uint64(sum[:8])>>1 | 1)
	if strings.HasPrefix(name, OwnSource) {
		return -id // by which nobody searches
	}
	return id
}

// The index's values begin with their sort, so that ranges stay within it.
const (
	sortText   = "s"
	sortTime   = "t"
	sortNumber = "n"
	sortBool   = "b"
	// unindexed marks a list of which not all elements are in the index.
	unindexed = "!"
)

// index is the sort of a property's values in the index, "" for those that have none.
func (p *Property) index() string {
	if off, ok := p.Raw["index"].(bool); ok && !off {
		return ""
	}
	switch p.Type {
	case "string":
		switch p.Format {
		case "date-time", "timer":
			return sortTime
		case "markdown", "yaml", "proto":
			return ""
		}
		return sortText
	case "number":
		return sortNumber
	case "boolean":
		return sortBool
	case "array":
		if p.Items != nil && p.Items.Type == "object" {
			return ""
		}
		return sortText
	}
	return ""
}

// encode is a value in the index; false for one that the index cannot hold.
func encode(sort string, v any) (string, bool) {
	switch v := v.(type) {
	case string:
		if sort == sortTime {
			t, ok := query.Date(v)
			return encodeTime(t), ok
		}
		return sortText + cut(v, maxValue), true
	case float64:
		return sortNumber + encodeNumber(v), true
	case bool:
		if v {
			return sortBool + "1", true
		}
		return sortBool + "0", true
	case time.Time:
		return encodeTime(v), true
	}
	return "", false
}

func encodeTime(t time.Time) string {
	return sortTime + t.UTC().Format("2006-01-02T15:04:05.000000000")
}

// encodeNumber writes numbers so that their texts sort as they do.
func encodeNumber(f float64) string {
	if f == 0 {
		f = 0 // no negative zero
	}
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], bits)
	return hex.EncodeToString(b[:])
}

// valueRow is a row of the index.
type valueRow struct{ property, value string }

// indexRows are what an entity is found by.
func indexRows(b *Blueprint, e *row) []valueRow {
	set := map[valueRow]bool{}
	add := func(property, sort string, list []any) {
		for i, item := range list {
			v, ok := encode(sort, item)
			if i == maxElements || !ok {
				set[valueRow{property, unindexed}] = true
				return
			}
			set[valueRow{property, v}] = true
		}
	}
	for _, t := range e.team {
		set[valueRow{"$team", sortText + cut(t, maxValue)}] = true
	}
	for id, v := range e.properties {
		p := b.Properties[id]
		if p == nil || v == nil {
			continue
		}
		sort := p.index()
		if sort == "" {
			continue
		}
		if list, ok := v.([]any); ok {
			add(id, sort, list)
			continue
		}
		add(id, sort, []any{v})
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b valueRow) int {
		if a.property != b.property {
			if a.property < b.property {
				return -1
			}
			return 1
		}
		if a.value < b.value {
			return -1
		}
		return 1
	})
}
