// Package latecollect keeps the garbage collector off until the program has started. What the
// libraries set up before main comes to just the four megabytes at which it first runs, and
// most of it stays: that collection took three milliseconds of the twenty of a start.
//
// It is not for tuning a program that runs.
package latecollect

import (
	"runtime/debug"
	"sync"
)

// percent is what GOGC says, or 100. Reading it is what turns the collector off; importing
// almost nothing, this package is set up before those that take much.
var percent = debug.SetGCPercent(-1) //nolint:gochecknoglobals // it has to happen before main

var begin = sync.OnceFunc(func() { debug.SetGCPercent(percent) }) //nolint:gochecknoglobals // likewise

// Begin turns the collector on, as GOGC has it, the first time that it is called.
func Begin() { begin() }
