package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
)

func TestSend(t *testing.T) {
	g := newFakeGateway(t)
	g.run(t, "send", "--channel", "email", "--to", "ada@example.com", "--subject", "Hello", "--content", "Hi {{name}}",
		"--var", "name=Ada", "--priority", "9", "--delay", "90s", "--at", "", "--metadata", "order=7").
		expect(t, 0, "accepted: message 12345, trace msg_1\n", "")
	want := map[string]any{
		"channel": "email", "recipient": "ada@example.com", "subject": "Hello", "content": "Hi {{name}}",
		"variables": map[string]any{"name": "Ada"}, "metadata": map[string]any{"order": "7"}, "priority": 9.0, "delay_ms": 90000.0,
	}
	if have := g.requests[0]; fmt.Sprint(have) != fmt.Sprint(want) {
		t.Errorf("want %v\nhave %v", want, have)
	}
	g.run(t, "send", "--template", "7", "--to", "+8613800138000", "--json").expect(t, 0, `"record_id": 12345`, "")
}

func TestSendRefused(t *testing.T) {
	g := newFakeGateway(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"no recipient", []string{"--channel", "sms", "--content", "x"}, "say who gets it"},
		{"no text", []string{"--to", "x"}, "say what to send"},
		{"text and template", []string{"--to", "x", "--template", "7", "--content", "x"}, "cannot be given together"},
		{"two times", []string{"--to", "x", "--template", "7", "--delay", "1s", "--at", "2030-01-02T15:04:05Z"}, "--delay and --at"},
		{"time without offset", []string{"--to", "x", "--template", "7", "--at", "2030-01-02 15:04"}, "write it with an offset"},
		{"no key", []string{"--to", "x", "--template", "7", "--key", ""}, "no API key"},
		{"wrong key", []string{"--to", "x", "--template", "7", "--key", "wrong"}, "the gateway refused (HTTP 401, code 3001): no valid API key"},
		{"wrong address", []string{"--to", "x", "--template", "7", "--url", "localhost:1"}, "not an address of a gateway"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g.run(t, append([]string{"send"}, test.args...)...).expect(t, 1, "", test.want)
		})
	}
	if len(g.sent) != 0 {
		t.Errorf("sent %v", g.sent)
	}
}

// What the gateway could not take for the moment is sent again, with the same key: once in all.
func TestSendInsists(t *testing.T) {
	g := newFakeGateway(t)
	g.fail = func(request int) (int, string) {
		if request == 1 {
			return http.StatusServiceUnavailable, "0"
		}
		return 0, ""
	}
	g.run(t, "send", "--template", "7", "--to", "x").expect(t, 0, "accepted", "")
	if len(g.requests) != 2 || len(g.sent) != 1 {
		t.Errorf("%d requests, %d sent", len(g.requests), len(g.sent))
	}
}

// customers writes a file of n rows, as a spreadsheet would.
func customers(t *testing.T, n int) (string, []string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\xef\xbb\xbfname,recipient\r\n")
	var want []string
	for i := range n {
		fmt.Fprintf(&b, "\"Ada, %d\",+86138%08d\r\n", i, i)
		want = append(want, fmt.Sprintf("+86138%08d Ada, %d", i, i))
	}
	return write(t, "customers.csv", b.String()), want
}

func TestSendCSV(t *testing.T) {
	g := newFakeGateway(t)
	file, want := customers(t, 2500)
	o := g.run(t, "send", "--template", "7", "--csv", file, "--priority", "2")
	o.expect(t, 0, "2500 messages of 2500 rows accepted in 3 batches, 0 rejected, 0 skipped\n", "2500/2500")
	if !slices.Equal(g.sent, want) {
		t.Errorf("%d sent", len(g.sent))
	}
	if p := g.requests[0]["priority"]; p != 2.0 {
		t.Errorf("priority %v", p)
	}
	// The same command again sends nothing, another run sends all of it.
	g.run(t, "send", "--template", "7", "--csv", file, "--priority", "2").
		expect(t, 0, "2500 of them were accepted by an earlier run and not sent again", "")
	if len(g.sent) != 2500 {
		t.Errorf("a repeat sent %d more", len(g.sent)-2500)
	}
	g.run(t, "send", "--template", "7", "--csv", file, "--priority", "2", "--run", "second").expect(t, 0, "2500 messages", "")
	if len(g.sent) != 5000 {
		t.Errorf("another run sent %d", len(g.sent)-2500)
	}
}

// An upload that broke off goes on where it was.
func TestSendCSVResumes(t *testing.T) {
	g := newFakeGateway(t)
	file, want := customers(t, 2500)
	g.fail = func(request int) (int, string) {
		if request == 3 {
			return http.StatusInternalServerError, ""
		}
		return 0, ""
	}
	o := g.run(t, "send", "--template", "7", "--csv", file)
	o.expect(t, 1, "2000 messages of 2500 rows accepted", "stopped: send rows 2002 to 2501")
	o.expect(t, 1, "", "Repeat the same command to go on")
	g.run(t, "send", "--template", "7", "--csv", file).
		expect(t, 0, "2500 messages of 2500 rows accepted in 3 batches, 0 rejected, 0 skipped\n2000 of them were accepted by an earlier run", "")
	if !slices.Equal(g.sent, want) {
		t.Errorf("%d sent", len(g.sent))
	}
}

func TestSendCSVRejected(t *testing.T) {
	g := newFakeGateway(t)
	file := write(t, "x.csv", "recipient,name\n+1,Ada\n=bad,Bob\n+3,Cid\n")
	report := filepath.Join(t.TempDir(), "rejected.csv")
	g.run(t, "send", "--template", "7", "--csv", file, "--report", report).
		expect(t, 1, "2 messages of 3 rows accepted in 1 batch, 1 rejected", "row 3, =bad: is no phone number")
	have, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	if want := "row,recipient,reason\n3,'=bad,is no phone number\n"; string(have) != want {
		t.Errorf("want %q, have %q", want, have)
	}
}

// A file that is not sound is told by row and column, and nothing of it is sent.
func TestSendCSVFaults(t *testing.T) {
	g := newFakeGateway(t)
	for _, test := range []struct {
		name, content string
		want          []string
	}{
		{"empty", "", []string{"row 1: the file is empty"}},
		{"header alone", "recipient,name\n", []string{"row 2: the file has no row below its header"}},
		{"no recipient", "to,name\n+1,Ada\n", []string{`row 1: no column is named "recipient"; there are to, name (--recipient-column names another)`}},
		{"variable missing", "recipient,moniker\n+1,Ada\n", []string{`row 1: no column is named "name", which the text uses; there are recipient, moniker`}},
		{"column twice", "recipient,name,name\n+1,a,b\n", []string{`row 1, column 3: "name" stands there twice`}},
		{"column without name", "recipient,,name\n+1,a,b\n", []string{"row 1, column 2: has no name"}},
		{"ragged", "recipient,name\n+1,Ada\n+2\n+3,Cid,x\n", []string{"row 3: has 1 column; the header has 2", "row 4: has 3 columns; the header has 2"}},
		{"bare quote", "recipient,name\n+1,A\"da\n", []string{"row 2 (line 2, byte 5): bad quoting"}},
		{"open quote", "recipient,name\n+1,\"Ada\n+2,Bob\n", []string{"row 2 (line ", "bad quoting"}},
		{"endless quote", "recipient,name\n+1,\"" + strings.Repeat("x", 2<<20), []string{"row 2: the row has more than 1048576 bytes"}},
		{"no recipient in a row", "recipient,name\n ,Ada\n", []string{"row 2, column 1 (recipient): is empty"}},
		{"GBK", "recipient,name\n+1,\xc4\xe3\xba\xc3\n", []string{"row 2, column 2 (name): is not UTF-8"}},
		{"UTF-16", "\xff\xfer\x00e\x00", []string{"the file is UTF-16; save it as UTF-8"}},
		{"many", "recipient,name\n" + strings.Repeat("x\n", 30), []string{"row 21: has 1 column", "... and 10 more", "the file has 30 problems; nothing was sent"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := g.run(t, "send", "--template", "7", "--csv", write(t, "x.csv", test.content))
			for _, want := range test.want {
				o.expect(t, 1, "", want)
			}
		})
	}
	g.run(t, "send", "--template", "8", "--csv", write(t, "x.csv", "recipient\n+1\n")).
		expect(t, 1, "", "find template 8: the gateway refused (HTTP 404, code 2002): template not found")
	if len(g.sent) != 0 {
		t.Errorf("sent %v", g.sent)
	}
}

func TestSendCSVSkipsBadRows(t *testing.T) {
	g := newFakeGateway(t)
	file := write(t, "x.csv", "recipient,name\n+1,Ada\n+2\n+3,Cid\n")
	g.run(t, "send", "--channel", "sms", "--content", "Hi {{name}}", "--csv", file, "--skip-bad").
		expect(t, 0, "2 messages of 3 rows accepted in 1 batch, 0 rejected, 1 skipped", "row 3: has 1 column")
	if want := []string{"+1 Ada", "+3 Cid"}; !slices.Equal(g.sent, want) {
		t.Errorf("sent %v", g.sent)
	}
}

// Whatever a file holds, it is refused or it is sent row by row.
func FuzzSendCSV(f *testing.F) {
	for _, seed := range []string{"recipient,name\n+1,Ada\n", "\xef\xbb\xbfrecipient\n\n+1\n", "recipient,a\n\"+1\",\"x\ny\"\n", "\"recipient", "recipient\n\"\"\"\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		g := newFakeGateway(t)
		o := run(t, cli.Process{
			Args:    []string{"send", "--channel", "sms", "--content", "x", "--csv", write(t, "x.csv", string(content)), "--url", g.URL},
			Environ: []string{"PIGEONRY_API_KEY=" + key},
		})
		if o.code != 0 && o.err == "" {
			t.Error("it failed without a word")
		}
		if refused := strings.Contains(o.err, "nothing was sent") || strings.Contains(o.err, "read the CSV file"); refused != (len(g.requests) == 0) {
			t.Errorf("%d requests, and it says\n%s", len(g.requests), o.err)
		}
	})
}
