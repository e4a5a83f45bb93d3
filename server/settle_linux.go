package server

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// dropProgram gives back the pages of the program itself that only its start needed: they are
// files in memory, and what is needed again comes back from the page cache. Nothing is lost
// but the mapping, since these pages are never written to.
func dropProgram() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	type span struct{ from, to uintptr }
	var list []span
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		// 00400000-02a3f000 r-xp 00000000 fe:00 1234    /usr/bin/berth
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[5] != program || f[1] != "r-xp" && f[1] != "r--p" {
			continue
		}
		a, b, _ := strings.Cut(f[0], "-")
		from, err := strconv.ParseUint(a, 16, 64)
		if err != nil {
			return err
		}
		to, err := strconv.ParseUint(b, 16, 64)
		if err != nil {
			return err
		}
		list = append(list, span{uintptr(from), uintptr(to)})
	}
	for _, s := range list {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, s.from, s.to-s.from, syscall.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return nil
}
