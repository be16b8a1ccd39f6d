package channeltest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// dialect is the JSON Schema the contract asks for.
const dialect = "https://json-schema.org/draft/2020-12/schema"

func schemaMatches(ctx context.Context, s *Subject) error {
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	schema, err := compile(sess.about.GetConfigSchema())
	if err != nil {
		return err
	}
	config, err := jsonschema.UnmarshalJSON(bytes.NewReader(encode(s.Config)))
	if err != nil {
		return fmt.Errorf("read Suite.Config: %w", err)
	}
	if err := schema.Validate(config); err != nil {
		return fmt.Errorf("the schema does not allow Suite.Config: %w", err)
	}
	ds, err := sess.validate(ctx, s.Config)
	if err != nil {
		return err
	}
	if d := firstError(ds); d != nil {
		return fmt.Errorf("call ValidateConfig: it refuses Suite.Config: %s", show(d))
	}
	return nil
}

func compile(text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("the config schema is not JSON: %w", err)
	}
	if root, ok := doc.(map[string]any); !ok || root["$schema"] != dialect {
		return nil, fmt.Errorf("the config schema does not say $schema: %q", dialect)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		return nil, fmt.Errorf("the config schema: %w", err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		return nil, fmt.Errorf("the config schema is not valid: %w", err)
	}
	return schema, nil
}

func (sess *session) validate(ctx context.Context, config map[string]any) ([]*channelv1.Diagnostic, error) {
	resp, err := sess.ValidateConfig(ctx, &channelv1.ValidateConfigRequest{Config: encode(config)})
	if err != nil {
		return nil, sess.saw(fmt.Errorf("call ValidateConfig: %w", err))
	}
	sess.heard(resp)
	return resp.GetDiagnostics(), nil
}

func badConfig(ctx context.Context, s *Subject) error {
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	bad := append(slices.Clone(s.BadConfigs), derived(s.Config, sess.about.GetConfigSchema())...)
	for _, b := range bad {
		if err := sess.refuses(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", b.Name, err)
		}
	}
	resp, err := sess.ValidateConfig(ctx, &channelv1.ValidateConfigRequest{Config: []byte(`{"`)})
	if sess.saw(err) == nil && firstError(resp.GetDiagnostics()) == nil {
		return errors.New("a config that is not JSON passes ValidateConfig")
	}
	return nil
}

// refuses wants a diagnostic at the path from ValidateConfig and from Configure, and nothing opened.
func (sess *session) refuses(ctx context.Context, b BadConfig) error {
	ds, err := sess.validate(ctx, b.Config)
	if err != nil {
		return err
	}
	if err := pointsAt(ds, b.Path); err != nil {
		return fmt.Errorf("call ValidateConfig: %w", err)
	}
	if err := sess.configure(ctx, 1, b.Config); err == nil {
		return errors.New("call Configure: it takes what ValidateConfig refuses")
	}
	return sess.retryable(ctx, "after the config was refused", 1)
}

// pointsAt wants an error diagnostic with that path.
func pointsAt(ds []*channelv1.Diagnostic, path string) error {
	first := firstError(ds)
	if first == nil {
		return errors.New("no error diagnostic")
	}
	for _, d := range ds {
		if d.GetSeverity() != channelv1.Severity_SEVERITY_ERROR {
			continue
		}
		if d.GetSummary() == "" {
			return errors.New("a diagnostic has no summary")
		}
		if path == pathOf(d) {
			return nil
		}
	}
	return fmt.Errorf("no diagnostic points at %q, the first is: %s", path, show(first))
}

// derived makes bad configs out of a good one: an unknown field, each required field missing, each
// field of another type.
func derived(good map[string]any, schema []byte) []BadConfig {
	const unknown = "channeltest_unknown"
	with := func(name string, value any) map[string]any {
		out := maps.Clone(good)
		if out == nil {
			out = make(map[string]any)
		}
		out[name] = value
		return out
	}
	bad := []BadConfig{{"an unknown field", with(unknown, true), unknown}}
	var root struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			Type string `json:"type"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(schema, &root) // the case "schema" judges it
	for _, name := range root.Required {
		out := maps.Clone(good)
		delete(out, name)
		bad = append(bad, BadConfig{"without " + name, out, name})
	}
	for _, name := range slices.Sorted(maps.Keys(root.Properties)) {
		wrong := any([]any{map[string]any{}})
		if root.Properties[name].Type == "array" {
			wrong = 1
		}
		bad = append(bad, BadConfig{name + " of another type", with(name, wrong), name})
	}
	return bad
}

func revisions(ctx context.Context, s *Subject) error {
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	if err := sess.configure(ctx, 5, s.Config); err != nil {
		return err
	}
	if err := sess.configure(ctx, 4, s.Config); err == nil {
		return errors.New("call Configure: it takes revision 4 after revision 5")
	}
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("after an older revision was refused: %w", err)
	}
	if err := sess.configure(ctx, 6, s.Config); err != nil {
		return fmt.Errorf("a newer revision: %w", err)
	}
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("after a newer revision: %w", err)
	}
	return nil
}

func check(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	if !sess.about.GetCapabilities().GetCheck() {
		return skipf("the plugin does not describe the capability check")
	}
	resp, err := sess.Check(ctx, &channelv1.CheckRequest{Connector: sess.connector})
	if err != nil {
		return sess.saw(fmt.Errorf("call Check: %w", err))
	}
	sess.heard(resp)
	if !resp.GetOk() {
		return fmt.Errorf("call Check: %s", resp.GetMessage())
	}
	return nil
}
