package settings

import (
	"errors"
	"strings"

	"github.com/agext/levenshtein"
)

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Position string // "file:line:column", or the environment variable or flag that it came from
	Problem  string // what is wrong
	Remedy   string // how to mend it; may be empty
}

// String is "position: problem — remedy".
func (f Fault) String() string {
	var b strings.Builder
	if f.Position != "" {
		b.WriteString(f.Position + ": ")
	}
	b.WriteString(f.Problem)
	if f.Remedy != "" {
		b.WriteString(" — " + f.Remedy)
	}
	return b.String()
}

// Faults is all that is wrong with the settings, in the order of the file.
type Faults []Fault //nolint:errname // named for what it holds

// Error is one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// complaint is what a check or a function finds wrong, before its place is known.
type complaint struct {
	problem, remedy string
}

// Error joins the two, for errors that pass through the evaluation of HCL.
func (c *complaint) Error() string { return c.problem + " — " + c.remedy }

// at gives an error its place.
func at(position string, err error) Fault {
	if c, ok := errors.AsType[*complaint](err); ok {
		return Fault{Position: position, Problem: c.problem, Remedy: c.remedy}
	}
	return Fault{Position: position, Problem: err.Error()}
}

// didYouMean names the known word that is nearest to what was written, or else all of them.
func didYouMean(written string, known []string) string {
	best := nearest(strings.ToLower(written), known, max(2, len(written)/3))
	switch {
	case best != "":
		return "did you mean " + quote(best) + "?"
	case len(known) == 0:
		return "nothing can stand here"
	default:
		return "known here: " + strings.Join(known, ", ")
	}
}

// nearest returns the known word within a distance of what was written, or nothing.
func nearest(written string, known []string, within int) string {
	best, distance := "", within+1
	for _, word := range known {
		if d := levenshtein.Distance(written, word, nil); d < distance {
			best, distance = word, d
		}
	}
	return best
}

func quote(s string) string { return `"` + s + `"` }

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ", ")
}
