//go:build !linux

package fsblob

import "github.com/berth-registry/berth/internal/vfs"

func startWriteBack(vfs.File, int64, int64) {}
