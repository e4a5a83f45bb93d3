package main

import (
	"context"
	"time"
)

func coldStart(_ context.Context, _ *bench, t *target) (measure, error) {
	return measure{value: float64(t.startup.Microseconds()) / 1000}, nil
}

// restart stops a registry of 10,000 images (tags, for those that cannot hold
// what the floor forgets) and starts it again.
func restart(ctx context.Context, _ *bench, t *target) (measure, error) {
	if t.name == "floor" {
		return measure{value: float64(t.startup.Microseconds()) / 1000}, nil
	}
	if _, err := tagMany(t, "bench/tags", manyTags); err != nil {
		return measure{}, err
	}
	t.stop()
	again, err := t.kind.start(ctx, t.dir)
	if err != nil {
		return measure{}, err
	}
	*t = *again
	return measure{value: float64(t.startup.Microseconds()) / 1000}, nil
}

func rssIdle(_ context.Context, _ *bench, t *target) (measure, error) {
	time.Sleep(2 * time.Second)
	return measure{value: float64(t.usage().rss) / 1024}, nil
}
