package sqldb

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// Micros is how times rest in tables, in microseconds; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time turns a stored time back.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Flag is how booleans rest in tables.
func Flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// JSON is how lists, maps and structures of texts and numbers rest in tables; nil lists
// and maps are empty ones.
func JSON(v any) string {
	switch r := reflect.ValueOf(v); {
	case r.Kind() == reflect.Map && r.IsNil():
		return "{}"
	case r.Kind() == reflect.Slice && r.IsNil():
		return "[]"
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of those nothing fails to marshal
	}
	return string(b)
}

// Literal escapes what has a meaning to like, for patterns with escape '\'.
func Literal(s string) string {
	return strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s)
}
