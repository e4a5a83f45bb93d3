//go:build !linux

package sqldb

import "os"

func dataSync(f *os.File) error { return f.Sync() }
