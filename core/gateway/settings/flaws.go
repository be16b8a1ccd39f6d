package settings

import (
	"slices"
	"strings"
)

// Flaw is what is wrong with a value of a pool or a limit.
type Flaw struct {
	Key     string // as the file names it, e.g. "max_size"; "" for the whole
	Problem string
	Remedy  string
}

// bound is a value that a check has to take.
type bound struct {
	key   string
	value any
	check check
}

// flaws are the complaints about values, each alone.
func flaws(bounds ...bound) []Flaw {
	var found []Flaw
	for _, b := range bounds {
		if _, err := b.check(b.value); err != nil {
			fault := at("", err)
			found = append(found, Flaw{b.key, b.key + " " + fault.Problem, fault.Remedy})
		}
	}
	return found
}

// Flaws returns all that is wrong with the pool, wherever its values come from.
func (p Pool) Flaws() []Flaw {
	found := flaws(
		bound{"core_size", int64(p.CoreSize), integer(1, maxWorkers)},
		bound{"max_size", int64(p.MaxSize), integer(1, maxWorkers)},
		bound{"scale_up_threshold", p.ScaleUpThreshold, number(1)},
		bound{"scale_down_threshold", p.ScaleDownThreshold, number(1)},
		bound{"queue_size", int64(p.QueueSize), integer(1, maxTasks)},
	)
	if len(found) > 0 {
		return found
	}
	if p.CoreSize > p.MaxSize {
		found = append(found, Flaw{"core_size", "core_size is above max_size", "raise max_size or lower core_size"})
	}
	switch {
	case p.ScaleDownThreshold == 0:
		found = append(found, Flaw{"scale_down_threshold", "scale_down_threshold is 0", "an empty queue must be below it: use 0.2"})
	case p.ScaleDownThreshold >= p.ScaleUpThreshold:
		found = append(found, Flaw{
			"scale_down_threshold", "scale_down_threshold is not below scale_up_threshold",
			"a pool that grows and shrinks at once never rests: use 0.8 and 0.2",
		})
	}
	return found
}

// What a limit may be.
const (
	qps           = "qps"
	concurrent    = "concurrent"
	slidingWindow = "sliding_window"

	send = "api:/messages/send"

	byAccount   = "account"
	byRecipient = "recipient"
	byChannel   = "channel"
	byConnector = "connector"
)

var (
	limitTypes = []string{qps, concurrent, slidingWindow}
	dimensions = []string{byAccount, "key", "ip", byChannel, byRecipient, byConnector, "global"}
	routes     = []string{send, "api:/messages/send-batch"}
)

// Flaws returns all that is wrong with the limit, wherever its values come from.
func (l Limit) Flaws() []Flaw {
	found := flaws(
		bound{"resource", l.Resource, limited},
		bound{"type", l.Type, oneOf(limitTypes...)},
		bound{"by", l.By, oneOf(dimensions...)},
		bound{"max", l.Max, number(Unlimited)},
	)
	switch {
	case len(found) > 0:
		return found
	case l.Type != slidingWindow && l.Window != 0:
		found = append(found, Flaw{"window", `window belongs to type "sliding_window" alone`, "remove it or change the type"})
	case l.Type == slidingWindow && l.Window == 0:
		found = append(found, Flaw{"window", "a sliding_window has no window", `add window = "1m"`})
	case l.Type == slidingWindow:
		found = flaws(bound{"window", l.Window.String(), duration(minWindow, maxWindow)})
	}
	if problem, remedy := l.uncounted(); problem != "" {
		found = append(found, Flaw{"by", problem, remedy})
	}
	return found
}

// uncounted says why nothing could count by the limit's dimension.
func (l Limit) uncounted() (problem, remedy string) {
	connector := strings.HasPrefix(l.Resource, "connector:")
	late := l.By == byRecipient || l.By == byChannel
	switch {
	case connector && l.By != byConnector:
		return "a limit of a connector counts by connector", `use by = "connector" or leave it out`
	case !connector && l.By == byConnector:
		return "no connector is chosen yet when a request comes", `limit the connector itself: limit "connector:<channel>/<name>"`
	case strings.HasPrefix(l.Resource, "channel:") && l.Type == concurrent:
		return "nothing is under way in a channel while it is counted", `use type = "qps" or "sliding_window"`
	case late && (l.Type == concurrent || !slices.Contains(routes, l.Resource) && !strings.HasPrefix(l.Resource, "channel:")):
		return "the " + l.By + " of a request is not known yet when it is counted here", `use by = "account", "key", "ip" or "global"`
	}
	return "", ""
}

// Same says whether two limits count the same, whatever their max.
func (l Limit) Same(o Limit) bool {
	return l.Resource == o.Resource && l.Type == o.Type && l.By == o.By && l.Window == o.Window
}

// idle reports a limit of a channel or a connector that the settings do not have.
func (s *Settings) idle(i int) []Flaw {
	kind, what, _ := strings.Cut(s.Limits[i].Resource, ":")
	var known []string
	for _, c := range s.Connectors {
		switch kind {
		case byConnector:
			known = append(known, string(c.ID))
		case byChannel:
			known = append(known, c.ID.Channel())
		}
	}
	if kind != byConnector && kind != byChannel || slices.Contains(known, what) {
		return nil
	}
	if len(known) == 0 {
		return []Flaw{{"", "there is no " + kind + " " + quote(what), "configure a connector first"}}
	}
	slices.Sort(known)
	return []Flaw{{"", "there is no " + kind + " " + quote(what), didYouMean(what, slices.Compact(known))}}
}

// defaultDimension is what a limit of a resource counts by where nothing says it.
func defaultDimension(resource string) string {
	if strings.HasPrefix(resource, "connector:") {
		return byConnector
	}
	return byAccount
}

// limited takes what can be limited, any route among it.
func limited(value any) (any, error) {
	s, _ := value.(string)
	if strings.HasPrefix(s, "api:/") {
		return s, nil
	}
	return resource(s)
}

// resource takes what the file can limit.
func resource(value any) (any, error) {
	s, _ := value.(string)
	kind, what, _ := strings.Cut(s, ":")
	var err error
	switch kind {
	case byChannel:
		_, err = name(what)
	case byConnector:
		channel, connector, two := strings.Cut(what, "/")
		if _, err = name(channel); err == nil {
			_, err = name(connector)
		}
		if !two {
			err = wrong("is not the resource of a connector", `write "connector:<channel>/<name>"`)
		}
	default:
		_, err = oneOf(append(slices.Clip(routes), "channel:<channel>", "connector:<channel>/<name>")...)(s)
	}
	return s, err
}
