package finding_test

import (
	"fmt"

	"github.com/imasign/imasign-build/internal/finding"
)

func ExampleGroup() {
	var all []finding.Finding
	for line := 1; line <= 8; line++ {
		all = append(all, finding.New("label", finding.Warn, "the label log%d_t is not known", line).At(line, 14))
	}
	for _, f := range finding.Group(all) {
		fmt.Printf("%d:%d: %s %s: %s (%s)\n", f.Line, f.Column, f.Severity, f.Rule, f.Detail, f.Also())
	}
	// Output: 1:14: warn label: the label log1_t is not known (also lines 2-8)
}
