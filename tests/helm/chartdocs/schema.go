package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"
)

// schemaOf is closed: a value that nobody reads is an error, not a wish.
func schemaOf(tree []value, sections []section) ([]byte, error) {
	schema, err := objectSchema(tree, sections)
	if err != nil {
		return nil, err
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["$comment"] = "Generated: make helm-docs"
	// Helm hands the parent's globals to every dependency.
	schema["properties"].(map[string]any)["global"] = map[string]any{"type": "object"}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	err = encoder.Encode(schema)
	return out.Bytes(), err
}

func objectSchema(tree []value, sections []section) (map[string]any, error) {
	properties := map[string]any{}
	for _, v := range tree {
		schema, err := v.schemaOf(sections)
		if err != nil {
			return nil, err
		}
		properties[v.name] = schema
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}, nil
}

func (v value) schemaOf(sections []section) (map[string]any, error) {
	schema := map[string]any{}
	switch {
	case v.isConfig:
		schema = configSchema(sections)
	case v.isOpaque():
		kind, err := kindOf(v.node)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		schema["type"] = kind
	default:
		below, err := objectSchema(v.children, sections)
		if err != nil {
			return nil, err
		}
		schema = below
	}
	if v.text != "" {
		schema["description"] = v.text
	}
	maps.Copy(schema, v.schema)
	return schema, nil
}

func kindOf(node *yaml.Node) (string, error) {
	switch {
	case node.Kind == yaml.MappingNode:
		return "object", nil
	case node.Kind == yaml.SequenceNode:
		return "array", nil
	case node.Tag == "!!str":
		return "string", nil
	case node.Tag == "!!int":
		return "integer", nil
	case node.Tag == "!!bool":
		return "boolean", nil
	}
	return "", fmt.Errorf("a default of type %s", node.Tag)
}
