package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// client is one keep-alive connection. It does little, so that the load takes little of the machine.
type client struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
	buffer  bytes.Buffer
}

// post sends a JSON body and decodes the data of the answer into out.
func (c *client) post(ctx context.Context, path string, body []byte, out any) error {
	return c.call(ctx, http.MethodPost, path, body, out)
}

// get decodes the data of the answer into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, nil, out)
}

func (c *client) call(ctx context.Context, method, path string, body []byte, out any) error {
	status, answer, err := c.exchange(ctx, method, path, body)
	if err != nil {
		c.close() // the next call makes another connection
		return err
	}
	if status/100 != 2 {
		return fmt.Errorf("%s answered %d: %s", path, status, answer)
	}
	envelope := struct {
		Data any `json:"data"`
	}{out}
	return json.Unmarshal(answer, &envelope)
}

// exchange makes a request and reads the whole answer.
func (c *client) exchange(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	if c.conn == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.address)
		if err != nil {
			return 0, nil, err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 4096)
	}
	if err := c.conn.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		return 0, nil, err
	}
	c.buffer.Reset()
	fmt.Fprintf(&c.buffer, "%s %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		method, path, apiKey, len(body))
	c.buffer.Write(body)
	if _, err := c.conn.Write(c.buffer.Bytes()); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// sample is one answered request.
type sample struct {
	record    int64
	due, done time.Time
}

// send is the answer to a single send.
type send struct {
	RecordID int64 `json:"record_id"`
}

// singleBody is a send of one message.
func singleBody(channel string, priority int) []byte {
	return fmt.Appendf(nil, `{"channel":%q,"recipient":"bench","content":"Your order 20261123 has been shipped and will arrive tomorrow.","priority":%d}`,
		channel, priority)
}

// closedLoop keeps n connections busy with single sends until the time is over.
func closedLoop(ctx context.Context, address string, n int, d time.Duration) ([]sample, error) {
	end := time.Now().Add(d)
	body := singleBody("null", 5)
	return connections(address, n, func(c *client, take func(sample)) error {
		for time.Now().Before(end) && ctx.Err() == nil {
			due := time.Now()
			var s send
			if err := c.post(ctx, "/api/messages/send", body, &s); err != nil {
				return err
			}
			take(sample{s.RecordID, due, time.Now()})
		}
		return nil
	})
}

// openLoop sends at a fixed rate: request i is due at i/rate, whatever became of those before it.
func openLoop(ctx context.Context, address string, n int, rate float64, d time.Duration, body []byte) ([]sample, error) {
	total := int64(rate * d.Seconds())
	began := time.Now()
	var next atomic.Int64
	return connections(address, n, func(c *client, take func(sample)) error {
		for ctx.Err() == nil {
			i := next.Add(1) - 1
			if i >= total {
				return nil
			}
			due := began.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			var s send
			if err := c.post(ctx, "/api/messages/send", body, &s); err != nil {
				return err
			}
			take(sample{s.RecordID, due, time.Now()})
		}
		return nil
	})
}

// connections runs work on n connections and gathers its samples.
func connections(address string, n int, work func(c *client, take func(sample)) error) ([]sample, error) {
	samples := make([][]sample, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c := &client{address: address}
			defer c.close()
			errs[i] = work(c, func(s sample) { samples[i] = append(samples[i], s) })
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(samples...), nil
}

// quantile returns a quantile of times in milliseconds. It sorts them.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	i := min(len(times)-1, int(q*float64(len(times))))
	return float64(times[i].Microseconds()) / 1000
}
