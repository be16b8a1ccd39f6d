package sdk

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"google.golang.org/grpc"
)

// captureLine is where a longer line of output is broken: a log line of bounded length cannot stop
// whoever reads it.
const captureLine = 16 << 10

// capture turns what the plugin prints into log lines, redacted like any other.
//
// go-plugin replaces os.Stdout and os.Stderr by pipes that travel over gRPC: without a reader at
// the gateway a Println would block, and secrets would pass. It does so after it has announced the
// address, hence the first call is the earliest moment to put something better in their place.
type capture struct {
	log  *slog.Logger
	once sync.Once
}

func (c *capture) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c.once.Do(c.start)
	return next(ctx, req)
}

func (c *capture) stream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	c.once.Do(c.start)
	return next(srv, stream)
}

func (c *capture) start() {
	for name, file := range map[string]**os.File{"stdout": &os.Stdout, "stderr": &os.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			c.log.Warn("output is not captured", "stream", name, "error", err.Error())
			continue
		}
		*file = w
		go copyLines(c.log, name, r) // ends with the process
	}
}

// copyLines logs each line that r brings.
func copyLines(log *slog.Logger, name string, r io.Reader) {
	in := bufio.NewReaderSize(r, captureLine)
	for {
		line, _, err := in.ReadLine()
		if len(line) > 0 {
			log.Info(string(line), "stream", name)
		}
		if err != nil {
			return
		}
	}
}
