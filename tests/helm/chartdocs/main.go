// Chartdocs makes the chart's README.md and values.schema.json from its values.yaml and docs/config.md.
//
//	go run ./chartdocs          writes both
//	go run ./chartdocs -check   says whether they are current
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed head.md
var head string

func main() {
	root := flag.String("root", "../..", "the repository")
	check := flag.Bool("check", false, "write nothing; fail when a file is stale")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "chartdocs:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	chart := filepath.Join(root, "helm", "dualstream")
	tree, err := readValues(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	sections, err := readConfigReference(filepath.Join(root, "docs", "config.md"))
	if err != nil {
		return err
	}
	schema, err := schemaOf(tree, sections)
	if err != nil {
		return err
	}
	files := map[string][]byte{"README.md": []byte(head + tableOf(tree)), "values.schema.json": schema}
	for name, wanted := range files {
		path := filepath.Join(chart, name)
		found, _ := os.ReadFile(path)
		if bytes.Equal(found, wanted) {
			continue
		}
		if check {
			return fmt.Errorf("%s is stale: make helm-docs", path)
		}
		if err := os.WriteFile(path, wanted, 0o644); err != nil {
			return err
		}
	}
	return nil
}
