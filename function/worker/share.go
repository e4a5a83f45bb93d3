package worker

import (
	"math/rand/v2"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// perCPU is how much memory comes with one processor (Lambda developer guide).
const perCPU = 1769 << 20

// startOn starts a command on as many processors as its memory is worth, any of those
// that there are. What it starts inherits them.
func startOn(cmd *exec.Cmd, memory int64) error {
	runtime.LockOSThread() // a child inherits the processors of the thread that makes it
	defer runtime.UnlockOSThread()
	var all, mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	var have []int
	for i := range len(all) * 64 {
		if all.IsSet(i) {
			have = append(have, i)
		}
	}
	rand.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
	for _, i := range have[:min(len(have), int((memory+perCPU-1)/perCPU))] {
		mine.Set(i)
	}
	if err := unix.SchedSetaffinity(0, &mine); err != nil {
		return err
	}
	err := cmd.Start()
	if rerr := unix.SchedSetaffinity(0, &all); err == nil {
		err = rerr
	}
	return err
}
