package trail

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berth-registry/berth/arn"
	"github.com/berth-registry/berth/sqldb"
)

// Outcome is how a call ended.
type Outcome string

// The outcomes.
const (
	OK     Outcome = "ok"
	Denied Outcome = "denied"
	Failed Outcome = "failed"
)

// Activity is how many calls of one operation ended in one way within an hour.
type Activity struct {
	Hour    time.Time // its begin, in UTC
	Name    string
	Outcome Outcome
	Calls   int64
}

type activityKey struct {
	hour    int64
	name    string
	outcome Outcome
}

func (r *Record) activity() activityKey {
	o := OK
	switch {
	case strings.HasPrefix(r.ErrorCode, "AccessDenied"):
		o = Denied
	case r.ErrorCode != "":
		o = Failed
	}
	return activityKey{r.At.Truncate(time.Hour).UnixMicro(), r.Name, o}
}

// Activity counts the calls in the trails of an account, in all regions, since a time, the
// oldest hour first.
func (t *Trail) Activity(ctx context.Context, a arn.Account, since time.Time) ([]Activity, error) {
	from := since.Truncate(time.Hour).UnixMicro()
	counts, err := t.readActivity(ctx, a, from)
	if err != nil {
		return nil, err
	}
	recent, err := t.recentOf(ctx, a, from)
	if err != nil {
		return nil, err
	}
	for _, r := range recent {
		counts[r.activity()]++
	}
	out := make([]Activity, 0, len(counts))
	for k, n := range counts {
		out = append(out, Activity{sqldb.Time(k.hour), k.name, k.outcome, n})
	}
	slices.SortFunc(out, func(a, b Activity) int {
		if c := a.Hour.Compare(b.Hour); c != 0 {
			return c
		}
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(string(a.Outcome), string(b.Outcome))
	})
	return out, nil
}
