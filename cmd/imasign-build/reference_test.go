package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
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
