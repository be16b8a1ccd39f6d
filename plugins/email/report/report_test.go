package report_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/email/report"
)

func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func date(text string) time.Time {
	t, err := time.Parse(time.RFC1123Z, text)
	if err != nil {
		panic(err)
	}
	return t
}

// TestNotifications reads notifications after the examples of RFC 3464 appendix E, and what servers in the field write.
func TestNotifications(t *testing.T) {
	tests := []struct {
		file       string
		envelopeID string
		messageID  string
		sentTo     []string
		want       []report.Recipient
	}{
		{
			// After RFC 3464 appendix E.1.
			"rfc3464-e1.eml", "", "",
			[]string{"owner-info-mime@cs.utk.edu"},
			[]report.Recipient{{
				Final: "louisl@larry.slip.umd.edu", Original: "louisl@larry.slip.umd.edu", Action: "failed", Status: "4.0.0",
				Diagnostic: "426 connection timed out", DiagnosticType: "smtp", At: date("Thu, 07 Jul 1994 17:15:49 -0400"),
			}},
		},
		{
			// After RFC 3464 appendix E.2: three recipients, one by another kind of address.
			"rfc3464-e2.eml", "", "9407010000.AA00000@Pure-Heart.ORG",
			[]string{"dag@Pure-Heart.ORG"},
			[]report.Recipient{
				{
					Final: "arathib@vnet.ibm.com", Original: "arathib@vnet.ibm.com", Action: "failed", Status: "5.0.0",
					Diagnostic: "550 'arathib@vnet.IBM.COM' is not a registered gateway user", DiagnosticType: "smtp", RemoteMTA: "vnet.ibm.com",
				},
				{
					Final: "johnh@hpnjld.njd.hp.com", Original: "johnh@hpnjld.njd.hp.com", Action: "delayed", Status: "4.0.0",
					Diagnostic: "hpnjld.njd.jp.com: host name lookup failure",
				},
				{
					Final: "wsnell@sdcc13.ucsd.edu", Original: "wsnell@sdcc13.ucsd.edu", Action: "failed", Status: "5.0.0",
					Diagnostic: "550 user unknown", DiagnosticType: "smtp", RemoteMTA: "sdcc13.ucsd.edu",
				},
			},
		},
		{
			// Written by Postfix 3.7.11.
			"postfix-failed.eml", "12345.2", "msg_0Abc@example.test",
			[]string{"bounce+12345.2@example.test", "bounce+12345.2@example.test", "bounce+12345.2@example.test"},
			[]report.Recipient{{
				Final: "gone@reject.test", Original: "gone@example.test", Action: "failed", Status: "5.1.1",
				Diagnostic: "550 5.1.1 no such user", DiagnosticType: "smtp", RemoteMTA: "127.0.0.1",
			}},
		},
		{
			// RFC 6533: addresses beyond ASCII, the fields in base64.
			"global.eml", "", "msg_0Abc@example.com",
			[]string{"bounce@example.com"},
			[]report.Recipient{{
				Final: "用户@例子.测试", Original: "用户@例子.测试", Action: "failed", Status: "5.1.1",
				Diagnostic: "550 5.1.1 unknown", DiagnosticType: "smtp",
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			got, err := report.Parse(sample(t, test.file))
			if err != nil {
				t.Fatal(err)
			}
			if got.EnvelopeID != test.envelopeID || got.Original.MessageID() != test.messageID || !reflect.DeepEqual(got.SentTo, test.sentTo) {
				t.Errorf("envelope id %q, message id %q, sent to %q", got.EnvelopeID, got.Original.MessageID(), got.SentTo)
			}
			if len(got.Recipients) != len(test.want) {
				t.Fatalf("%d recipients: %+v", len(got.Recipients), got.Recipients)
			}
			for i := range test.want {
				r := got.Recipients[i]
				if !r.At.Equal(test.want[i].At) {
					t.Errorf("recipient %d at %s, want %s", i, r.At, test.want[i].At)
				}
				r.At, test.want[i].At = time.Time{}, time.Time{}
				if r != test.want[i] {
					t.Errorf("recipient %d is\n%+v, want\n%+v", i, r, test.want[i])
				}
			}
		})
	}
}

// TestFeedback reads reports after the examples of RFC 5965 appendix B.
func TestFeedback(t *testing.T) {
	got, err := report.Parse(sample(t, "rfc5965-b1.eml"))
	if err != nil {
		t.Fatal(err)
	}
	if f := got.Feedback; f == nil || f.Type != "abuse" || f.UserAgent != "SomeGenerator/1.0" || len(f.Recipients) != 0 {
		t.Errorf("feedback is %+v", got.Feedback)
	}
	if got.Original.MessageID() != "8787KJKJ3K4J3K4J3K4J3.mail@example.net" || got.Original.Get("To") != "<Undisclosed Recipients>" {
		t.Errorf("original is %v", got.Original)
	}
	if got, err = report.Parse(sample(t, "rfc5965-b2.eml")); err != nil {
		t.Fatal(err)
	}
	f := got.Feedback
	if f == nil || f.Type != "abuse" || f.MailFrom != "somespammer@example.net" || f.SourceIP != "192.0.2.1" ||
		!reflect.DeepEqual(f.Recipients, []string{"user@example.com"}) || !f.At.Equal(date("Thu, 08 Mar 2005 14:00:00 -0400")) {
		t.Errorf("feedback is %+v", f)
	}
}

func TestWhatIsNoReport(t *testing.T) {
	nested := "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\n" + string(sample(t, "rfc3464-e1.eml")) + "\n--x--\n"
	tests := map[string]string{
		"an answer":              "From: ann@example.com\nSubject: Re: Hi\n\nThank you.\n",
		"a mail with a file":     "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhi\n--x\nContent-Type: image/png\n\n\x89PNG\n--x--\n",
		"a bounce passed on":     nested,
		"a report without parts": "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n",
		"no boundary":            "Content-Type: multipart/report\n\n--x\nContent-Type: message/delivery-status\n\nAction: failed\n",
		"no recipient":           "Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n--x--\n",
	}
	for name, raw := range tests {
		if got, err := report.Parse([]byte(raw)); !errors.Is(err, report.ErrNone) {
			t.Errorf("%s gives %+v, %v", name, got, err)
		}
	}
	for _, raw := range []string{"", "\n\n", "no header at all"} {
		if _, err := report.Parse([]byte(raw)); err == nil {
			t.Errorf("%q is taken", raw)
		}
	}
}

// TestDamage takes away what the way may take away: a report still says what it can.
func TestDamage(t *testing.T) {
	whole := string(sample(t, "postfix-failed.eml"))
	before, _, _ := strings.Cut(whole, "Content-Description: Undelivered")
	tests := map[string]string{
		"line ends":               strings.ReplaceAll(whole, "\n", "\r\n"),
		"an odd line":             strings.Replace(whole, "\nAction:", "\nthis is no field\nAction:", 1),
		"a comment":               strings.Replace(whole, "Action: failed", "Action: Failed (gave up)", 1),
		"the end":                 before,
		"another kind of wrapper": strings.Replace(whole, "multipart/report; report-type=delivery-status;", "multipart/mixed;", 1),
	}
	for name, raw := range tests {
		got, err := report.Parse([]byte(raw))
		if err != nil || len(got.Recipients) != 1 || got.Recipients[0].Action != "failed" || got.Recipients[0].Status != "5.1.1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal("no samples", err)
	}
	for _, file := range files {
		f.Add(sample(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := report.Parse(raw)
		if err != nil {
			return
		}
		if got.Feedback == nil && len(got.Recipients) == 0 {
			t.Fatal("a report that says nothing")
		}
		for _, r := range got.Recipients {
			if r.Action == "" || r.Action != strings.ToLower(r.Action) || strings.ContainsAny(r.Action+r.Final+r.Status, "\r\n") {
				t.Fatalf("recipient %+v", r)
			}
		}
	})
}
