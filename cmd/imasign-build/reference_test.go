package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
)

const referenceFile = "../../docs/cli.md"

// TestReference checks that docs/cli.md agrees with the help of the commands. To write it
// again:
//
//	UPDATE=1 go test ./cmd/imasign-build -run TestReference
func TestReference(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Commands\n\n`make docs` writes this page from the help of the program, and a test compares the two.\n")
	reference(&b, newRootCommand(newApp()))
	b.WriteString(report.Reference())
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(referenceFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/cli.md differs from the help of the program: run make docs")
	}
}

// TestEveryCommandHasADocument checks that the reference lists a JSON document for each
// command whose result is not a text.
func TestEveryCommandHasADocument(t *testing.T) {
	documented := map[string]bool{"completion": true, "help": true, "serve": true}
	for _, k := range report.Kinds() {
		for _, command := range k.Commands {
			documented[command] = true
		}
	}
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		if isGroup(cmd) || cmd.IsAdditionalHelpTopicCommand() {
			return
		}
		if name := commandName(cmd); !documented[name] {
			t.Errorf("%s is in no kind of report", name)
		}
		delete(documented, commandName(cmd))
	})
	if len(documented) > 0 {
		t.Errorf("there are no commands %v", documented)
	}
}

// reference writes the help of cmd, unless it is a group, and of the commands below it, then
// of the topics.
func reference(b *bytes.Buffer, cmd *cobra.Command) {
	if !cmd.HasParent() || !isGroup(cmd) {
		text := strings.ReplaceAll("\n"+reflow(about(cmd), widthDefault), "\n  ", "\n      ") // indented text is code
		fmt.Fprintf(b, "\n## %s\n%s\n```\n%s```\n", cmd.CommandPath(), text, usage(cmd, widthDefault))
	}
	for _, c := range cmd.Commands() {
		if !c.IsAdditionalHelpTopicCommand() {
			reference(b, c)
		}
	}
	for _, c := range cmd.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			fmt.Fprintf(b, "\n## Help topic: %s\n\n```\n%s```\n", c.Name(), help(c, widthDefault))
		}
	}
}
