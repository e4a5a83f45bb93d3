package worker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// denied are the system calls that no function needs: those that change the kernel, look
// into other processes or make further namespaces.
var denied = []uint32{unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT,
	unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
	unix.SYS_USERFAULTFD, unix.SYS_KEXEC_LOAD, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE,
	unix.SYS_DELETE_MODULE, unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_SETTIMEOFDAY,
	unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_LOOKUP_DCOOKIE, unix.SYS_VHANGUP, unix.SYS_PERSONALITY,
	unix.SYS_KCMP, unix.SYS_FANOTIFY_INIT, unix.SYS_MOUNT_SETATTR, unix.SYS_SCHED_SETAFFINITY}

// seccompFilter makes the filter that the sandbox loads, as a file to read it from.
func seccompFilter() (*os.File, error) {
	const (
		load      = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal     = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		atLeast   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		anySet    = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		give      = unix.BPF_RET | unix.BPF_K
		allow     = 0x7fff0000
		kill      = 0x80000000
		fail      = 0x00050000
		offNumber = 0
		offArch   = 4
		offFlags  = 16 // the low half of the first argument
		x32       = 0x40000000
	)
	arch := map[string]uint32{"amd64": 0xc000003e, "arm64": 0xc00000b7}[runtime.GOARCH]
	if arch == 0 {
		return nil, fmt.Errorf("the filter of system calls is not made for %s", runtime.GOARCH)
	}
	type instruction struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	program := []instruction{{load, 0, 0, offArch}, {equal, 1, 0, arch}, {give, 0, 0, kill}, {load, 0, 0, offNumber},
		{atLeast, 0, 1, x32}, {give, 0, 0, fail | uint32(unix.ENOSYS)},
		{equal, 0, 1, unix.SYS_CLONE3}, {give, 0, 0, fail | uint32(unix.ENOSYS)}, // its flags cannot be seen; libraries fall back to clone
		{equal, 0, 4, unix.SYS_CLONE}, {load, 0, 0, offFlags}, {anySet, 0, 1, unix.CLONE_NEWUSER}, {give, 0, 0, fail | uint32(unix.EPERM)},
		{give, 0, 0, allow}}
	for _, n := range denied {
		program = append(program, instruction{equal, 0, 1, n}, instruction{give, 0, 0, fail | uint32(unix.EPERM)})
	}
	program = append(program, instruction{give, 0, 0, allow})
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, program); err != nil {
		return nil, err
	}
	return piped(b.Bytes())
}
