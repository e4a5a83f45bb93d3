package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// depths are what the benchmark of depth printed: by what was measured, by size.
type depths struct {
	sizes []int
	names []string
	value map[string]map[int]float64
}

// measureDepth runs the benchmark that fills a registry more and more, prints how much slower
// calls have become, and draws it.
func measureDepth(ctx context.Context, charts string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "./server", "-run", "xxx", "-bench", "Depth", "-benchtime", "1x", "-timeout", "60m")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d := &depths{value: map[string]map[int]float64{}}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if !d.read(lines.Text()) {
			fmt.Fprintln(os.Stderr, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("the benchmark of depth: %w", err)
	}
	fmt.Print(d.table())
	if charts == "" {
		return nil
	}
	if err := os.MkdirAll(charts, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(charts, "depth.svg"), []byte(d.chart()), 0o644)
}

// read takes a line "depth TAB size TAB what TAB value".
func (d *depths) read(line string) bool {
	f := strings.Split(line, "\t")
	if len(f) != 4 || f[0] != "depth" {
		return false
	}
	size, err := strconv.Atoi(f[1])
	v, verr := strconv.ParseFloat(f[3], 64)
	if err != nil || verr != nil {
		return false
	}
	if !slices.Contains(d.sizes, size) {
		d.sizes = append(d.sizes, size)
	}
	if d.value[f[2]] == nil {
		d.names = append(d.names, f[2])
		d.value[f[2]] = map[int]float64{}
	}
	d.value[f[2]][size] = v
	return true
}

// unit is what a figure is told in.
func unit(name string, v float64) string {
	switch {
	case name == "disk of everything":
		return number(v/(1<<20)) + " MiB"
	case strings.HasPrefix(name, "disk"):
		return number(v) + " B"
	case v >= 1000:
		return number(v/1000) + " ms"
	}
	return number(v) + " µs"
}

func (d *depths) table() string {
	var out strings.Builder
	out.WriteString("| |")
	for _, n := range d.sizes {
		fmt.Fprintf(&out, " %d |", n)
	}
	out.WriteString(" last to first |\n|---|" + strings.Repeat("---|", len(d.sizes)+1) + "\n")
	for _, name := range d.names {
		fmt.Fprintf(&out, "| %s |", name)
		for _, n := range d.sizes {
			text := "-"
			if v, ok := d.value[name][n]; ok {
				text = unit(name, v)
			}
			fmt.Fprintf(&out, " %s |", text)
		}
		first, last := d.value[name][d.sizes[0]], d.value[name][d.sizes[len(d.sizes)-1]]
		if first > 0 && last > 0 && name != "disk of everything" {
			fmt.Fprintf(&out, " %.2f |\n", last/first)
		} else {
			out.WriteString(" - |\n")
		}
	}
	return out.String()
}

// chart draws calls beside what they cost in the smallest registry.
func (d *depths) chart() string {
	var names, steps []string
	var series [][]float64
	for _, n := range d.sizes {
		steps = append(steps, strconv.Itoa(n))
	}
	for _, name := range d.names {
		if strings.HasPrefix(name, "disk") || d.value[name][d.sizes[0]] == 0 || len(names) == 6 {
			continue
		}
		var values []float64
		for _, n := range d.sizes {
			values = append(values, d.value[name][n]/d.value[name][d.sizes[0]])
		}
		names, series = append(names, name), append(series, values)
	}
	return lineChart("What calls cost as the registry grows", "Images, tags and repositories; ten times as many layers, a hundred times as many records. 1 is the cost in the smallest.", steps, names, series, 2)
}
