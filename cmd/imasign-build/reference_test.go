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

// TestReference holds docs/cli.md against the commands as they are. To write it
// anew:
//
//	UPDATE=1 go test ./cmd/imasign-build -run TestReference
func TestReference(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, "# Commands\n\nWritten from the program's own help by `make docs`; a test compares the two.\n")
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
		t.Error("docs/cli.md is not what the program says: run make docs")
	}
}

// TestEveryCommandHasADocument: all but those whose result is a text of its own.
func TestEveryCommandHasADocument(t *testing.T) {
	documented := map[string]bool{"completion": true}
	for _, k := range report.Kinds() {
		for _, command := range k.Commands {
			documented[command] = true
		}
	}
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		if name := commandName(cmd); !cmd.HasSubCommands() && !documented[name] {
			t.Errorf("%s is in no kind of report", name)
		}
		delete(documented, commandName(cmd))
	})
	if len(documented) > 0 {
		t.Errorf("there are no commands %v", documented)
	}
}

// reference writes a command that does something, or those below it.
func reference(b *bytes.Buffer, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	if !cmd.HasParent() || !cmd.HasSubCommands() {
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s```\n", cmd.CommandPath(), strings.TrimSpace(text), cmd.UsageString())
	}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			reference(b, c)
		}
	}
}
