package main

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/email/fetch"
	"github.com/pigeonry/pigeonry/sdk"
)

// codeUnavailable says that a file of the mail could not be fetched now.
const codeUnavailable = "attachment_unavailable"

// files returns the attachments of a message with their content: those given by URL are fetched. Nothing has been sent
// when it fails. A file that is not there is the message's fault, and never speaks against the mail server.
func (c *connector) files(ctx context.Context, given []sdk.Attachment) ([]sdk.Attachment, error) {
	var out []sdk.Attachment
	total := int64(0)
	for i := range given {
		a := given[i]
		if a.URL != "" {
			file, err := c.fetcher.Get(ctx, a.URL)
			if err != nil {
				return nil, fetchOutcome(i, err)
			}
			if err := fill(&a, file); err != nil {
				return nil, unfit("invalid_attachment", fmt.Sprintf("attachment %d %v", i, err))
			}
		}
		if total += int64(len(a.Data)); total > c.maxMail {
			return nil, unfit(codeTooLarge, fmt.Sprintf("the attachments have more than the %d bytes of max_mail_bytes", c.maxMail))
		}
		out = append(out, a)
	}
	return out, nil
}

// fetchOutcome says what a file that could not be fetched means for its mail.
func fetchOutcome(i int, err error) error {
	failed, ok := errors.AsType[*fetch.Error](err)
	err = fmt.Errorf("attachment %d: %w", i, err)
	switch {
	case ok && failed.Kind == fetch.Unavailable:
		return sdk.Retryable(err, sdk.Code(codeUnavailable), sdk.Blame(sdk.FaultMessage), sdk.RetryAfter(failed.RetryAfter))
	case ok && failed.Kind == fetch.TooLarge:
		return sdk.Permanent(err, sdk.Code(codeTooLarge), sdk.Blame(sdk.FaultMessage))
	default:
		return sdk.Permanent(err, sdk.Code("invalid_attachment"), sdk.Blame(sdk.FaultMessage))
	}
}

// fill puts what was fetched in the place of a URL. What the message says of name and type goes first.
func fill(a *sdk.Attachment, file *fetch.File) error {
	a.URL, a.Data = "", file.Data
	if a.Name == "" && printable(file.Name) && len(file.Name) <= maxAttachmentText {
		a.Name = file.Name
	}
	if a.ContentType == "" {
		a.ContentType = file.ContentType
	}
	// A login page or an error that came with status 200 must not go out as the picture.
	if image := strings.HasPrefix(a.ContentType, "image/"); image && strings.HasPrefix(file.Looks, "text/html") {
		return errors.New("should be a picture, but its URL gives a page")
	}
	return nil
}

// typeOf is the type of a file whose message does not say it: by its name, or by how it looks.
func typeOf(name string, data []byte) string {
	if byName := mime.TypeByExtension(filepath.Ext(name)); byName != "" {
		return byName
	}
	return http.DetectContentType(data[:min(len(data), 512)])
}

// nameOf is a name for a file that has none, by its type.
func nameOf(contentType string) string {
	const name = "attachment"
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return name
	}
	switch mediaType { // mime.ExtensionsByType gives several, in no useful order
	case "image/jpeg":
		return name + ".jpg"
	case "image/png", "image/gif", "image/webp":
		return name + "." + strings.TrimPrefix(mediaType, "image/")
	case "application/pdf":
		return name + ".pdf"
	case "text/plain":
		return name + ".txt"
	default:
		return name
	}
}
