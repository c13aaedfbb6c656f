package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// value is a key of values.yaml with what its comment says.
type value struct {
	name     string
	text     string         // behind "--"
	schema   map[string]any // behind "@schema"
	isConfig bool           // "@config": the relay's own configuration
	node     *yaml.Node
	children []value
}

// isOpaque tells whether what is below is not this chart's to define.
func (v value) isOpaque() bool {
	_, opened := v.schema["additionalProperties"]
	return opened || v.node.Kind != yaml.MappingNode
}

func readValues(path string) ([]value, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return children(document.Content[0], "")
}

func children(mapping *yaml.Node, prefix string) ([]value, error) {
	var found []value
	for i := 0; i < len(mapping.Content); i += 2 {
		key, node := mapping.Content[i], mapping.Content[i+1]
		v := value{name: key.Value, node: node}
		if err := v.readComment(key.HeadComment); err != nil {
			return nil, fmt.Errorf("%s%s: %w", prefix, v.name, err)
		}
		if !v.isOpaque() {
			below, err := children(node, prefix+v.name+".")
			if err != nil {
				return nil, err
			}
			v.children = below
		}
		if len(v.children) == 0 && v.text == "" {
			return nil, fmt.Errorf("%s%s has no comment that starts with \"--\"", prefix, v.name)
		}
		found = append(found, v)
	}
	return found, nil
}

func (v *value) readComment(comment string) error {
	var text []string
	started := false
	for _, line := range strings.Split(comment, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		switch rest, isText := strings.CutPrefix(line, "-- "); {
		case isText:
			started, text = true, append(text, rest)
		case line == "@config":
			v.isConfig = true
		case strings.HasPrefix(line, "@schema "):
			if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "@schema ")), &v.schema); err != nil {
				return err
			}
		case started:
			text = append(text, line)
		}
	}
	v.text = strings.TrimSpace(strings.Join(text, " "))
	return nil
}

// plain is the default as JSON has it.
func (v value) plain() (any, error) {
	var out any
	err := v.node.Decode(&out)
	return out, err
}

// tableOf is the list of all values for people.
func tableOf(tree []value) string {
	var out strings.Builder
	out.WriteString("| value | default | meaning |\n|---|---|---|\n")
	rows(&out, tree, "")
	return out.String()
}

func rows(out *strings.Builder, tree []value, prefix string) {
	for _, v := range tree {
		name := prefix + v.name
		if v.text != "" {
			shown := ""
			if len(v.children) == 0 {
				plain, _ := v.plain()
				text, _ := json.Marshal(plain)
				shown = fmt.Sprintf("`%s`", text)
			}
			fmt.Fprintf(out, "| `%s` | %s | %s |\n", name, shown, strings.ReplaceAll(v.text, "|", "\\|"))
		}
		rows(out, v.children, name+".")
	}
}
