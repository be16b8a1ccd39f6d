package cli

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pigeonry/pigeonry/core/api/client"
	"github.com/pigeonry/pigeonry/core/template"
)

// maxBatch is the most recipients that the API takes in one call.
const maxBatch = 10_000

// upload sends one message to every row of a CSV file.
type upload struct {
	file            string
	recipientColumn string
	batchSize       int
	runName         string
	reportFile      string
	skipBad, yes    bool

	remote   *remote
	request  client.SendRequest
	in       io.Reader
	out, err io.Writer
}

func (u *upload) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&u.file, "csv", "", "CSV file (UTF-8) with a header row: one message to every row")
	f.StringVar(&u.recipientColumn, "recipient-column", "recipient", "column that holds the recipient")
	f.IntVar(&u.batchSize, "batch-size", 1000, "rows in one request, up to 10000")
	f.StringVar(&u.runName, "run", "", "a word of your choosing: the same file with another word is sent anew")
	f.StringVar(&u.reportFile, "report", "", "CSV file to write the rejected rows to")
	f.BoolVar(&u.skipBad, "skip-bad", false, "send the sound rows although others are not")
	f.BoolVarP(&u.yes, "yes", "y", false, "do not ask before sending")
}

// result is what came of an upload.
type result struct {
	Rows     int        `json:"rows"`
	Accepted int        `json:"accepted"`
	Skipped  int        `json:"skipped"`  // rows of the file that were not sound
	Replayed int        `json:"replayed"` // of the accepted: by an earlier run of the same command
	Batches  []int64    `json:"batches"`
	Rejected []rejected `json:"rejected"`
}

// rejected is one row that the gateway would not take.
type rejected struct {
	Row       int    `json:"row"`
	Recipient string `json:"recipient"`
	Reason    string `json:"reason"`
}

func (u *upload) run(ctx context.Context, asJSON bool) error {
	if u.batchSize < 1 || u.batchSize > maxBatch {
		return fmt.Errorf("--batch-size %d is out of bounds; use 1 to %d", u.batchSize, maxBatch)
	}
	s, err := openSheet(u.file, u.recipientColumn)
	if err != nil {
		return err
	}
	defer s.close()
	if err := u.check(ctx, s); err != nil {
		return err
	}
	res := result{Rows: s.rows, Skipped: len(s.bad), Batches: []int64{}, Rejected: []rejected{}}
	err = u.send(ctx, s, &res)
	if reportErr := u.report(res, asJSON); reportErr != nil {
		return errors.Join(err, reportErr)
	}
	switch {
	case err != nil:
		return fmt.Errorf("stopped: %w\nRepeat the same command to go on; what was accepted is not sent twice", err)
	case len(res.Rejected) > 0:
		return fmt.Errorf("%s rejected", count(len(res.Rejected), "row"))
	default:
		return nil
	}
}

// check makes sure that the whole file can be sent, and asks.
func (u *upload) check(ctx context.Context, s *sheet) error {
	variables, err := u.variables(ctx)
	if err != nil {
		return err
	}
	s.require(variables, u.request.Variables)
	if s.faults > 0 {
		fmt.Fprintln(u.err, s.report())
		if s.broken || !u.skipBad || len(s.bad) >= s.rows {
			return fmt.Errorf("the file has %s; nothing was sent", count(s.faults, "problem"))
		}
	}
	if u.yes || !isTerminal(u.in) {
		return nil
	}
	fmt.Fprintf(u.err, "Send %s through %s? [y/N] ", count(s.rows-len(s.bad), "message"), u.remote.url)
	line, err := bufio.NewReader(u.in).ReadString('\n')
	if err != nil || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y") {
		return errors.New("nothing was sent")
	}
	return nil
}

// variables are the names that the text needs.
func (u *upload) variables(ctx context.Context) ([]string, error) {
	if u.request.TemplateId == 0 {
		var names []string
		for _, text := range []string{u.request.Subject, u.request.Content} {
			t, err := template.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("read the text: %w", err)
			}
			names = append(names, t.Variables()...)
		}
		return names, nil
	}
	answer, err := u.remote.GetTemplateWithResponse(ctx, u.request.TemplateId)
	if err != nil {
		return nil, fmt.Errorf("reach the gateway at %s: %w", u.remote.url, err)
	}
	if err := answered(answer.HTTPResponse, answer.Body); err != nil {
		return nil, fmt.Errorf("find template %d: %w", u.request.TemplateId, err)
	}
	if answer.JSON200 == nil {
		return nil, errNotPigeonry
	}
	return answer.JSON200.Data.Variables, nil
}

// batch is some rows on their way into one request.
type batch struct {
	rows       []int // numbers of the rows, for the report
	recipients []string
	variables  []client.Variables
	last       int // number of the last row looked at, sound or not
}

// send reads the file again and sends it, batch by batch.
func (u *upload) send(ctx context.Context, s *sheet, res *result) error {
	rows, err := s.open(nil)
	if err != nil {
		return err
	}
	if _, err := rows.next(); err != nil { // the header
		return fmt.Errorf("read the header again: %w", err)
	}
	bar := progressbar.NewOptions(s.rows,
		progressbar.OptionSetWriter(u.err), progressbar.OptionSetDescription("sending"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("rows"),
		progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionSetRenderBlankState(true))
	defer fmt.Fprintln(u.err)
	for from := 2; from <= s.rows+1; from += u.batchSize {
		b, err := u.read(rows, s, from)
		if err != nil {
			return err
		}
		if len(b.recipients) > 0 {
			if err := u.post(ctx, s, from, b, res); err != nil {
				return err
			}
		}
		if err := bar.Set(b.last - 1); err != nil {
			return fmt.Errorf("show progress: %w", err)
		}
	}
	return nil
}

// read takes the next rows of the file.
func (u *upload) read(rows *rows, s *sheet, from int) (batch, error) {
	to := min(from+u.batchSize-1, s.rows+1)
	b := batch{last: to}
	for row := from; row <= to; row++ {
		cells, err := rows.next()
		if err != nil {
			return b, fmt.Errorf("read row %d again: %w", row, err)
		}
		if s.bad[row] {
			continue
		}
		if len(cells) != len(s.columns) {
			return b, fmt.Errorf("row %d has changed since the file was checked", row)
		}
		variables := make(client.Variables, len(cells)-1)
		for i, cell := range cells {
			if i != s.recipient {
				variables[s.columns[i]] = cell
			}
		}
		b.rows = append(b.rows, row)
		b.recipients = append(b.recipients, strings.TrimSpace(cells[s.recipient]))
		b.variables = append(b.variables, variables)
	}
	return b, nil
}

// post sends one batch and notes what became of it.
func (u *upload) post(ctx context.Context, s *sheet, from int, b batch, res *result) error {
	r := u.request
	body := client.SendBatchRequest{
		Channel: r.Channel, Subject: r.Subject, Content: r.Content, TemplateId: r.TemplateId, Connector: r.Connector,
		Variables: r.Variables, Metadata: r.Metadata, Priority: r.Priority, DelayMs: r.DelayMs, SendAt: r.SendAt, ExpireAt: r.ExpireAt,
		Recipients: b.recipients, VariablesList: b.variables,
	}
	key, err := u.key(s, from, b.last)
	if err != nil {
		return err
	}
	var answer *client.SendBatchResponse
	err = u.remote.insist(ctx, func() (_ *http.Response, _ []byte, err error) {
		if answer, err = u.remote.SendBatchWithResponse(ctx, &client.SendBatchParams{IdempotencyKey: key}, body); err != nil {
			return nil, nil, err
		}
		return answer.HTTPResponse, answer.Body, nil
	})
	if err != nil {
		return fmt.Errorf("send rows %d to %d: %w", from, b.last, err)
	}
	if answer.JSON200 == nil {
		return errNotPigeonry
	}
	data := answer.JSON200.Data
	res.Accepted += data.Accepted
	if answer.HTTPResponse.Header.Get("Idempotency-Replay") == "true" {
		res.Replayed += data.Accepted
	}
	res.Batches = append(res.Batches, data.BatchId)
	for _, x := range data.Rejected {
		if x.Index < 0 || x.Index >= len(b.rows) {
			return fmt.Errorf("send rows %d to %d: the gateway rejects recipient %d of %d", from, b.last, x.Index, len(b.rows))
		}
		res.Rejected = append(res.Rejected, rejected{Row: b.rows[x.Index], Recipient: x.Recipient, Reason: x.Reason})
	}
	return nil
}

// key is the Idempotency-Key of the rows from..to: the same for the same file, rows, text and run, so that
// a repeated upload is answered with what its first run came to.
func (u *upload) key(s *sheet, from, to int) (string, error) {
	shared, err := json.Marshal(u.request)
	if err != nil {
		return "", fmt.Errorf("make the idempotency key: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%x %s %q %q %t %d %d", s.hash, shared, u.runName, u.recipientColumn, u.skipBad, from, to)
	return "csv-" + hex.EncodeToString(sum.Sum(nil)[:24]), nil
}

// report tells what came of it.
func (u *upload) report(res result, asJSON bool) error {
	if u.reportFile != "" {
		if err := writeRejected(u.reportFile, res.Rejected); err != nil {
			return err
		}
	}
	if asJSON {
		return printJSON(u.out, res)
	}
	for _, r := range res.Rejected[:min(len(res.Rejected), shownProblems)] {
		fmt.Fprintf(u.err, "row %d, %s: %s\n", r.Row, r.Recipient, r.Reason)
	}
	if more := len(res.Rejected) - shownProblems; more > 0 {
		fmt.Fprintf(u.err, "... and %d more (--report writes all of them to a file)\n", more)
	}
	fmt.Fprintf(u.out, "%s of %s accepted in %s, %d rejected, %d skipped\n", count(res.Accepted, "message"),
		count(res.Rows, "row"), batches(len(res.Batches)), len(res.Rejected), res.Skipped)
	if res.Replayed > 0 {
		fmt.Fprintf(u.out, "%d of them were accepted by an earlier run and not sent again\n", res.Replayed)
	}
	return nil
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}

// isTerminal says whether somebody sits at the other end of a stream.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
