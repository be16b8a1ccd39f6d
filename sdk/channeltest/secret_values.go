package channeltest

import "encoding/json"

// node is the part of a JSON Schema that tells where secrets are.
type node struct {
	Secret     bool             `json:"x-secret"`
	Properties map[string]*node `json:"properties"`
	Items      *node            `json:"items"`
	// Additional is a schema, or a boolean that Unmarshal leaves out.
	Additional json.RawMessage `json:"additionalProperties"`
}

// secretValues returns the strings in config at the places that schema marks with x-secret.
func secretValues(schema []byte, config map[string]any) []string {
	var root node
	if json.Unmarshal(schema, &root) != nil {
		return nil // the case "schema" judges it
	}
	var tree any
	if json.Unmarshal(encode(config), &tree) != nil {
		return nil
	}
	return root.collect(tree, nil)
}

func (n *node) collect(v any, out []string) []string {
	if n == nil {
		return out
	}
	switch v := v.(type) {
	case string:
		if n.Secret && v != "" {
			out = append(out, v)
		}
	case []any:
		for _, item := range v {
			out = n.Items.collect(item, out)
		}
	case map[string]any:
		for name, value := range v {
			child, ok := n.Properties[name]
			if !ok {
				child = n.additional()
			}
			out = child.collect(value, out)
		}
	}
	return out
}

func (n *node) additional() *node {
	var child node
	if len(n.Additional) == 0 || json.Unmarshal(n.Additional, &child) != nil {
		return nil
	}
	return &child
}
