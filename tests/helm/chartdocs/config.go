package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// section is a section of the relay's configuration, as docs/config.md has it.
type section struct {
	name string
	keys []configKey
}

type configKey struct {
	name, standard, allowed, meaning string
}

var (
	sectionLine = regexp.MustCompile(`^## \[([a-z_]+)\]$`)
	keyLine     = regexp.MustCompile("^\\| `([a-z_]+)` \\| `(.*?)` \\| (.*?) \\| (.*) \\|$")
	numberRange = regexp.MustCompile(`^a number from (\d+) to (\d+)`)
	quotedWord  = regexp.MustCompile(`"([^"]*)"`)
	onlyWords   = regexp.MustCompile(`^"[a-z-]+"((, | or )"[a-z-]+")*( \(the only value of this version\))?$`)
)

func readConfigReference(path string) ([]section, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var sections []section
	for _, line := range strings.Split(string(text), "\n") {
		if found := sectionLine.FindStringSubmatch(line); found != nil {
			sections = append(sections, section{name: found[1]})
		}
		if len(sections) == 0 {
			continue
		}
		last := &sections[len(sections)-1]
		if found := keyLine.FindStringSubmatch(line); found != nil {
			last.keys = append(last.keys, configKey{found[1], found[2], found[3], found[4]})
		} else if strings.HasPrefix(line, "| `") {
			return nil, fmt.Errorf("%s: cannot read this row: %s", path, line)
		}
	}
	if len(sections) == 0 {
		return nil, fmt.Errorf("%s has no section", path)
	}
	return sections, nil
}

func configSchema(sections []section) map[string]any {
	properties := map[string]any{}
	for _, section := range sections {
		keys := map[string]any{}
		for _, key := range section.keys {
			keys[key.name] = key.schema()
		}
		properties[section.name] = map[string]any{"type": "object", "properties": keys, "additionalProperties": false}
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

// schema is what can be said without repeating the relay's own judgement.
func (key configKey) schema() map[string]any {
	schema := map[string]any{"description": key.meaning}
	words := quotedWord.FindAllStringSubmatch(key.allowed, -1)
	bounds := numberRange.FindStringSubmatch(key.allowed)
	switch {
	case key.standard == "true" || key.standard == "false":
		schema["type"] = "boolean"
	case key.standard == "[]":
		schema["type"], schema["items"] = "array", map[string]any{"type": []string{"integer", "string"}}
	case key.standard == "{}":
		schema["type"], schema["additionalProperties"] = "object", map[string]any{"type": []string{"string", "integer", "boolean"}}
	case bounds != nil:
		least, _ := strconv.ParseInt(bounds[1], 10, 64)
		most, _ := strconv.ParseInt(bounds[2], 10, 64)
		schema["type"], schema["minimum"], schema["maximum"] = "integer", least, most
	case strings.HasPrefix(key.allowed, "a size"):
		schema["type"] = []string{"string", "integer"}
	case onlyWords.MatchString(key.allowed):
		var options []string
		for _, word := range words {
			options = append(options, word[1])
		}
		schema["enum"] = options
	default:
		schema["type"] = "string"
	}
	return schema
}
