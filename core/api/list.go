package api

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	defaultLimit = 50
	maxLimit     = 200
	// cursorPrefix is the version of the cursor's form.
	cursorPrefix = "1:"
)

// page is which part of a list is asked for.
type page struct {
	limit  int
	before int64 // 0: from the beginning
}

// pageOf reads limit and cursor.
func pageOf(limit *int, cursor string) (page, error) {
	p := page{limit: defaultLimit}
	if limit != nil {
		p.limit = *limit
	}
	if p.limit < 1 || p.limit > maxLimit {
		return p, problems{{Field: "limit", Reason: fmt.Sprintf("is %d; give 1 to %d", p.limit, maxLimit)}}.err()
	}
	if cursor == "" {
		return p, nil
	}
	before, ok := parseCursor(cursor)
	if !ok {
		return p, malformed("cursor", "is none that a list gave; take next_cursor as it is")
	}
	p.before = before
	return p, nil
}

// cut takes the page from items, of which one more than the page was asked for, and makes its cursor.
func cut[T any](p page, items []T, id func(T) int64) ([]T, *string) {
	if len(items) <= p.limit {
		return items, nil
	}
	items = items[:p.limit]
	next := cursorOf(id(items[len(items)-1]))
	return items, &next
}

func cursorOf(id int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + strconv.FormatInt(id, 36)))
}

func parseCursor(s string) (int64, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return 0, false
	}
	digits, ok := strings.CutPrefix(string(b), cursorPrefix)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(digits, 36, 64)
	return id, err == nil && id > 0
}

// knownQuery refuses query parameters that P, the parameters of an operation, does not have: a filter that
// is misspelled must not give the unfiltered list.
func knownQuery[P any](c *gin.Context) error {
	t := reflect.TypeFor[P]()
	known := make(map[string]bool, t.NumField())
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("form"), ",")
		known[name] = true
	}
	for name, values := range c.Request.URL.Query() {
		if !known[name] {
			return malformed(shorten(name), "unknown parameter; check the spelling against /docs")
		}
		if len(values) > 1 {
			return malformed(name, "is given twice; leave one out")
		}
	}
	return nil
}

// checkTimes refuses times without an offset, which the generated code takes for UTC.
func checkTimes(c *gin.Context, names ...string) error {
	for _, name := range names {
		value, given := c.GetQuery(name)
		if !given {
			continue
		}
		if _, err := time.Parse(time.RFC3339, value); err != nil {
			return malformed(name, "is no "+expected(reflect.TypeFor[time.Time]())[2:]+"; write its + as %2B")
		}
	}
	return nil
}
