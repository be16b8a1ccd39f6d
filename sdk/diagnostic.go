package sdk

import (
	"errors"
	"strconv"
	"strings"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// ConfigError says what is wrong with a connector's config, and where. Validate and Open return
// it, alone or several through errors.Join.
type ConfigError struct {
	// Path names the field from the outside in, e.g. "tls.mode" or "servers[0].host". Empty: the
	// whole config.
	Path string
	// Summary says in one line what is wrong.
	Summary string
	// Detail says how to mend it.
	Detail string
}

// FieldError is a *ConfigError in one call.
func FieldError(path, summary, detail string) error {
	return &ConfigError{Path: path, Summary: summary, Detail: detail}
}

// Error joins path, summary and detail.
func (e *ConfigError) Error() string {
	s := e.Summary
	if e.Path != "" {
		s = e.Path + ": " + s
	}
	return joinDetail(s, e.Detail)
}

// diagnosticsOf turns what Validate or Open returned into diagnostics. Each ConfigError in a tree of
// joined errors becomes its own; any other error concerns the whole config.
func diagnosticsOf(err error, clean func(string) string) []*channelv1.Diagnostic {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*channelv1.Diagnostic
		for _, e := range many.Unwrap() {
			out = append(out, diagnosticsOf(e, clean)...)
		}
		return out
	}
	d := &channelv1.Diagnostic{Severity: channelv1.Severity_SEVERITY_ERROR}
	if e, ok := errors.AsType[*ConfigError](err); ok {
		d.Summary, d.Detail, d.Path = clean(e.Summary), clean(e.Detail), parsePath(e.Path)
	} else {
		d.Summary = clean(err.Error())
	}
	return []*channelv1.Diagnostic{d}
}

// failed tells whether one of the diagnostics is an error.
func failed(ds []*channelv1.Diagnostic) bool {
	for _, d := range ds {
		if d.GetSeverity() == channelv1.Severity_SEVERITY_ERROR {
			return true
		}
	}
	return false
}

// parsePath reads "servers[0].host". What does not look like an index stays part of the name.
func parsePath(path string) []*channelv1.PathStep {
	var steps []*channelv1.PathStep
	for part := range strings.SplitSeq(path, ".") {
		name, indexes, indexed := strings.Cut(part, "[")
		if name != "" {
			steps = under(steps, name)
		}
		if !indexed {
			continue
		}
		for index := range strings.SplitSeq(strings.TrimSuffix(indexes, "]"), "][") {
			if n, err := strconv.Atoi(index); err == nil {
				steps = at(steps, n)
			} else {
				steps = under(steps, index)
			}
		}
	}
	return steps
}
