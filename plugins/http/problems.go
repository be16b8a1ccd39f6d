package main

import (
	"errors"

	"github.com/pigeonry/pigeonry/sdk"
)

// problems gathers everything that is wrong with a config, not just the first fault.
type problems struct{ all []error }

func (p *problems) add(field, summary, detail string) {
	p.note(sdk.FieldError(field, summary, detail))
}

// note keeps an error that is there.
func (p *problems) note(err error) {
	if err != nil {
		p.all = append(p.all, err)
	}
}

func (p *problems) err() error { return errors.Join(p.all...) }

// path reads the path in a field. The empty text is none.
func (p *problems) path(field, text string) path {
	out, err := parsePath(text)
	if err != nil {
		p.add(field, err.Error(), "write it as data.items[0].id")
	}
	return out
}
