package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/berth-registry/berth/catalog/mapping"
)

// Process is what the program does when it was started with Command: it reads the
// configuration and then documents, a line each, and answers each with a line. It returns
// the exit status.
func Process(in io.Reader, out io.Writer) int {
	debug.SetMemoryLimit(softMemory)
	for what, value := range map[int]uint64{syscall.RLIMIT_DATA: dataMemory, syscall.RLIMIT_CORE: 0, syscall.RLIMIT_FSIZE: 0} {
		if err := syscall.Setrlimit(what, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			fmt.Fprintln(os.Stderr, "the limits of a process for mappings could not be set:", err)
			return 70
		}
	}
	dec, enc := json.NewDecoder(bufio.NewReaderSize(in, 64<<10)), json.NewEncoder(out)
	var text string
	if dec.Decode(&text) != nil {
		return 64
	}
	config, err := mapping.Read([]byte(text))
	if err != nil {
		_ = enc.Encode(reply{Error: err.Error()})
		return 65
	}
	if enc.Encode(reply{}) != nil {
		return 74
	}
	for {
		var q request
		if dec.Decode(&q) != nil { // nobody asks any more
			return 0
		}
		if enc.Encode(answer(config, q)) != nil {
			return 74
		}
	}
}

func answer(config *mapping.Config, q request) reply {
	var document any
	if err := json.Unmarshal(q.Document, &document); err != nil {
		return reply{Error: "the document is no JSON: " + err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), evaluationTime)
	defer cancel()
	return reply{Results: config.Map(ctx, q.Kind, document)}
}
