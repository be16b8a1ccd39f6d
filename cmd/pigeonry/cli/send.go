package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pigeonry/pigeonry/core/api/client"
)

var errNotPigeonry = errors.New("the answer is not one of Pigeonry's; is this the address of a gateway?")

// draft is what the flags of send say about every message.
type draft struct {
	channel, subject, content, connector string
	template                             int64
	variables                            map[string]string
	metadata                             map[string]string
	priority                             int
	delay                                time.Duration
	at, expireAt                         string
}

func (d *draft) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&d.channel, "channel", "", "channel, such as email or sms (not with --template)")
	f.StringVar(&d.subject, "subject", "", "subject, for channels that have one (not with --template)")
	f.StringVar(&d.content, "content", "", "text, with {{variables}} (not with --template)")
	f.Int64Var(&d.template, "template", 0, "id of the template to use")
	f.StringToStringVar(&d.variables, "var", nil, "variable for the text, name=value; may be repeated")
	f.StringToStringVar(&d.metadata, "metadata", nil, "note of your own, name=value; may be repeated")
	f.StringVar(&d.connector, "connector", "", "connector to use, like email/main (default: the gateway chooses)")
	f.IntVar(&d.priority, "priority", 5, "0 (whenever) to 10 (now)")
	f.DurationVar(&d.delay, "delay", 0, "send after this time, like 90s or 2h")
	f.StringVar(&d.at, "at", "", "send at this time, RFC 3339 like 2030-01-02T15:04:05+08:00")
	f.StringVar(&d.expireAt, "expire-at", "", "never send after this time, RFC 3339")
}

// request is the part that single sends and batches share.
func (d *draft) request() (client.SendRequest, error) {
	r := client.SendRequest{
		Channel: d.channel, Subject: d.subject, Content: d.content, TemplateId: d.template, Connector: d.connector,
		Variables: d.variables, Metadata: d.metadata, Priority: &d.priority,
	}
	switch {
	case d.template == 0 && (d.channel == "" || d.content == ""):
		return r, errors.New("say what to send: --template, or --channel and --content")
	case d.template != 0 && (d.content != "" || d.subject != ""):
		return r, errors.New("--content and --subject cannot be given together with --template")
	case d.delay != 0 && d.at != "":
		return r, errors.New("--delay and --at cannot be given together")
	}
	if d.delay != 0 {
		ms := d.delay.Milliseconds()
		r.DelayMs = &ms
	}
	var err error
	if r.SendAt, err = moment("--at", d.at); err != nil {
		return r, err
	}
	r.ExpireAt, err = moment("--expire-at", d.expireAt)
	return r, err
}

func moment(flag, text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("%s %q is not a time; write it with an offset, like 2030-01-02T15:04:05+08:00", flag, text)
	}
	return &t, nil
}

func (p Process) send() *cobra.Command {
	var d draft
	var u upload
	var to, idempotencyKey string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Send a message, or one to every row of a CSV file",
		Long: `Sends one message to the recipient of --to, or one to every row of a CSV file.

The first row of the file names its columns. One of them, "recipient", is who gets the
message; the others are variables for the text. The whole file is checked before anything
is sent. Repeating the same command within 24 hours goes on where it was interrupted:
what was accepted is not sent twice. To send the same file once more on purpose, give
--run another word.`,
		Example: `  pigeonry send --channel email --to ada@example.com --subject Hello --content "Hi {{name}}" --var name=Ada
  pigeonry send --template 12 --csv customers.csv --priority 2 --report rejected.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (to == "") == (u.file == "") {
				return errors.New("say who gets it: --to for one recipient, or --csv for a file of them")
			}
			request, err := d.request()
			if err != nil {
				return err
			}
			r, err := p.remote(cmd, true)
			if err != nil {
				return err
			}
			if u.file != "" {
				u.remote, u.request, u.in, u.out, u.err = r, request, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
				return u.run(cmd.Context(), asJSON)
			}
			request.Recipient = to
			result, err := sendOne(cmd.Context(), r, request, idempotencyKey)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted: message %d, trace %s\n", result.RecordId, result.TraceId)
			return err
		},
	}
	addRemoteFlags(cmd)
	d.addFlags(cmd)
	u.addFlags(cmd)
	cmd.Flags().StringVar(&to, "to", "", "recipient: a mail address, a phone number, ...")
	cmd.Flags().StringVar(&idempotencyKey, "idempotency-key", "", "makes repeating this command with --to safe (default: a new one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// sendOne sends one message. The request carries a key, so that its own repeats are one message.
func sendOne(ctx context.Context, r *remote, request client.SendRequest, key string) (client.SendResult, error) {
	if key == "" {
		key = "cli-" + strings.ToLower(rand.Text())
	}
	var answer *client.SendMessageResponse
	err := r.insist(ctx, func() (_ *http.Response, _ []byte, err error) {
		if answer, err = r.SendMessageWithResponse(ctx, &client.SendMessageParams{IdempotencyKey: key}, request); err != nil {
			return nil, nil, err
		}
		return answer.HTTPResponse, answer.Body, nil
	})
	if err != nil {
		return client.SendResult{}, err
	}
	if answer.JSON200 == nil {
		return client.SendResult{}, errNotPigeonry
	}
	return answer.JSON200.Data, nil
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
