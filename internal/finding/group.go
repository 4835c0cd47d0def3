package finding

import (
	"fmt"
	"slices"
	"strings"
)

// fewAlike is the number of findings with the same Alike, but different details, that are
// still kept separate.
const fewAlike = 3

// Group merges findings with the same detail about several lines into one finding, at the
// place of the first. Findings that differ only in a value of the line (a label, an id,
// another line's number) are merged too if there are many. Findings about the whole input are
// not merged.
func Group(findings []Finding) []Finding {
	type sentence struct {
		rule     string
		severity Severity
		text     string
	}
	many := map[sentence]int{}
	for _, f := range findings {
		many[sentence{f.Rule, f.Severity, f.Alike}]++
	}
	at := map[sentence]int{}
	var groups []Finding
	for _, f := range findings {
		key := sentence{f.Rule, f.Severity, f.Alike}
		if many[key] <= fewAlike {
			key.text = f.Detail
		}
		i, met := at[key]
		if !met || f.Line == 0 {
			at[key] = len(groups)
			groups = append(groups, f)
			continue
		}
		g := &groups[i]
		if g.Lines == nil {
			g.Lines = []int{g.Line}
		}
		if last := g.Lines[len(g.Lines)-1]; f.Line != last {
			g.Lines = append(g.Lines, f.Line)
		}
	}
	for i := range groups {
		if len(groups[i].Lines) == 1 { // twice in one line
			groups[i].Lines = nil
		}
	}
	return groups
}

// maxRanges is the number of ranges of lines that are shown.
const maxRanges = 12

// Also returns text that lists the finding's lines after the first, such as "also lines 2-300
// and 305", or "" if there is only one line.
func (f Finding) Also() string {
	if len(f.Lines) < 2 {
		return ""
	}
	lines := slices.Clone(f.Lines[1:])
	slices.Sort(lines)
	var ranges []string
	for i := 0; i < len(lines); {
		end := i
		for end+1 < len(lines) && lines[end+1] == lines[end]+1 {
			end++
		}
		text := fmt.Sprint(lines[i])
		if end > i {
			text = fmt.Sprintf("%d-%d", lines[i], lines[end])
		}
		if len(ranges) == maxRanges {
			return fmt.Sprintf("also lines %s and %d more", strings.Join(ranges, ", "), len(lines)-i)
		}
		ranges = append(ranges, text)
		i = end + 1
	}
	if len(lines) == 1 {
		return "also line " + ranges[0]
	}
	if last := len(ranges) - 1; last > 0 {
		return "also lines " + strings.Join(ranges[:last], ", ") + " and " + ranges[last]
	}
	return "also lines " + ranges[0]
}
