package main

import (
	"context"
	"time"
)

// measure is what one scenario gave on one target.
type measure struct {
	rate     float64 // operations, images or MiB a second
	p50, p99 time.Duration
	cpu      time.Duration // of the server per operation (per GiB for bytes)
	peak     int64         // KiB
	value    float64       // for scenarios that are one number: ms or KiB
}

type scenario struct {
	name, unit string
	run        func(ctx context.Context, b *bench, t *target) (measure, error)
	// goal is the least that Berth is to reach, hope what it could: ratios to the floor, or
	// values where exact is set.
	goal, hope float64
	exact      bool
	less       bool // is better
	own        bool // Berth's alone
	long       bool // run when it is asked for
}

// all lists the scenarios in the order of the table.
var all = []scenario{
	{name: "push-large-stream", unit: "MiB/s", run: pushLarge(true), goal: 0.85, hope: 0.95},
	{name: "push-large-put", unit: "MiB/s", run: pushLarge(false), goal: 0.85, hope: 0.95},
	{name: "push-large-par", unit: "MiB/s", run: pushLargeParallel, goal: 0.85, hope: 0.95},
	{name: "pull-large-c32", unit: "MiB/s", run: pullLarge, goal: 0.95, hope: 1},
	{name: "push-small", unit: "images/s", run: pushSmall(0), goal: 0.5, hope: 0.75},
	{name: "push-deep", unit: "images/s", run: pushSmall(1000), goal: 0.5, hope: 0.75},
	{name: "pull-small", unit: "images/s", run: pullSmall(200), goal: 0.45, hope: 0.65},
	{name: "pull-deep", unit: "images/s", run: pullSmall(1000), goal: 0.45, hope: 0.65},
	{name: "head-manifest", unit: "1/s", run: manifests("HEAD"), goal: 0.45, hope: 0.65},
	{name: "get-manifest", unit: "1/s", run: manifests("GET"), goal: 0.45, hope: 0.65},
	{name: "head-blob", unit: "1/s", run: headBlob, goal: 0.45, hope: 0.65},
	{name: "head-under-push", unit: "ms", run: headUnderPush, goal: 0.8, hope: 1, less: true},
	{name: "mount", unit: "1/s", run: mountBlobs, goal: 0.45, hope: 0.7},
	{name: "tags-create", unit: "1/s", run: tagsCreate, goal: 0.4, hope: 0.6},
	{name: "tags-head", unit: "1/s", run: tagsHead, goal: 0.45, hope: 0.65},
	{name: "tags-list", unit: "ms", run: tagsList, goal: 0.3, hope: 0.45, less: true},
	{name: "tags-page", unit: "ms", run: tagsPage, goal: 0.3, hope: 0.45, less: true},
	{name: "delete-deep", unit: "1/s", run: deleteDeep, goal: 0.3, hope: 0.6},
	{name: "cold-start", unit: "ms", run: coldStart, goal: 25, hope: 15, exact: true, less: true},
	{name: "restart-10000", unit: "ms", run: restart, goal: 25, hope: 15, exact: true, less: true},
	{name: "rss-idle", unit: "MiB", run: rssIdle, goal: 40, hope: 25, exact: true, less: true},
	{name: "api-create-repository", unit: "1/s", run: api(apiCreateRepository), own: true},
	{name: "api-describe-repositories", unit: "1/s", run: api(apiDescribeRepositories), own: true},
	{name: "api-put-image", unit: "1/s", run: api(apiPutImage), own: true},
	{name: "api-list-images", unit: "1/s", run: api(apiListImages), own: true},
	{name: "api-describe-images", unit: "1/s", run: api(apiDescribeImages), own: true},
	{name: "api-describe-100-images", unit: "1/s", run: api(apiDescribe100Images), own: true},
	{name: "api-batch-get-image", unit: "1/s", run: api(apiBatchGetImage), own: true},
	{name: "first-push-template", unit: "ms more", run: firstPush(""), goal: 10, exact: true, less: true, own: true},
	{name: "first-push-go", unit: "ms more", run: firstPush("go"), goal: 30, exact: true, less: true, own: true},
	{name: "first-push-python", unit: "ms more", run: firstPush("python"), goal: 60, exact: true, less: true, own: true},
	{name: "declared-plan-new", unit: "ms", run: declared("plan"), less: true, own: true, long: true},
	{name: "declared-apply", unit: "ms", run: declared("apply"), less: true, own: true, long: true},
	{name: "declared-plan-same", unit: "ms", run: declared("apply", "plan"), less: true, own: true, long: true},
	{name: "declared-apply-edited", unit: "ms", run: declared("apply", "edit", "apply"), less: true, own: true, long: true},
	{name: "cost-small-1", unit: "images/s", run: costSmall(1), own: true, long: true},
	{name: "cost-small-8", unit: "images/s", run: costSmall(concurrency), own: true, long: true},
	{name: "nodes-1", unit: "images/s", run: nodes(1), own: true, long: true},
	{name: "nodes-2", unit: "images/s", run: nodes(2), own: true, long: true},
	{name: "clients-1000", unit: "1/s", run: crowd, own: true, long: true},
	{name: "layer-10g", unit: "MiB/s", run: hugeLayer, own: true, long: true},
}
