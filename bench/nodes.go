package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// nodeShare is how much of a core each node may use: so little that the database, which
// shares the machine, is not the limit.
const nodeShare = 0.2

// nodes pushes small images to as many servers on one database, each client to one of them.
// It needs a target on PostgreSQL, and control groups (version 1) to hold the nodes back.
func nodes(n int) func(ctx context.Context, b *bench, t *target) (measure, error) {
	return func(ctx context.Context, b *bench, t *target) (m measure, err error) {
		all := []*target{t}
		for i := 1; i < n; i++ {
			another, err := t.again(ctx, filepath.Join(t.dir, fmt.Sprint("node", i)))
			if err != nil {
				return m, err
			}
			defer another.stop()
			all = append(all, another)
		}
		if _, err := t.smallImage(rand.New(rand.NewPCG(9, 9)), "bench/nodes", "first"); err != nil {
			return m, err
		}
		for _, node := range all {
			free, err := node.hold(nodeShare)
			if err != nil {
				return m, err
			}
			defer free()
		}
		return b.load(t, 2*concurrency, func(c, i int) error {
			_, err := all[c%n].smallImage(rand.New(rand.NewPCG(uint64(c)+1, uint64(i))), fmt.Sprint("bench/nodes-", c), fmt.Sprintf("c%d-%d", c, i))
			return err
		})
	}
}

// again starts another server on a target's database.
func (t *target) again(ctx context.Context, dir string) (*target, error) {
	at := slices.Index(t.cmd.Args, "--db")
	if at < 0 {
		return nil, fmt.Errorf("%s does not share a database: name berth-pg as target", t.kind.name)
	}
	url := t.cmd.Args[at+1]
	k := t.kind
	k.login = nil
	k.args = func(dir, addr string) ([]string, error) {
		return []string{"serve", "--listen", addr, "--admin", "none", "--data", filepath.Join(dir, "data"), "--access-log", filepath.Join(dir, "access.log"), "--db", url,
			"--master-key", filepath.Join(t.dir, "data", "master.key")}, nil
	}
	another, err := k.start(ctx, dir)
	if err == nil {
		another.auth = t.auth
	}
	return another, err
}

// hold bounds what a server may use of a core until free is called.
func (t *target) hold(share float64) (free func(), err error) {
	const root, period = "/sys/fs/cgroup/cpu", 20_000
	dir := filepath.Join(root, fmt.Sprint("berth-bench-", t.cmd.Process.Pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("to hold a server back needs control groups of version 1, and root: %w", err)
	}
	pid := []byte(strconv.Itoa(t.cmd.Process.Pid))
	free = func() {
		_ = os.WriteFile(filepath.Join(root, "cgroup.procs"), pid, 0o644)
		_ = os.Remove(dir)
	}
	for _, w := range []struct {
		file string
		text []byte
	}{{"cpu.cfs_period_us", []byte(strconv.Itoa(period))}, {"cpu.cfs_quota_us", []byte(strconv.Itoa(int(period * share)))}, {"cgroup.procs", pid}} {
		if err := os.WriteFile(filepath.Join(dir, w.file), w.text, 0o644); err != nil {
			free()
			return nil, err
		}
	}
	return free, nil
}
